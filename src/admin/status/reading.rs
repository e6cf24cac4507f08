//! What is read at one moment: numbers that only grow, mostly, so that two readings tell what was between them.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::admin::View;
use crate::admin::process::Process;
use crate::metrics::{Cell, DELIVERY, REQUEST, Spread, Totals};

/// Where answers of 5xx are counted.
const SERVER_ERRORS: usize = 4;

/// How everything stood at a moment.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) at: Instant,
    pub(super) totals: Totals,
    /// Publications taken in.
    pub(super) published: u64,
    /// Answers of 5xx.
    pub(super) errors: u64,
    pub(super) requests: Spread<REQUEST>,
    pub(super) deliveries: Spread<DELIVERY>,
    pub(super) workers: Vec<Worker>,
    pub(super) upstreams: BTreeMap<String, Upstream>,
    pub(super) process: Process,
}

/// One worker's part.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) totals: Totals,
    /// Events that wait for it.
    pub(super) waiting: usize,
}

/// What is counted of an upstream, over all workers.
#[derive(Debug, Clone, Default)]
pub(super) struct Upstream {
    pub(super) requests: u64,
    pub(super) active: u64,
    pub(super) errors: u64,
    pub(super) failures: u64,
    pub(super) first_byte: Spread<REQUEST>,
}

impl Reading {
    /// How it stands now.
    pub(super) fn now(view: &View) -> Self {
        let hub = view.hub.totals();
        let workers = view.counters.iter().zip(&hub.inboxes).map(|(counters, waiting)| {
            // Whoever else counts comes behind the workers, and has no inbox.
            Worker { totals: Totals::of(std::slice::from_ref(counters)), waiting: *waiting }
        });
        let mut reading = Self {
            at: Instant::now(),
            totals: Totals::of(&view.counters),
            published: hub.published,
            errors: 0,
            requests: Spread::default(),
            deliveries: Spread::default(),
            workers: workers.collect(),
            upstreams: BTreeMap::new(),
            process: Process::usage(),
        };
        for counters in &*view.counters {
            counters.delivery.add_to(&mut reading.deliveries);
            counters.routes.each(|label, cells| {
                let classes = cells.classes();
                cells.time.add_to(&mut reading.requests);
                reading.errors += classes[SERVER_ERRORS];
                if !label.upstream.is_empty() {
                    let upstream = reading.upstreams.entry(label.upstream.clone()).or_default();
                    upstream.requests += classes.iter().sum::<u64>();
                    upstream.errors += classes[SERVER_ERRORS];
                    upstream.active += cells.active.get();
                }
            });
            counters.upstreams.each(|name, cells| {
                let upstream = reading.upstreams.entry(name.clone()).or_default();
                cells.first_byte.add_to(&mut upstream.first_byte);
                upstream.failures += cells.failures.iter().map(Cell::get).sum::<u64>();
            });
        }
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Class;

    #[test]
    fn server_errors_are_counted_where_their_class_is() {
        assert_eq!(Class::NAMES[SERVER_ERRORS], "5xx");
    }
}
