//! Durations by their size, in buckets that each reach twice as far as the one before.
//!
//! Invariant: to note one takes no lock and no memory, and one thread does it.

use std::time::Duration;

use super::Cell;

/// How many buckets have an end; one more takes what is longer.
const BUCKETS: usize = 16;

/// Durations that one thread notes. The first bucket ends at so many nanoseconds.
#[derive(Debug, Default)]
pub struct Histogram<const FIRST: u64> {
    counts: [Cell; BUCKETS + 1],
    nanos: Cell,
}

impl<const FIRST: u64> Histogram<FIRST> {
    /// Notes one.
    pub fn note(&self, duration: Duration) {
        // Half a thousand years of them fit; this is a third of the work of `as_nanos`, which has more room.
        let nanos =
            duration.as_secs().wrapping_mul(1_000_000_000).wrapping_add(duration.subsec_nanos().into());
        self.counts[place(nanos, FIRST)].inc();
        self.nanos.add(nanos);
    }

    /// Adds what another one holds.
    pub fn take_in(&self, other: &Self) {
        for (cell, other) in self.counts.iter().zip(&other.counts) {
            cell.add(other.get());
        }
        self.nanos.add(other.nanos.get());
    }

    /// Adds what it holds to a sum.
    pub fn add_to(&self, sum: &mut Spread<FIRST>) {
        for (sum, cell) in sum.counts.iter_mut().zip(&self.counts) {
            *sum += cell.get();
        }
        sum.nanos += self.nanos.get();
    }
}

/// The bucket of a duration: bounds belong to the bucket that they end.
fn place(nanos: u64, first: u64) -> usize {
    let over = nanos.saturating_sub(1) / first;
    let doublings = (u64::BITS - over.leading_zeros()) as usize;
    doublings.min(BUCKETS)
}

/// What histograms of one kind hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread<const FIRST: u64> {
    counts: [u64; BUCKETS + 1],
    nanos: u64,
}

impl<const FIRST: u64> Spread<FIRST> {
    /// The end of each bucket in seconds, and how many durations are in it. The last has no end.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let ends = (0..BUCKETS).map(|doublings| seconds(FIRST << doublings));
        ends.chain([f64::INFINITY]).zip(self.counts).collect()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together, in seconds.
    pub fn sum(&self) -> f64 {
        seconds(self.nanos)
    }
}

fn seconds(nanos: u64) -> f64 {
    // Exact enough: a double has 53 bits, and 104 days of nanoseconds fit.
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_first_bucket_that_reaches_as_far() {
        for (nanos, expected) in [
            (0, 0),
            (1, 0),
            (1000, 0),
            (1001, 1),
            (2000, 1),
            (2001, 2),
            (4000, 2),
            (4001, 3),
            (1000 << 15, 15),
            ((1000 << 15) + 1, 16),
            (u64::MAX, 16),
        ] {
            assert_eq!(place(nanos, 1000), expected, "{nanos}");
        }
    }

    #[test]
    fn spreads_are_sums() {
        let (one, other) = (Histogram::<1_000_000>::default(), Histogram::<1_000_000>::default());
        one.note(Duration::from_millis(3));
        other.note(Duration::from_millis(4));
        other.note(Duration::from_secs(3600));
        let mut spread = Spread::default();
        one.add_to(&mut spread);
        other.add_to(&mut spread);
        assert_eq!((spread.count(), spread.sum()), (3, 3600.007));
        let filled: Vec<_> = spread.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.004, 2), (f64::INFINITY, 1)]);
    }
}
