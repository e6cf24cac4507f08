//! The timers of all streams of a worker: one heap and one sleep, whatever their number.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::time::Instant;

/// So many timers of streams that have ended are kept in any case, so that a few streams are not counted over and over.
const SPARE: usize = 64;

/// A time at which a stream has something to do. Those of streams that have ended stay until they come up or are
/// pruned; the serial tells them from a new stream in the same place.
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

    /// Forgets the timers of streams that have ended once they outnumber the `live` ones, each of which has one timer
    /// at most. Without this a stream that was open for a moment would be remembered until its token had expired.
    pub(super) fn prune(&mut self, live: usize, is_live: impl Fn(&Timer) -> bool) {
        if self.0.len() > 2 * live + SPARE {
            self.0.retain(|Reverse(timer)| is_live(timer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn streams_that_come_and_go_leave_little_behind() {
        let now = Instant::now();
        let mut timers = Timers::default();
        for serial in 0..10_000 {
            // One stream stays; all others end at once, long before their time.
            let at = now + Duration::from_secs(u64::from(10_000 - serial));
            timers.add(Timer { at, key: u32::from(serial > 0), serial });
            timers.prune(1, |timer| timer.serial == 0 || timer.serial == serial);
            assert!(timers.0.len() <= 2 + SPARE);
        }
        assert_eq!(timers.take_due(now), None);
        let later = now + Duration::from_secs(20_000);
        let due: Vec<_> = std::iter::from_fn(|| timers.take_due(later)).collect();
        assert!(due.is_sorted_by_key(|timer| timer.at));
        assert!(due.iter().any(|timer| timer.serial == 0) && due.iter().any(|timer| timer.serial == 9999));
    }
}
