//! What is counted of each route and of each upstream.

use super::labelled::{Label, Sum};
use super::{Cell, Histogram, Labelled};

/// The first bucket of times of requests, in nanoseconds: 250 us. The last one ends at 8 s.
pub const REQUEST: u64 = 250_000;

/// The first bucket of times to connect, in nanoseconds: 50 us, for sockets of this machine. The last one ends at 1.6 s.
pub const CONNECT: u64 = 50_000;

/// What requests are told apart by.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteLabel {
    /// The route as it is configured; empty for requests that reached none.
    pub route: String,
    /// The app behind it; empty if there is none.
    pub upstream: String,
}

/// How what is gone is called: no path begins like this, and no upstream has such a name.
const GONE: &str = "(gone)";

impl Label for RouteLabel {
    fn gone() -> Self {
        Self { route: GONE.to_owned(), upstream: GONE.to_owned() }
    }
}

impl Label for String {
    fn gone() -> Self {
        GONE.to_owned()
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Answered, by the first digit of its status.
    Status(u16),
    /// Its client went away before it was answered.
    Aborted,
}

impl Class {
    /// All, in the order of the cells.
    pub const NAMES: [&'static str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "aborted"];

    fn place(self) -> usize {
        match self {
            Self::Status(status) => usize::from(status / 100).clamp(1, 5) - 1,
            Self::Aborted => 5,
        }
    }
}

/// What is counted of a route.
#[derive(Debug, Default)]
pub struct RouteCells {
    classes: [Cell; Class::NAMES.len()],
    /// Requests that are being answered.
    pub active: Cell,
    /// From a request's head to the end of its answer. Not of streams.
    pub time: Histogram<REQUEST>,
    /// Bytes of the bodies of answers.
    pub answered: Cell,
}

impl RouteCells {
    /// Counts a request.
    pub fn count(&self, class: Class) {
        self.classes[class.place()].inc();
    }

    /// How many there were of each class, in the order of [`Class::NAMES`].
    pub fn classes(&self) -> [u64; Class::NAMES.len()] {
        self.classes.each_ref().map(Cell::get)
    }
}

impl Sum for RouteCells {
    fn take_in(&self, others: &Self) {
        let Self { classes, active, time, answered } = self;
        for (cell, other) in classes.iter().zip(&others.classes) {
            cell.add(other.get());
        }
        active.add(others.active.get());
        time.take_in(&others.time);
        answered.add(others.answered.get());
    }
}

/// Why an attempt to have a request answered failed, by name; the place is the one in [`UpstreamCells::failures`].
pub const FAILURES: [&str; 8] = [
    "connect",
    "resolve",
    "connect_timeout",
    "queue_full",
    "queue_timeout",
    "response_timeout",
    "broken",
    "upgrade",
];

/// What is counted of an upstream.
#[derive(Debug, Default)]
pub struct UpstreamCells {
    /// How long requests waited for their turn, of those that had to.
    pub queue: Histogram<REQUEST>,
    /// How long new connections took.
    pub connect: Histogram<CONNECT>,
    /// From a request's head to the head of the app's answer.
    pub first_byte: Histogram<REQUEST>,
    /// Attempts that failed, by [`FAILURES`].
    pub failures: [Cell; FAILURES.len()],
    /// Connections that wait for their next request.
    pub idle: Cell,
}

impl Sum for UpstreamCells {
    fn take_in(&self, others: &Self) {
        let Self { queue, connect, first_byte, failures, idle } = self;
        queue.take_in(&others.queue);
        connect.take_in(&others.connect);
        first_byte.take_in(&others.first_byte);
        for (cell, other) in failures.iter().zip(&others.failures) {
            cell.add(other.get());
        }
        idle.add(others.idle.get());
    }
}

/// The cells of routes.
pub type Routes = Labelled<RouteLabel, RouteCells>;

/// The cells of upstreams, by name.
pub type Upstreams = Labelled<String, UpstreamCells>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_of_its_class() {
        let cells = RouteCells::default();
        for status in [101, 200, 204, 304, 404, 499, 503, 599] {
            cells.count(Class::Status(status));
        }
        cells.count(Class::Aborted);
        assert_eq!(cells.classes(), [1, 2, 1, 2, 2, 1]);
        // What is no status does no harm.
        cells.count(Class::Status(0));
        cells.count(Class::Status(u16::MAX));
        assert_eq!(cells.classes(), [2, 2, 1, 2, 3, 1]);
    }
}
