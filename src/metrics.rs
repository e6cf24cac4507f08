//! What the process counts. Each worker writes its own cells and nobody else's; readers sum them.
//!
//! A cell is an atomic only so that another thread may read it: its one writer adds by a plain load and store.

mod histogram;
mod labelled;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use histogram::{Histogram, Spread};
pub use labelled::Labelled;
pub use traffic::{
    CONNECT, Class, FAILURES, REQUEST, RouteCells, RouteLabel, Routes, UpstreamCells, Upstreams,
};

/// The first bucket of times from publishers to streams, in nanoseconds: 50 us. The last one ends at 1.6 s.
pub const DELIVERY: u64 = 50_000;

/// The first bucket of times of streams, in nanoseconds: a second. The last one ends after 9 h.
pub const STREAM: u64 = 1_000_000_000;

/// A number with one writing thread.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes one away.
    pub fn dec(&self) {
        self.sub(1);
    }

    /// Takes `n` away.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Counts one, for as long as what is returned is kept.
    pub fn hold(&self) -> Held<'_> {
        self.inc();
        Held(self)
    }

    /// Puts another number in its place.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One that is counted until this is dropped.
#[derive(Debug)]
pub struct Held<'c>(&'c Cell);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

macro_rules! cells {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// One worker's numbers, on cache lines of their own.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters {
            $($(#[$doc])* pub $name: Cell,)+
            /// From when an event was published until the last of the worker's streams had it, or had it waiting.
            pub delivery: Histogram<DELIVERY>,
            /// For how long streams were open.
            pub stream_time: Histogram<STREAM>,
            /// By route.
            pub routes: Routes,
            /// By upstream.
            pub upstreams: Upstreams,
        }

        /// The numbers of all workers, summed.
        #[derive(Debug, Default, Clone, PartialEq, Eq)]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Totals {
            /// Sums the workers' numbers.
            pub fn of(workers: &[Arc<Counters>]) -> Self {
                let mut totals = Self::default();
                for worker in workers {
                    $(totals.$name = totals.$name.wrapping_add(worker.$name.get());)+
                }
                totals
            }

            /// Every number with its name.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

cells! {
    /// Connections open now.
    connections,
    /// Connections accepted.
    connections_accepted,
    /// Connections closed at once because `max_connections` was reached.
    connections_refused,
    /// Connections closed because of `connections_per_address`.
    connections_limited_address,
    /// Connections that the table of addresses had no room for, let in all the same.
    connections_uncounted,
    /// Connections closed because they did not begin with a header of the PROXY protocol, or one from a trusted peer.
    proxy_headers_refused,
    /// Times `accept` failed.
    accept_errors,
    /// TLS handshakes that were made.
    handshakes,
    /// TLS handshakes that failed or took too long.
    handshakes_failed,
    /// Connections ended by one of the listener's deadlines.
    connections_timed_out,
    /// Requests that were no HTTP or had too large a head; refused before they had a route.
    requests_malformed,
    /// Requests that reached a route or were refused one, those for streams among them.
    requests,
    /// Requests refused by a route's `allow_from` or `deny_from`.
    requests_denied,
    /// Requests refused by a route's `rate`.
    requests_limited,
    /// Requests that the table of a route's `rate` had no room for, let in all the same.
    requests_uncounted,
    /// Requests with a wrong password, or with one that could not be looked at since too many were (`basic_auth`).
    passwords_refused,
    /// Requests refused because of `maintenance`.
    requests_in_maintenance,
    /// Requests that were answered with 500, and connections that ended, because of a mistake of ours (a panic).
    panics,
    /// Requests that the upstream did not answer (502, 503, 504).
    upstream_errors,
    /// Requests that waited for their turn at an upstream (`max_connections`).
    upstream_queued,
    /// Requests refused since too many waited, or their turn did not come in time.
    upstream_queue_refused,
    /// Requests that waited for an upstream that was being restarted (`retry_for`).
    upstream_held,
    /// Times a request was sent to another server, or on another connection.
    upstream_retries,
    /// Times a server of several was left alone because it had failed.
    upstream_ejections,
    /// Request bodies that were written to a file before the app was asked.
    bodies_spooled,
    /// Answers that were written to a file since their clients were slower than the app.
    answers_spooled,
    /// Requests refused since their bodies could not be kept (`spool_memory`, `spool_disk`).
    spool_refused,
    /// Bytes of the bodies of requests for apps.
    request_bytes,
    /// Tunnels (WebSockets) open now.
    tunnels,
    /// Streams open now.
    streams,
    /// Streams opened.
    streams_opened,
    /// Streams refused: no or wrong credentials, or a channel not granted.
    streams_refused,
    /// Streams not opened because of `streams`.
    streams_limited,
    /// Streams not opened because of `streams_per_user` or a route's `max_per_user`.
    streams_limited_user,
    /// Streams not opened because of `streams_per_address`.
    streams_limited_address,
    /// Streams not opened because of `opens_per_second`.
    streams_limited_rate,
    /// Streams not opened because of `opens_per_second_per_address`.
    streams_limited_address_rate,
    /// Streams that a table of the limits had no room for, let in all the same.
    streams_uncounted,
    /// Events handed to streams.
    deliveries,
    /// Bytes handed to streams: events, heartbeats and history.
    stream_bytes,
    /// Streams that have something waiting to be written.
    streams_behind,
    /// What waits for them, in bytes.
    backlog_bytes,
    /// Heartbeats handed to streams.
    heartbeats,
    /// Heartbeats that found out that the client was gone.
    heartbeats_failed,
    /// Streams whose client went away.
    gone,
    /// Streams ended because their backlog was full.
    evicted,
    /// Of those, the ones that did not take their page of history in time.
    evicted_stalled,
    /// Streams ended because the app disconnected their user.
    disconnected,
    /// Streams ended since what they were let in by is not the configuration's any more.
    revoked,
    /// Streams ended by the operator.
    ended_by_operator,
    /// Streams ended because they were open for as long as their route allows.
    ended_by_age,
    /// Streams ended because their credential had expired.
    ended_by_expiry,
    /// Streams ended because history could not be read.
    ended_by_store,
    /// Streams ended because the process was ending.
    drained,
    /// Streams that came back with an id and lost nothing.
    resumed,
    /// Streams that were told of a gap.
    resets,
    /// Of those, the ones whose id was not known.
    resets_unknown_id,
    /// Of those, the ones whose id was of another epoch.
    resets_new_epoch,
    /// Events sent again from history.
    replayed,
    /// Requests to publish routes that came faster than the route's `rate`.
    publications_limited,
    /// Publications that sources have read.
    source_events,
    /// What sources have read and what can be no publication.
    source_rejected,
    /// What sources were told and had no room for.
    source_dropped,
    /// Lines the access log had no room for.
    log_lines_dropped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_sum_of_the_workers() {
        let workers = [Arc::new(Counters::default()), Arc::new(Counters::default())];
        workers[0].streams.add(3);
        workers[1].streams.inc();
        workers[0].streams.dec();
        assert_eq!(Totals::of(&workers).streams, 3);
        assert!(Totals::of(&workers).entries().contains(&("streams", 3)));
    }
}
