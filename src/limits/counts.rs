//! Tables of numbers by key, with a bound.

use std::collections::HashMap;

/// How many things there are now of each key. A key without any is not in it.
#[derive(Debug, Default)]
pub(super) struct Counts(HashMap<u64, u32>);

impl Counts {
    pub(super) fn of(&self, key: u64) -> u32 {
        self.0.get(&key).copied().unwrap_or(0)
    }

    /// Counts one more; not, if the key would be one too many.
    pub(super) fn add(&mut self, key: u64, most_keys: usize) -> bool {
        if self.0.len() >= most_keys && !self.0.contains_key(&key) {
            return false;
        }
        *self.0.entry(key).or_default() += 1;
        true
    }

    pub(super) fn remove(&mut self, key: u64) {
        if let Some(count) = self.0.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&key);
            }
        }
        // A flood leaves its room behind; a quarter is the least that is worth the work.
        if self.0.len() < self.0.capacity() / 8 {
            self.0.shrink_to(self.0.len() * 4);
        }
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.0.len()
    }
}

/// A bucket for each key. One that is full is the same as none.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    full_at: HashMap<u64, u64>,
    swept_at: u64,
}

/// The shortest time between two sweeps, in nanoseconds: what fills a bucket.
const SWEEP: u64 = 1_000_000_000;

impl Buckets {
    /// When the bucket of a key will be full again.
    pub(super) fn full_at(&self, key: u64) -> u64 {
        self.full_at.get(&key).copied().unwrap_or(0)
    }

    /// Takes from the bucket of a key what its rate has found to be there; not, if the key would be one too many.
    pub(super) fn set(&mut self, key: u64, full_at: u64, now: u64, most_keys: usize) -> bool {
        // Not at each request of a flood: that would be the flood's work done for it.
        if now.saturating_sub(self.swept_at) >= SWEEP {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.full_at.shrink_to(self.full_at.len() * 4);
            self.swept_at = now;
        }
        if self.full_at.len() >= most_keys && !self.full_at.contains_key(&key) {
            return false;
        }
        self.full_at.insert(key, full_at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_too_many_is_not_counted_and_room_comes_back() {
        let mut counts = Counts::default();
        assert!(counts.add(1, 2) && counts.add(2, 2) && counts.add(1, 2));
        assert!(!counts.add(3, 2));
        assert_eq!((counts.of(1), counts.of(2), counts.of(3)), (2, 1, 0));
        counts.remove(2);
        assert!(counts.add(3, 2));
        counts.remove(1);
        counts.remove(1);
        counts.remove(3);
        assert_eq!(counts.keys(), 0);
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let mut buckets = Buckets::default();
        assert!(buckets.set(1, SWEEP, 5, 2) && buckets.set(2, SWEEP, 5, 2));
        assert!(!buckets.set(3, SWEEP, 5, 2), "no room, and nothing to forget yet");
        assert!(buckets.set(2, 2 * SWEEP, 6, 2));
        assert!(buckets.set(3, 4 * SWEEP, 3 * SWEEP, 2));
        assert_eq!((buckets.full_at.len(), buckets.full_at(2), buckets.full_at(3)), (1, 0, 4 * SWEEP));
    }
}
