//! The log of one channel in memory: a bounded queue of events.
//!
//! Invariant: what is dropped for a bound raises `lost`, so that who reads past an older id is told of the gap.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::sync::Arc;

use super::{Limits, Record};

/// What an event costs in memory beside its frame, in bytes; counted so that many tiny events are bounded too.
pub(super) const RECORD_OVERHEAD: usize = 128;

#[derive(Debug)]
pub(super) struct Log {
    pub(super) records: VecDeque<Arc<Record>>,
    pub(super) bytes: usize,
    /// Events up to and with this one may be gone.
    pub(super) lost: u64,
    /// The newest event, kept or not.
    pub(super) last: u64,
    /// The newest before that.
    pub(super) before: u64,
}

/// What a drop gave back.
#[derive(Debug, Default)]
pub(super) struct Freed {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl AddAssign for Freed {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

impl Log {
    /// An empty log of a channel whose events up to `lost` may be gone, and whose newest was `last`.
    pub(super) fn new(lost: u64, last: u64) -> Self {
        Self { records: VecDeque::new(), bytes: 0, lost, last, before: last }
    }

    /// Adds an event, which must be above all before it, and drops what the channel's own bounds do not allow.
    pub(super) fn append(&mut self, record: &Arc<Record>, limits: &Limits) -> Freed {
        (self.before, self.last) = (self.last, record.seq);
        let mut freed = self.collapse(record);
        self.bytes += cost(record);
        self.records.push_back(record.clone());
        while self.records.len() > limits.events || self.bytes > limits.bytes {
            freed += self.drop_oldest();
        }
        freed
    }

    pub(super) fn drop_oldest(&mut self) -> Freed {
        let Some(record) = self.records.pop_front() else {
            return Freed::default();
        };
        self.lost = record.seq;
        self.bytes -= cost(&record);
        Freed { records: 1, bytes: cost(&record) }
    }

    /// Takes out the older event with the same collapse key. A channel holds at most one, so the search, newest
    /// first, is bounded by the channel's events.
    fn collapse(&mut self, newer: &Record) -> Freed {
        let Some(key) = &newer.collapse else {
            return Freed::default();
        };
        let found = self.records.iter().rposition(|record| record.collapse.as_ref() == Some(key));
        let Some(record) = found.and_then(|index| self.records.remove(index)) else {
            return Freed::default();
        };
        self.bytes -= cost(&record);
        Freed { records: 1, bytes: cost(&record) }
    }
}

/// What an event counts for, in bytes.
pub(super) fn cost(record: &Record) -> usize {
    record.frame.len() + RECORD_OVERHEAD
}
