//! What the hub counts, for who looks.

use super::Hub;
use super::publication::PublishError;
use crate::store::StoreTotals;

/// Why publications are refused here, by name.
const REFUSALS: [&str; 5] = ["worker_behind", "store", "keys_full", "key_reused", "too_large"];

/// What was published and refused, in publications. A batch that is refused counts as one.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) published: u64,
    refused: [u64; REFUSALS.len()],
}

impl Counts {
    pub(super) fn refuse(&mut self, why: &PublishError) {
        let place = match why {
            PublishError::Overloaded => 0,
            PublishError::NotKept => 1,
            PublishError::TooManyKeys { .. } => 2,
            PublishError::KeyReused { .. } => 3,
            PublishError::TooLarge => 4,
        };
        self.refused[place] += 1;
    }
}

/// How the hub stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubTotals {
    /// Publications taken in since the start.
    pub published: u64,
    /// Publications refused since the start, by reason. A batch counts as one.
    pub refused: [(&'static str, u64); REFUSALS.len()],
    /// What waits for each worker.
    pub inboxes: Vec<usize>,
    /// Events that wait to be written to the disk.
    pub queued: usize,
    /// Publications that were handed to Redis and are not answered yet.
    pub ordered: usize,
    /// What is kept.
    pub store: StoreTotals,
}

impl Hub {
    /// How it stands now.
    pub fn totals(&self) -> HubTotals {
        let inboxes = self.0.inboxes.iter().map(|inbox| inbox.len()).collect();
        let state = self.lock();
        let mut refused = REFUSALS.map(|why| (why, 0));
        for ((_, count), refused) in refused.iter_mut().zip(state.counts.refused) {
            *count = refused;
        }
        let (published, queued) = (state.counts.published, state.queue.len());
        let ordered = state.node.as_ref().map_or(0, |node| node.in_flight());
        HubTotals { published, refused, inboxes, queued, ordered, store: state.store.totals() }
    }
}
