//! The timers of all streams of a worker: one heap and one sleep, whatever their number.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::time::Instant;

/// A time at which a stream has something to do. Entries of streams that have ended stay until they come up; the
/// serial tells them from a new stream in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub(super) at: Instant,
    pub(super) key: u32,
    pub(super) serial: u32,
}

/// What is to come, the soonest first.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<Timer>>);

impl Timers {
    /// Adds one. Says whether it is now the soonest, so that the sleep must be shortened.
    pub(super) fn add(&mut self, timer: Timer) -> bool {
        let soonest = self.0.peek().is_none_or(|Reverse(first)| timer.at < first.at);
        self.0.push(Reverse(timer));
        soonest
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse(timer)| timer.at)
    }

    /// Takes one that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(timer)| timer)
    }
}
