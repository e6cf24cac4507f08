//! What every subscriber has got, and what is missing.
//!
//! Invariant: a publication that a stream should get is counted as delivered or as lost, and what came again as twice.

use crate::histogram::Histogram;
use crate::stamp::Stamp;

/// The books of all streams.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Lanes that a stream gets events of: all of them, or only its user's.
    width: usize,
    users: usize,
    /// The number of the first lane. Those below are others' books, and passed over.
    first: usize,
    /// For each stream and lane, the number of the last publication.
    last: Vec<u32>,
    pub(crate) counts: Counts,
    pub(crate) latency: Histogram,
}

/// Sums over all streams.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events that arrived, each counted once for each stream.
    pub(crate) delivered: u64,
    /// Numbers that were passed over.
    pub(crate) lost: u64,
    /// Numbers that came again, or after a higher one.
    pub(crate) twice: u64,
    /// Events that were another user's.
    pub(crate) strays: u64,
}

impl Ledger {
    /// Empty books. With `own`, stream `i` belongs to user `i % users`, and that user's lane is all it should get.
    pub(crate) fn new(streams: usize, lanes: usize, own: bool, first: usize) -> Self {
        let (width, users) = if own { (1, lanes) } else { (lanes, 0) };
        Self {
            width,
            users,
            first,
            last: vec![0; streams * width],
            counts: Counts::default(),
            latency: Histogram::new(),
        }
    }

    /// Enters an event that a stream got at this time.
    pub(crate) fn enter(&mut self, stream: usize, stamp: Stamp, now: u64) {
        let lane = usize::try_from(stamp.lane).unwrap_or(usize::MAX);
        let Some(lane) = lane.checked_sub(self.first) else { return };
        let own = self.users > 0;
        if (own && lane != stream % self.users) || (!own && lane >= self.width) {
            self.counts.strays += 1;
            return;
        }
        let last = &mut self.last[stream * self.width + if own { 0 } else { lane }];
        if stamp.number <= *last {
            self.counts.twice += 1;
            return;
        }
        self.counts.lost += u64::from(stamp.number - *last - 1);
        *last = stamp.number;
        self.counts.delivered += 1;
        self.latency.record(now.saturating_sub(stamp.nanos));
    }

    /// How many events these streams still miss at their ends, if so many were published on each lane.
    pub(crate) fn missing(&self, published: &[u32], streams: impl Iterator<Item = usize>) -> u64 {
        let of = |stream: usize, slot: usize| {
            let lane = if self.users > 0 { stream % self.users } else { slot };
            u64::from(published[lane].saturating_sub(self.last[stream * self.width + slot]))
        };
        streams.map(|stream| (0..self.width).map(|slot| of(stream, slot)).sum::<u64>()).sum()
    }

    /// Begins new sums and latencies; where each stream is stays.
    pub(crate) fn next_chapter(&mut self) {
        self.counts = Counts::default();
        self.latency = Histogram::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(lane: u32, number: u32) -> Stamp {
        Stamp { lane, number, nanos: 10 }
    }

    #[test]
    fn gaps_repetitions_and_ends_are_seen() {
        let mut ledger = Ledger::new(2, 2, false, 0);
        for (stream, lane, number) in [(0, 0, 1), (0, 0, 2), (0, 1, 1), (1, 0, 3), (1, 0, 2), (0, 7, 1)] {
            ledger.enter(stream, stamp(lane, number), 20);
        }
        assert_eq!(ledger.counts, Counts { delivered: 4, lost: 2, twice: 1, strays: 1 });
        assert_eq!(ledger.missing(&[3, 1], 0..2), 1 + 1);
        assert_eq!(ledger.missing(&[3, 1], std::iter::once(0)), 1);
        ledger.next_chapter();
        assert_eq!(ledger.counts, Counts::default());
        assert_eq!(ledger.missing(&[3, 1], 0..2), 2);
    }

    #[test]
    fn each_user_has_a_lane() {
        let mut ledger = Ledger::new(4, 2, true, 5);
        ledger.enter(2, stamp(5, 1), 20);
        ledger.enter(3, stamp(5, 1), 20);
        ledger.enter(2, stamp(4, 7), 20);
        assert_eq!(ledger.counts, Counts { delivered: 1, lost: 0, twice: 0, strays: 1 });
        assert_eq!(ledger.missing(&[1, 2], 0..4), 1 + 2 + 2);
    }
}
