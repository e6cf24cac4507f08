//! What all workers know of one server: how much it has to do, whether it is well, and for how long it is left alone.
//!
//! Invariant: of an upstream with one server and no limit nothing is written here while requests are served. The lock
//! is taken only where a server of several has failed, and until it has been seen to be well again.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::{self, Balance};

/// After so many failures in a row a server that can be connected to is left alone. One that cannot be is at once.
const FAULTS: u32 = 3;
/// For how long a server is left alone at first; each time that it has not come back meanwhile, twice as long.
const FIRST_REST: Duration = Duration::from_secs(1);
/// For how long at most.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// How long the one request that tries it again may take before another one may.
const TRIAL: Duration = Duration::from_secs(10);
/// The most requests of one upstream that wait, for their turn or for an app that is being restarted.
const MAX_WAITING: usize = 1024;

/// What is known of the servers of all upstreams, in the order of the configuration.
#[derive(Debug)]
pub struct Standings(pub(super) Vec<Arc<Shared>>);

/// What is known of the servers of one upstream.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) servers: Vec<Arc<Standing>>,
    waiting: AtomicUsize,
}

impl Standings {
    /// All servers are taken to be well.
    pub fn new(upstreams: &[config::Upstream]) -> Arc<Self> {
        Arc::new(Self(upstreams.iter().map(|upstream| Arc::new(Shared::new(upstream))).collect()))
    }

    /// Those of another configuration. What is known of servers that it has too goes on, with the new limits: requests
    /// that are under way count, and none is cut off for a limit that is lower than they are many.
    pub fn become_those(&self, before: &[config::Upstream], now: &[config::Upstream]) -> Arc<Self> {
        let shared = now.iter().map(|upstream| {
            let known = before.iter().zip(&self.0).find(|(known, _)| known.name == upstream.name);
            match known {
                Some((known, shared)) if known == upstream => shared.clone(),
                Some((known, shared)) => Arc::new(Shared::after(known, shared, upstream)),
                None => Arc::new(Shared::new(upstream)),
            }
        });
        Arc::new(Self(shared.collect()))
    }
}

impl Standings {
    /// Whether requests are sent to each server now, by upstream.
    pub fn well(&self) -> impl Iterator<Item = Vec<bool>> {
        self.0.iter().map(|shared| shared.servers.iter().map(|server| server.is_well()).collect())
    }
}

impl Shared {
    pub(super) fn new(upstream: &config::Upstream) -> Self {
        let standing = |_| Arc::new(Standing::new(upstream));
        Self { servers: upstream.servers.iter().map(standing).collect(), waiting: AtomicUsize::new(0) }
    }

    /// That of an upstream which has changed.
    fn after(before: &config::Upstream, shared: &Self, now: &config::Upstream) -> Self {
        let standing = |origin| {
            let place = before.servers.iter().position(|known| known == origin);
            let known = place.and_then(|place| shared.servers.get(place)).filter(|known| known.suits(now));
            match known {
                Some(known) => {
                    known.set_limit(before.max_connections, now.max_connections);
                    if now.health.is_none() {
                        known.set_down(false);
                    }
                    known.clone()
                }
                None => Arc::new(Standing::new(now)),
            }
        };
        Self { servers: now.servers.iter().map(standing).collect(), waiting: AtomicUsize::new(0) }
    }

    /// A place among those that wait, if there is one left.
    pub(super) fn wait(self: &Arc<Self>) -> Option<Waiting> {
        let waiting = Waiting(self.clone());
        (self.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(waiting)
    }
}

/// A place among those that wait. Given up when it is dropped.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Shared>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of one server.
#[derive(Debug)]
pub(super) struct Standing {
    /// As many permits as it may have requests, if there is a limit. Fair: who asks first is served first, whichever
    /// worker asks.
    slots: Option<Arc<Semaphore>>,
    /// So many permits are not given back, since the limit has become lower while they were out.
    owed: AtomicUsize,
    /// Whether its requests are counted.
    is_counted: bool,
    requests: AtomicUsize,
    /// Whether it failed its health checks.
    is_down: AtomicBool,
    /// Until when it is left alone, in milliseconds since `begin`; 0 if it is not.
    rests_until: AtomicU64,
    /// Whether `trouble` has anything to say.
    is_troubled: AtomicBool,
    trouble: Mutex<Trouble>,
    begin: Instant,
}

#[derive(Debug, Default)]
struct Trouble {
    /// Failures in a row.
    faults: u32,
    /// Rests in a row.
    rests: u32,
    /// Whether a request is trying it again.
    is_tried: bool,
}

impl Standing {
    fn new(upstream: &config::Upstream) -> Self {
        let limit = upstream.max_connections;
        let slots = (limit > 0).then(|| Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))));
        Self {
            is_counted: counts(upstream),
            slots,
            owed: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            rests_until: AtomicU64::new(0),
            is_troubled: AtomicBool::new(false),
            trouble: Mutex::default(),
            begin: Instant::now(),
        }
    }

    /// Whether it counts what another configuration of its upstream wants counted.
    fn suits(&self, upstream: &config::Upstream) -> bool {
        self.slots.is_some() == (upstream.max_connections > 0) && self.is_counted == counts(upstream)
    }

    /// Changes the limit, where there is one before and after.
    fn set_limit(&self, before: usize, now: usize) {
        let Some(slots) = &self.slots else { return };
        let [before, now] = [before, now].map(|limit| limit.min(Semaphore::MAX_PERMITS));
        if let Some(more) = now.checked_sub(before) {
            // Those that are owed are paid with the new ones.
            let paid = self.pay(more);
            slots.add_permits(more - paid);
        } else {
            let fewer = before - now;
            let found = slots.forget_permits(fewer);
            self.owed.fetch_add(fewer - found, Ordering::Relaxed);
        }
    }

    /// Takes up to so many off what is owed. Says how many.
    fn pay(&self, most: usize) -> usize {
        let pay = |owed: usize| Some(owed - owed.min(most));
        let owed = self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        owed.unwrap_or_default().min(most)
    }

    /// Whether its requests are counted: there is a limit, or the one with the fewest is sought.
    pub(super) fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// How many requests it has, if they are counted.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// A turn at the server, if it is to be had now.
    pub(super) fn lease(self: &Arc<Self>) -> Option<Lease> {
        let slot = match &self.slots {
            Some(slots) => Some(slots.clone().try_acquire_owned().ok()?),
            None => None,
        };
        Some(self.leased(slot))
    }

    /// Waits for a turn at the server.
    pub(super) async fn wait(self: Arc<Self>) -> Lease {
        let slot = match &self.slots {
            // It is never closed.
            Some(slots) => slots.clone().acquire_owned().await.ok(),
            None => None,
        };
        self.leased(slot)
    }

    fn leased(self: &Arc<Self>, slot: Option<OwnedSemaphorePermit>) -> Lease {
        if self.is_counted {
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
        Lease { slot, standing: self.is_counted.then(|| self.clone()) }
    }

    /// Whether it is neither down nor left alone; of one whose rest is over, whether nobody tries it yet.
    pub(super) fn is_well(&self) -> bool {
        !self.is_down.load(Ordering::Relaxed) && {
            let until = self.rests_until.load(Ordering::Relaxed);
            until == 0 || self.now() >= until
        }
    }

    /// Whether a request may be sent there. Of a server whose rest is over, the first that asks is the one that tries it.
    pub(super) fn admits(&self) -> bool {
        if !self.is_well() {
            return false;
        }
        if self.rests_until.load(Ordering::Relaxed) == 0 {
            return true;
        }
        let mut trouble = self.trouble();
        // Somebody may have been faster.
        if !self.is_well() {
            return false;
        }
        trouble.is_tried = true;
        self.rest(TRIAL);
        true
    }

    /// It has answered. Says whether that is news.
    pub(super) fn answered(&self) -> bool {
        if !self.is_troubled.load(Ordering::Relaxed) {
            return false;
        }
        let mut trouble = self.trouble();
        let was_resting = std::mem::take(&mut *trouble).rests > 0;
        self.rests_until.store(0, Ordering::Relaxed);
        self.is_troubled.store(false, Ordering::Relaxed);
        was_resting
    }

    /// It has failed; `is_absent` says that it could not even be connected to. Says for how long it is left alone, if that
    /// begins now.
    pub(super) fn failed(&self, is_absent: bool) -> Option<Duration> {
        let mut trouble = self.trouble();
        self.is_troubled.store(true, Ordering::Relaxed);
        let is_trial = std::mem::take(&mut trouble.is_tried);
        if !is_trial && self.now() < self.rests_until.load(Ordering::Relaxed) {
            // Of a request that was sent before.
            return None;
        }
        trouble.faults += 1;
        if !is_trial && !is_absent && trouble.faults < FAULTS {
            return None;
        }
        trouble.faults = 0;
        trouble.rests = trouble.rests.saturating_add(1);
        let longer = FIRST_REST.saturating_mul(1 << (trouble.rests - 1).min(16)).min(LONGEST_REST);
        // Not all at once: several servers may have failed in the same moment, and several Sidestreams seen it.
        let rest = longer.mul_f64(0.8 + 0.4 * fastrand::f64());
        self.rest(rest);
        Some(rest)
    }

    /// Whether health checks have found it ill.
    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    /// What a health check found.
    pub(super) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    fn rest(&self, time: Duration) {
        let until = self.now() + u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
        self.rests_until.store(until, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        // Never 0, which stands for no rest.
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX / 2) + 1
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        // Nothing in it is ever half done.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A turn at a server, from before its connection until the answer has ended or the tunnel is closed.
#[derive(Debug, Default)]
pub(super) struct Lease {
    slot: Option<OwnedSemaphorePermit>,
    standing: Option<Arc<Standing>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(standing) = &self.standing {
            standing.requests.fetch_sub(1, Ordering::Relaxed);
            if self.slot.is_some() && standing.owed.load(Ordering::Relaxed) > 0 && standing.pay(1) > 0 {
                self.slot.take().into_iter().for_each(OwnedSemaphorePermit::forget);
            }
        }
        // Whoever waits finds the count right.
        self.slot = None;
    }
}

/// Whether the requests of an upstream's servers are counted.
fn counts(upstream: &config::Upstream) -> bool {
    let by_count = upstream.servers.len() > 1 && upstream.balance == Balance::LeastConnections;
    by_count || upstream.max_connections > 0
}

#[cfg(test)]
mod tests;
