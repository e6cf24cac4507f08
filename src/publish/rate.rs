//! Rate: how fast publications may come over one route, whoever sends them and whichever worker takes them.
//!
//! It is kept as one number, the time at which all that was let in so far would have come at exactly the rate (the
//! generic cell rate algorithm), so that the workers share an atomic and nothing has to be refilled.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What may come at once: as much as in this time.
const BURST: Duration = Duration::from_secs(1);

/// One route's rate.
#[derive(Debug)]
pub(super) struct Rate {
    a_second: NonZeroU32,
    began: Instant,
    /// Nanoseconds since `began`.
    reached: AtomicU64,
}

impl Rate {
    pub(super) fn new(a_second: NonZeroU32) -> Self {
        Self { a_second, began: Instant::now(), reached: AtomicU64::new(0) }
    }

    /// The most publications in one request.
    pub(super) fn burst(&self) -> usize {
        usize::try_from(self.a_second.get()).unwrap_or(usize::MAX)
    }

    /// Lets a request in and counts one publication; or says how long there is to wait.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Duration> {
        let now = nanos(now.saturating_duration_since(self.began));
        // One publication less: the one that is let in is a part of the burst.
        let ahead = nanos(BURST) - self.of(1);
        let mut reached = self.reached.load(Ordering::Relaxed);
        loop {
            let from = reached.max(now);
            if from - now > ahead {
                return Err(Duration::from_nanos(from - now - ahead));
            }
            let next = from + self.of(1);
            match self.reached.compare_exchange_weak(reached, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => reached = other,
            }
        }
    }

    /// Counts further publications of a request that was let in.
    pub(super) fn charge(&self, publications: usize) {
        let publications = u64::try_from(publications.min(self.burst())).unwrap_or(u64::MAX);
        self.reached.fetch_add(self.of(publications), Ordering::Relaxed);
    }

    /// The time that so many publications take.
    fn of(&self, publications: u64) -> u64 {
        publications * nanos(BURST) / u64::from(self.a_second.get())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(a_second: u32) -> Rate {
        Rate::new(NonZeroU32::new(a_second).unwrap())
    }

    #[test]
    fn a_second_holds_as_many_as_it_says() {
        for a_second in [1, 3, 10, 1000] {
            let rate = rate(a_second);
            let mut now = rate.began + Duration::from_secs(60);
            for _ in 0..a_second {
                assert_eq!(rate.admit(now), Ok(()), "{a_second}");
            }
            let wait = rate.admit(now).unwrap_err();
            assert!(wait <= Duration::from_secs(1) / a_second, "{a_second}: {wait:?}");
            now += wait;
            assert_eq!(rate.admit(now), Ok(()), "{a_second}");
            assert!(rate.admit(now).is_err(), "{a_second}");
            // What was not used is not saved up.
            now += Duration::from_secs(3600);
            assert_eq!((0..=a_second).filter(|_| rate.admit(now).is_ok()).count(), a_second as usize);
        }
    }

    #[test]
    fn a_batch_counts_as_what_is_in_it() {
        let rate = rate(10);
        let now = rate.began;
        assert_eq!(rate.admit(now), Ok(()));
        rate.charge(9);
        assert_eq!(rate.admit(now), Err(Duration::from_millis(100)));
        // Let in with the last place of a second, it is paid for in the next one.
        let later = now + Duration::from_millis(100);
        assert_eq!(rate.admit(later), Ok(()));
        rate.charge(9);
        assert_eq!(rate.admit(later), Err(Duration::from_secs(1)));
    }
}
