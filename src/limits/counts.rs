//! Tables of numbers by key, with a bound.

use std::collections::HashMap;

/// Up to how many things keys are told apart by; the last step has no end.
const STEPS: [u32; 8] = [1, 2, 3, 5, 10, 20, 50, 100];

/// How many keys have how many things.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Heap {
    /// All things.
    pub things: u64,
    steps: [u64; STEPS.len() + 1],
}

impl Heap {
    /// How many keys have anything.
    pub fn keys(&self) -> u64 {
        self.steps.iter().sum()
    }

    /// The end of each step, and how many keys are in it.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        STEPS.into_iter().map(f64::from).chain([f64::INFINITY]).zip(self.steps)
    }

    fn step(count: u32) -> usize {
        STEPS.partition_point(|end| *end < count)
    }

    fn enter(&mut self, count: u32) {
        self.steps[Self::step(count)] += u64::from(count > 0);
    }

    fn leave(&mut self, count: u32) {
        self.steps[Self::step(count)] -= u64::from(count > 0);
    }
}

/// How many things there are now of each key. A key without any is not in it.
#[derive(Debug, Default)]
pub(super) struct Counts {
    of: HashMap<u64, u32>,
    heap: Heap,
}

impl Counts {
    pub(super) fn of(&self, key: u64) -> u32 {
        self.of.get(&key).copied().unwrap_or(0)
    }

    /// How many keys have how many.
    pub(super) fn heap(&self) -> Heap {
        self.heap
    }

    /// Counts one more; not, if the key would be one too many.
    pub(super) fn add(&mut self, key: u64, most_keys: usize) -> bool {
        if self.of.len() >= most_keys && !self.of.contains_key(&key) {
            return false;
        }
        let count = self.of.entry(key).or_default();
        self.heap.leave(*count);
        *count += 1;
        self.heap.enter(*count);
        self.heap.things += 1;
        true
    }

    pub(super) fn remove(&mut self, key: u64) {
        if let Some(count) = self.of.get_mut(&key) {
            self.heap.leave(*count);
            *count -= 1;
            self.heap.enter(*count);
            self.heap.things -= 1;
            if *count == 0 {
                self.of.remove(&key);
            }
        }
        // A flood leaves its room behind; a quarter is the least that is worth the work.
        if self.of.len() < self.of.capacity() / 8 {
            self.of.shrink_to(self.of.len() * 4);
        }
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.of.len()
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
    fn it_is_known_how_many_keys_have_how_many() {
        let mut counts = Counts::default();
        for (key, count) in [(1, 1), (2, 2), (3, 4), (4, 101)] {
            (0..count).for_each(|_| assert!(counts.add(key, 10)));
        }
        let filled =
            |counts: &Counts| -> Vec<_> { counts.heap().buckets().filter(|(_, keys)| *keys > 0).collect() };
        assert_eq!(filled(&counts), [(1.0, 1), (2.0, 1), (5.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((counts.heap().keys(), counts.heap().things), (4, 108));
        counts.remove(3);
        counts.remove(1);
        counts.remove(1);
        assert_eq!(filled(&counts), [(2.0, 1), (3.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((counts.heap().keys(), counts.heap().things), (3, 106));
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
