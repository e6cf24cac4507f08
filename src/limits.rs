//! How many streams there may be at once, and how fast new ones may come: over all workers, and only looked at when a
//! stream opens or ends. And how many connections an address may have, and how often a route may be asked.
//!
//! A request takes of its address's rate before it is known who sends it; all else is asked when nothing else is in the
//! way, so that nobody without a credential uses up what others share.
//!
//! Invariants: what is counted for a stream is counted as a whole or not at all, and is given back exactly once, by
//! dropping its [`Permit`]; every table has a bound. A stream for which a table has no room is let in uncounted (the
//! bound on all streams still holds for it): a full table must not lock out those who did nothing.

mod connections;
mod counts;
mod quiet;
mod rate;
mod requests;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use counts::{Buckets, Counts};
use rate::{Rate, nanos};

use crate::config;
use crate::metrics::Counters;

pub use connections::{AddressLimit, Entry, Place};
pub use counts::Heap;
pub use quiet::Quiet;
pub use rate::Throttle;
pub use requests::RequestLimit;

/// The most keys of each table: a million users or addresses at once.
const MAX_KEYS: usize = 1 << 20;

/// The shortest time between two lines in the log, in nanoseconds.
const TELL: u64 = 1_000_000_000;

/// What holds for all streams. A cheap handle.
#[derive(Debug, Clone)]
pub struct Limits {
    rules: Arc<Rules>,
    counted: Arc<Counted>,
}

/// What may be.
#[derive(Debug)]
struct Rules {
    config: config::Limits,
    address_rate: Option<Rate>,
    throttle: Option<Arc<Throttle>>,
}

/// What is, whatever may be.
#[derive(Debug)]
struct Counted {
    /// Makes keys of users that nobody outside can guess, so that two of them never meet on purpose; by chance, two
    /// of a million do once in forty million runs.
    hasher: RandomState,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    streams: u32,
    users: Counts,
    addresses: Counts,
    buckets: Buckets,
    told_at: Option<u64>,
    untold: u64,
}

/// Who wants a stream.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The user; none on an anonymous route.
    pub user: Option<&'a str>,
    /// The client's address; none if it came by Unix socket.
    pub address: Option<IpAddr>,
    /// The route, if it has a bound of its own.
    pub route: Option<RouteLimit>,
}

/// A route's own bound on the streams of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLimit {
    /// Which route: a number that it has in every configuration, as [`RouteLimit::number`] gives it.
    pub route: u64,
    /// The most streams; none is no limit.
    pub max_per_user: Option<NonZero<u32>>,
}

impl RouteLimit {
    /// The number of a route of that name.
    pub fn number(name: &str) -> u64 {
        // The same in each configuration, and nobody but the operator chooses names.
        std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default().hash_one(name)
    }
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// `streams`.
    Streams,
    /// `streams_per_user` or `max_per_user`.
    User,
    /// `streams_per_address`.
    Address,
    /// `opens_per_second`.
    Rate,
    /// `opens_per_second_per_address`.
    AddressRate,
}

/// A limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Which one.
    pub kind: LimitKind,
    /// How long it takes at least until there is room again, as far as that is known.
    pub wait: Duration,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            LimitKind::Streams => "there are too many streams at the moment",
            LimitKind::User => "this user has too many streams open",
            LimitKind::Address => "too many streams are open from this address",
            LimitKind::Rate => "too many streams are being opened at the moment",
            LimitKind::AddressRate => "too many streams are being opened from this address",
        })
    }
}

impl std::error::Error for Limited {}

/// A stream's share of the limits, given back when it is dropped. None of the tables is touched for a stream that
/// counts nowhere: it has no permit.
#[derive(Debug)]
pub struct Permit {
    counted: Arc<Counted>,
    user: Option<NonZero<u64>>,
    address: Option<NonZero<u64>>,
}

/// What became of a wish for a stream that no limit was in the way of.
#[derive(Debug)]
pub struct Admitted {
    /// To be held while the stream is open. Boxed: most of a stream's life it is only carried.
    pub permit: Option<Box<Permit>>,
    /// Whether a table had no room, so that something is not counted.
    pub uncounted: bool,
}

impl Limits {
    /// Nothing is open yet.
    pub fn new(config: &config::Limits) -> Self {
        let throttle = config.opens_per_second.map(|rate| Arc::new(Throttle::per_second(rate)));
        Self {
            rules: Arc::new(Rules::new(config, throttle)),
            counted: Arc::new(Counted {
                hasher: RandomState::new(),
                begun: Instant::now(),
                state: Mutex::default(),
            }),
        }
    }

    /// Other limits, for the streams that are open now too: they count, be they more than there may be.
    #[must_use]
    pub fn become_those(&self, config: &config::Limits) -> Self {
        let is_same = config.opens_per_second == self.rules.config.opens_per_second;
        let throttle = match config.opens_per_second {
            Some(_) if is_same => self.rules.throttle.clone(),
            rate => rate.map(|rate| Arc::new(Throttle::per_second(rate))),
        };
        Self { rules: Arc::new(Rules::new(config, throttle)), counted: self.counted.clone() }
    }

    /// Asks for a request on a stream's route, before anything is done to find out who sends it. Takes of what its own
    /// address may do and of nothing else: a stranger must not use up what others share. Says whether it is counted,
    /// which it is not where the table of addresses has no room.
    ///
    /// # Errors
    /// The rate of its address is reached.
    pub fn admit_request(&self, address: Option<IpAddr>, now: Instant) -> Result<bool, Limited> {
        let counted = &*self.counted;
        let Some((rate, address)) = self.rules.address_rate.zip(address) else { return Ok(true) };
        let (place, at) = (place(address).get(), nanos(counted.begun, now));
        let buckets = &mut counted.lock().buckets;
        let full_at = rate
            .take(buckets.full_at(place), at)
            .map_err(|wait| Limited { kind: LimitKind::AddressRate, wait })?;
        Ok(buckets.set(place, full_at, at, MAX_KEYS))
    }

    /// Asks for a stream, once its credential is good and [`Limits::admit_request`] has let the request in.
    ///
    /// # Errors
    /// The limit that is reached; then nothing has been taken of the others.
    pub fn admit(&self, asking: Asking<'_>, now: Instant) -> Result<Admitted, Limited> {
        let config = &self.rules.config;
        let per_user = asking.route.map_or(config.streams_per_user, |route| route.max_per_user);
        let user = per_user.and(asking.user).map(|user| {
            let route = asking.route.map(|route| route.route);
            key(self.counted.hasher.hash_one((route, user)))
        });
        let place = asking.address.map(place);
        let address = config.streams_per_address.and(place);
        let is_counted = config.streams.is_some() || user.is_some() || address.is_some();
        if !is_counted {
            self.rules.take_open(now)?;
            return Ok(Admitted { permit: None, uncounted: false });
        }

        let state = &mut *self.counted.lock();
        let is_full = |most: Option<NonZero<u32>>, count: u32| most.is_some_and(|most| count >= most.get());
        let counts = [
            (LimitKind::User, is_full(per_user, user.map_or(0, |key| state.users.of(key.get())))),
            (
                LimitKind::Address,
                is_full(config.streams_per_address, address.map_or(0, |key| state.addresses.of(key.get()))),
            ),
            (LimitKind::Streams, is_full(config.streams, state.streams)),
        ];
        if let Some((kind, _)) = counts.into_iter().find(|(_, is_full)| *is_full) {
            return Err(Limited { kind, wait: Duration::ZERO });
        }
        self.rules.take_open(now)?;

        let mut uncounted = false;
        let mut count = |counts: &mut Counts, key: Option<NonZero<u64>>| {
            let counted = key.filter(|key| counts.add(key.get(), MAX_KEYS));
            uncounted |= key.is_some() && counted.is_none();
            counted
        };
        let (user, address) = (count(&mut state.users, user), count(&mut state.addresses, address));
        state.streams += 1;
        Ok(Admitted {
            permit: Some(Box::new(Permit { counted: self.counted.clone(), user, address })),
            uncounted,
        })
    }

    /// Asks for what is no stream and costs as much as opening one, once its credential is good.
    ///
    /// # Errors
    /// The rate of all streams is reached.
    pub fn admit_ticket(&self, now: Instant) -> Result<(), Limited> {
        self.rules.take_open(now)
    }

    /// How many streams users have, of those for whom there is a limit.
    pub fn users(&self) -> Heap {
        self.counted.lock().users.heap()
    }

    /// Counts that a limit was reached, and writes it into the log, for the operator at most once a second.
    pub fn tell(&self, limited: Limited, counters: &Counters, now: Instant) {
        match limited.kind {
            LimitKind::Streams => &counters.streams_limited,
            LimitKind::User => &counters.streams_limited_user,
            LimitKind::Address => &counters.streams_limited_address,
            LimitKind::Rate => &counters.streams_limited_rate,
            LimitKind::AddressRate => &counters.streams_limited_address_rate,
        }
        .inc();
        tracing::debug!(reason = %limited, "stream refused at a limit");
        let now = nanos(self.counted.begun, now);
        let refused = {
            let mut state = self.counted.lock();
            state.untold += 1;
            if state.told_at.is_some_and(|told_at| now.saturating_sub(told_at) < TELL) {
                return;
            }
            state.told_at = Some(now);
            std::mem::take(&mut state.untold)
        };
        tracing::info!(refused, last = %limited, "streams are refused at a limit");
    }

    /// How many streams are counted, of how many users and addresses.
    #[cfg(test)]
    fn held(&self) -> (u32, usize, usize) {
        let state = self.counted.lock();
        (state.streams, state.users.keys(), state.addresses.keys())
    }
}

impl Rules {
    fn new(config: &config::Limits, throttle: Option<Arc<Throttle>>) -> Self {
        let address_rate = config.opens_per_second_per_address.map(Rate::per_second);
        Self { config: config.clone(), address_rate, throttle }
    }

    /// Takes of what all streams together may do.
    fn take_open(&self, now: Instant) -> Result<(), Limited> {
        let Some(throttle) = &self.throttle else { return Ok(()) };
        throttle.take(now).map_err(|wait| Limited { kind: LimitKind::Rate, wait })
    }
}

impl Counted {
    /// A poisoned lock is taken: every change of the state is whole before anything can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let state = &mut *self.counted.lock();
        state.streams -= 1;
        if let Some(user) = self.user {
            state.users.remove(user.get());
        }
        if let Some(address) = self.address {
            state.addresses.remove(address.get());
        }
    }
}

/// Where an address counts: IPv4 as it is, IPv6 by its network of 64 bits, which one subscriber of a provider has
/// whole. The networks that look like an IPv4 address here are reserved.
fn place(address: IpAddr) -> NonZero<u64> {
    key(match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    })
}

fn key(bits: u64) -> NonZero<u64> {
    NonZero::new(bits).unwrap_or(NonZero::<u64>::MAX)
}

#[cfg(test)]
mod tests;
