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

    /// What came to it since it held `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        for (count, before) in since.counts.iter_mut().zip(&before.counts) {
            // Cells are read one by one: a count may be behind one that was read before it, never for long.
            *count = count.saturating_sub(*before);
        }
        since.nanos = since.nanos.wrapping_sub(before.nanos);
        since
    }

    /// The duration that this share of them does not exceed, in seconds, as near as the buckets tell: it is taken to lie
    /// in its bucket as far as its rank does. None without durations; the start of the last bucket where it is in that.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count() as f64;
        let (mut start, mut below) = (0.0, 0.0);
        for (end, count) in self.buckets() {
            let count = count as f64;
            if count > 0.0 && below + count >= wanted {
                let is_last = end.is_infinite();
                let within = if is_last { 0.0 } else { (end - start) * (wanted - below) / count };
                return Some(start + within);
            }
            (start, below) = (end, below + count);
        }
        None
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

    #[test]
    fn a_quantile_is_where_its_rank_is_in_its_bucket() {
        let times = Histogram::<1_000_000>::default();
        let spread = || {
            let mut spread = Spread::default();
            times.add_to(&mut spread);
            spread
        };
        assert_eq!(spread().quantile(0.5), None);
        (0..90).for_each(|_| times.note(Duration::from_micros(500)));
        let before = spread();
        (0..10).for_each(|_| times.note(Duration::from_millis(3)));
        assert_eq!(spread().quantile(0.45), Some(0.0005));
        assert_eq!(spread().quantile(0.95), Some(0.003));
        let since = spread().since(&before);
        assert_eq!((since.count(), since.sum()), (10, 0.03));
        assert_eq!(since.quantile(0.5), Some(0.003));
        times.note(Duration::from_secs(3600));
        assert_eq!(spread().since(&before).quantile(1.0), Some(32.768), "the last bucket has no end");
    }
}
