//! How often a route may be asked, over all workers: by each address, or by all together.
//!
//! The table of addresses is in parts, each with a lock of its own that is held for one look: workers meet at one only
//! when their clients do, and dropping what is forgotten never takes long.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::counts::Buckets;
use super::rate::{Rate, Throttle, nanos};
use super::{MAX_KEYS, place};
use crate::config::{RateBy, RateLimit};

/// The parts of a table; what is in one is looked through in well under a millisecond.
const PARTS: usize = 64;

/// A route's limit.
#[derive(Debug)]
pub struct RequestLimit(Kind);

#[derive(Debug)]
enum Kind {
    Route(Throttle),
    Address(Table),
}

#[derive(Debug)]
struct Table {
    rate: Rate,
    begun: Instant,
    /// Nobody outside can guess which part an address is in, and fill one.
    hasher: RandomState,
    parts: Box<[Mutex<Buckets>]>,
    most_keys: usize,
}

impl RequestLimit {
    /// A full one.
    pub fn new(limit: RateLimit) -> Self {
        let rate = Rate::new(limit.requests, limit.per, limit.burst);
        Self(match limit.by {
            RateBy::Route => Kind::Route(Throttle::of(rate)),
            RateBy::Address => Kind::Address(Table::new(rate, MAX_KEYS / PARTS)),
        })
    }

    /// Takes one. Says whether it is counted, which it is not where the table has no room or where the client has no
    /// address, since it came by Unix socket.
    ///
    /// # Errors
    /// The time to wait until there is one.
    pub fn take(&self, address: Option<IpAddr>, now: Instant) -> Result<bool, Duration> {
        match (&self.0, address) {
            (Kind::Route(throttle), _) => throttle.take(now).map(|()| true),
            (Kind::Address(table), Some(address)) => table.take(address, now),
            (Kind::Address(_), None) => Ok(true),
        }
    }
}

impl Table {
    fn new(rate: Rate, most_keys: usize) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Self { rate, begun: Instant::now(), hasher: RandomState::new(), parts, most_keys }
    }

    fn take(&self, address: IpAddr, now: Instant) -> Result<bool, Duration> {
        let (place, at) = (place(address).get(), nanos(self.begun, now));
        let part = self.hasher.hash_one(place) % PARTS as u64;
        // As many parts as there are: the remainder fits.
        let part = &self.parts[usize::try_from(part).unwrap_or_default()];
        // A poisoned lock is taken: each change is one insertion.
        let mut buckets = part.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = self.rate.take(buckets.full_at(place), at)?;
        Ok(buckets.set(place, full_at, at, self.most_keys))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    fn limit(requests: u32, per: u64, burst: u32, by: RateBy) -> RequestLimit {
        let number = |count| NonZero::new(count).unwrap();
        let per = Duration::from_secs(per);
        RequestLimit::new(RateLimit { requests: number(requests), per, burst: number(burst), by })
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn each_address_has_its_burst_and_then_its_rate() {
        let limit = limit(6, 60, 3, RateBy::Address);
        let begun = Instant::now() + Duration::from_secs(1);
        let at = |seconds| begun + Duration::from_secs(seconds);
        for _ in 0..3 {
            assert_eq!(limit.take(ip("10.0.0.1"), at(0)), Ok(true));
        }
        assert_eq!(limit.take(ip("10.0.0.1"), at(0)), Err(Duration::from_secs(10)));
        assert_eq!(limit.take(ip("::ffff:10.0.0.1"), at(4)), Err(Duration::from_secs(6)));
        assert_eq!(limit.take(ip("10.0.0.2"), at(4)), Ok(true));
        assert_eq!(limit.take(ip("10.0.0.1"), at(10)), Ok(true));
        assert!(limit.take(ip("10.0.0.1"), at(10)).is_err());
        assert_eq!(limit.take(None, at(10)), Ok(true));
    }

    #[test]
    fn ipv6_counts_by_its_network() {
        let limit = limit(1, 60, 1, RateBy::Address);
        let now = Instant::now();
        assert_eq!(limit.take(ip("2001:db8::1"), now), Ok(true));
        assert!(limit.take(ip("2001:db8::ffff:1"), now).is_err());
        assert_eq!(limit.take(ip("2001:db8:0:1::1"), now), Ok(true));
    }

    #[test]
    fn a_route_may_count_all_together() {
        let limit = limit(1, 60, 2, RateBy::Route);
        let now = Instant::now();
        assert!(limit.take(ip("10.0.0.1"), now).is_ok() && limit.take(None, now).is_ok());
        assert!(limit.take(ip("10.0.0.2"), now).is_err());
    }

    #[test]
    fn who_finds_no_room_is_let_in_uncounted() {
        let rate = Rate::new(NonZero::<u32>::MIN, Duration::from_secs(60), NonZero::<u32>::MIN);
        let table = Table::new(rate, 1);
        let now = Instant::now();
        let taken: Vec<_> =
            (0..2 * 64).map(|n| table.take(ip(&format!("10.0.0.{n}")).unwrap(), now).unwrap()).collect();
        let held: usize = taken.iter().filter(|counted| **counted).count();
        assert!((1..=PARTS).contains(&held), "{held}");
        assert!(taken[0] && table.take(ip("10.0.0.0").unwrap(), now).is_err());
    }
}
