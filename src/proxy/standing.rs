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
        let by_count = upstream.servers.len() > 1 && upstream.balance == Balance::LeastConnections;
        Self {
            is_counted: by_count || slots.is_some(),
            slots,
            requests: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            rests_until: AtomicU64::new(0),
            is_troubled: AtomicBool::new(false),
            trouble: Mutex::default(),
            begin: Instant::now(),
        }
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
        }
        // Whoever waits finds the count right.
        self.slot = None;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::config::Origin;

    fn shared(servers: usize, set: impl FnOnce(&mut config::Upstream)) -> Arc<Shared> {
        let origins = (0..servers).map(|n| Origin::Unix(format!("/{n}").into())).collect();
        let mut upstream = config::Upstream::new("app", origins);
        set(&mut upstream);
        Arc::new(Shared::new(&upstream))
    }

    #[tokio::test(start_paused = true)]
    async fn each_rest_is_longer_than_the_one_before_up_to_a_bound() {
        let shared = shared(2, |_| {});
        let server = &shared.servers[0];
        let mut rests = Vec::new();
        for _ in 0..9 {
            let rest = server.failed(true).unwrap();
            assert!(!server.admits());
            advance(rest + Duration::from_millis(2)).await;
            // One tries it, and nobody else meanwhile.
            assert!(server.admits() && !server.admits());
            rests.push(rest.as_secs_f64());
        }
        for (rest, expected) in rests.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]) {
            assert!((0.79..1.21).contains(&(rest / expected)), "{rests:?}");
        }
        assert!(server.answered() && server.admits() && server.admits() && !server.answered());
        assert!(server.failed(true).unwrap() < Duration::from_secs(2), "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_is_never_decided_is_made_again() {
        let shared = shared(2, |_| {});
        let server = &shared.servers[0];
        advance(server.failed(true).unwrap() + Duration::from_millis(2)).await;
        assert!(server.admits() && !server.admits());
        advance(TRIAL + Duration::from_millis(2)).await;
        assert!(server.admits());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_count_in_a_row_and_late_ones_not_twice() {
        let shared = shared(2, |_| {});
        let server = &shared.servers[0];
        for _ in 0..3 {
            assert!(server.failed(false).is_none() && server.failed(false).is_none());
            assert!(!server.answered(), "it had never rested");
        }
        assert!(server.failed(false).is_none() && server.failed(false).is_none());
        let rest = server.failed(false).unwrap();
        for _ in 0..10 {
            assert!(server.failed(true).is_none(), "of requests that were on their way");
        }
        advance(rest + Duration::from_millis(2)).await;
        assert!(server.is_well());
    }

    #[tokio::test]
    async fn turns_are_counted_only_where_that_is_of_use() {
        let plain = shared(1, |_| {});
        assert!(!plain.servers[0].is_counted());
        let by_turns = shared(2, |_| {});
        assert!(!by_turns.servers[0].is_counted());
        let fewest = shared(2, |upstream| upstream.balance = Balance::LeastConnections);
        let leases = [fewest.servers[0].lease().unwrap(), fewest.servers[0].lease().unwrap()];
        assert_eq!(fewest.servers[0].requests(), 2);
        drop(leases);
        assert_eq!(fewest.servers[0].requests(), 0);
        let limited = shared(1, |upstream| upstream.max_connections = 1);
        let lease = limited.servers[0].lease().unwrap();
        assert!(limited.servers[0].lease().is_none());
        drop(lease);
        assert!(limited.servers[0].lease().is_some());
    }

    #[test]
    fn no_more_wait_than_there_are_places() {
        let shared = shared(1, |_| {});
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| shared.wait().unwrap()).collect();
        assert!(shared.wait().is_none() && shared.wait().is_none());
        waiting.pop();
        assert!(shared.wait().is_some());
    }
}
