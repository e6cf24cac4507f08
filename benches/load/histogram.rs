//! A histogram of times, of a fixed size.
//!
//! Invariant: a value is off by less than one part in 32, whatever its size; the largest is exact.

use std::time::Duration;

use serde::Serialize;

/// Buckets in each power of two.
const STEPS: u64 = 1 << STEP_BITS;
/// Bits of a step within a power of two.
const STEP_BITS: u32 = 5;
/// Up to 2^40 ns, 18 minutes; what is longer falls into the last bucket.
const BUCKETS: usize = 36 << STEP_BITS;

/// How often times of each size were seen.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest: u64,
}

/// What people read of a histogram, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, longest: 0 }
    }

    /// Counts a time in nanoseconds.
    pub(crate) fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.longest = self.longest.max(nanos);
    }

    /// The quantiles, or none if nothing was recorded.
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        (self.total > 0).then(|| Quantiles {
            p50: self.quantile(0.50),
            p90: self.quantile(0.90),
            p99: self.quantile(0.99),
            max: micros(self.longest),
        })
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count is within the count"
    )]
    fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return micros(middle(index).min(self.longest));
            }
        }
        micros(self.longest)
    }
}

/// Values under `STEPS` have a bucket of their own; above, each power of two is cut into `STEPS` equal ones.
fn bucket(value: u64) -> usize {
    if value < STEPS {
        return usize::try_from(value).unwrap_or(0);
    }
    let power = value.ilog2() - STEP_BITS;
    let index = u64::from(power) * STEPS + (value >> power);
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The value in the middle of a bucket.
fn middle(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * STEPS {
        return index;
    }
    let power = index / STEPS - 1;
    let low = (index % STEPS + STEPS) << power;
    low + (1 << power) / 2
}

fn micros(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_near_the_middle_of_its_bucket() {
        for value in (0..200).chain([1_000, 4_095, 4_096, 123_456_789, 60_000_000_000]) {
            let found = middle(bucket(value));
            let off = found.abs_diff(value) as f64;
            assert!(off <= value as f64 / 32.0, "{value} became {found}");
        }
    }

    #[test]
    fn buckets_do_not_go_back() {
        let all: Vec<_> = (0..100_000).map(bucket).collect();
        assert!(all.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] - pair[0] <= 1));
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_a_thousand_values() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantiles(), None);
        for micros in 1..=1000 {
            histogram.record(micros * 1000);
        }
        let found = histogram.quantiles().unwrap();
        for (found, true_value) in [(found.p50, 500.0), (found.p90, 900.0), (found.p99, 990.0)] {
            assert!((found - true_value).abs() / true_value < 0.04, "{found} is not {true_value}");
        }
        assert!((found.max - 1000.0).abs() < 0.001);
    }
}
