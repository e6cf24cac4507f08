//! How often something may happen: a token bucket that is one number.
//!
//! The number is when the bucket will be full again (the generic cell rate algorithm), so nothing has to refill it and
//! one that is full need not be kept. Own code instead of the crate `governor`: its keyed buckets are a map without a
//! bound, and these must have one.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const NANOS: u64 = 1_000_000_000;

/// A number of times a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// From one to the next, in nanoseconds.
    gap: u64,
    /// How much a bucket holds: what comes in this time, in nanoseconds.
    burst: u64,
}

impl Rate {
    pub(super) fn per_second(count: NonZero<u32>) -> Self {
        // A second's worth may come at once.
        Self { gap: NANOS / u64::from(count.get()), burst: NANOS }
    }

    /// So many in a time, and so many at once.
    pub(super) fn new(count: NonZero<u32>, per: Duration, burst: NonZero<u32>) -> Self {
        let per = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        let gap = (per / u64::from(count.get())).max(1);
        Self { gap, burst: gap.saturating_mul(u64::from(burst.get())) }
    }

    /// Takes one: from when a bucket will be full again to when it will be then. Times are in nanoseconds since any
    /// moment. If there is none, how long it takes until there is one.
    pub(super) fn take(self, full_at: u64, now: u64) -> Result<u64, Duration> {
        let then = full_at.max(now) + self.gap;
        match then.checked_sub(now + self.burst) {
            None | Some(0) => Ok(then),
            Some(early) => Err(Duration::from_nanos(early)),
        }
    }
}

/// A bucket that all threads take from, without a lock.
#[derive(Debug)]
pub struct Throttle {
    rate: Rate,
    begun: Instant,
    full_at: AtomicU64,
}

impl Throttle {
    /// A full one: so many a second, and as many at once.
    pub fn per_second(count: NonZero<u32>) -> Self {
        Self::of(Rate::per_second(count))
    }

    pub(super) fn of(rate: Rate) -> Self {
        Self { rate, begun: Instant::now(), full_at: AtomicU64::new(0) }
    }

    /// Takes one. If there is none, how long it takes until there is one.
    ///
    /// # Errors
    /// The time to wait.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        let now = nanos(self.begun, now);
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let then = self.rate.take(full_at, now)?;
            match self.full_at.compare_exchange_weak(full_at, then, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => full_at = other,
            }
        }
    }
}

impl Throttle {
    /// How many it lets through at once, when it is full.
    pub fn burst(&self) -> usize {
        usize::try_from(self.rate.burst / self.rate.gap).unwrap_or(usize::MAX)
    }

    /// Takes so many more, no more than a full one holds, whether they are there or not: for what turns out to be
    /// several once it has been let through. Whoever comes next waits for it.
    pub fn charge(&self, further: usize) {
        let further = u64::try_from(further.min(self.burst())).unwrap_or(u64::MAX);
        self.full_at.fetch_add(further * self.rate.gap, Ordering::Relaxed);
    }
}

/// Nanoseconds since a moment; 64 bits of them are 584 years.
pub(super) fn nanos(begun: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(begun).as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_may_come_at_once_and_then_one_after_the_other() {
        let throttle = Throttle::per_second(NonZero::new(4).unwrap());
        let begun = throttle.begun;
        let at = |millis| begun + Duration::from_millis(millis);
        for _ in 0..4 {
            assert_eq!(throttle.take(at(0)), Ok(()));
        }
        assert_eq!(throttle.take(at(0)), Err(Duration::from_millis(250)));
        assert_eq!(throttle.take(at(100)), Err(Duration::from_millis(150)), "a refusal takes nothing");
        assert_eq!(throttle.take(at(250)), Ok(()));
        assert!(throttle.take(at(250)).is_err());
        for _ in 0..4 {
            assert_eq!(throttle.take(at(60_000)), Ok(()), "no more than a second's worth is saved up");
        }
        assert!(throttle.take(at(60_000)).is_err());
    }

    #[test]
    fn what_turns_out_to_be_several_is_paid_for_afterwards() {
        let throttle = Throttle::per_second(NonZero::new(4).unwrap());
        let begun = throttle.begun;
        let at = |millis| begun + Duration::from_millis(millis);
        assert_eq!(throttle.burst(), 4);
        assert_eq!(throttle.take(at(0)), Ok(()));
        throttle.charge(3);
        assert_eq!(throttle.take(at(0)), Err(Duration::from_millis(250)));
        throttle.charge(1000);
        assert_eq!(
            throttle.take(at(0)),
            Err(Duration::from_millis(1250)),
            "never more than a full one holds"
        );
    }

    #[test]
    fn what_a_second_does_not_divide_by_is_not_lost() {
        for count in [1, 3, 7, 1_000_000] {
            let throttle = Throttle::per_second(NonZero::new(count).unwrap());
            let now = throttle.begun;
            let taken = (0..count + 5).filter(|_| throttle.take(now).is_ok()).count();
            assert_eq!(taken, count as usize);
        }
    }
}
