//! A lease in Redis: of several nodes with the same source, one has it.
//!
//! Invariant: a node believes that it has the lease for no longer than Redis keeps it for the node, counted from before
//! Redis was asked. So two nodes never both believe it, however long one of them was stopped, if their clocks run
//! equally fast.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Script};

/// Takes the lease if nobody has it, and renews it for who has.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local holder = redis.call('GET', KEYS[1]) \
         if holder and holder ~= ARGV[1] then return 0 end \
         redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) \
         return 1",
    )
});

/// Gives it up, and tells the others on a channel of the same name.
static LEAVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
         redis.call('DEL', KEYS[1]) \
         redis.call('PUBLISH', KEYS[1], 'free') \
         return 1",
    )
});

/// What one node knows of a lease.
#[derive(Debug)]
pub(super) struct Lease {
    /// The key of the lease, and the channel on which it is told to be free.
    pub(super) key: String,
    node: String,
    term: Duration,
    held: Held,
}

/// Tells whether the lease is held; to be shared with what must not wait.
#[derive(Debug, Clone)]
pub(super) struct Held {
    begun: Instant,
    /// In milliseconds since then; 0 is not held.
    until: Arc<AtomicU64>,
}

impl Lease {
    pub(super) fn new(key: String, node: &str, term: Duration) -> Self {
        let held = Held { begun: Instant::now(), until: Arc::default() };
        Self { key, node: node.to_owned(), term, held }
    }

    pub(super) fn held(&self) -> Held {
        self.held.clone()
    }

    /// How often it is asked for, or renewed: twice before it would be lost.
    pub(super) fn every(&self) -> Duration {
        self.term / 3
    }

    /// Takes or renews it, if no other node has it.
    pub(super) async fn ask(&self, redis: &mut MultiplexedConnection) -> RedisResult<()> {
        let asked = Instant::now();
        let term = self.term.as_millis().to_string();
        let is_ours = TAKE.key(&self.key).arg(&self.node).arg(term).invoke_async(redis).await?;
        self.told(is_ours, asked);
        Ok(())
    }

    /// Gives it up.
    pub(super) async fn leave(&self, redis: &mut MultiplexedConnection) -> RedisResult<()> {
        self.told(false, Instant::now());
        LEAVE.key(&self.key).arg(&self.node).invoke_async(redis).await
    }

    fn told(&self, is_ours: bool, asked: Instant) {
        let until = asked.saturating_duration_since(self.held.begun) + self.term;
        let until = if is_ours { u64::try_from(until.as_millis()).unwrap_or(u64::MAX) } else { 0 };
        let before = self.held.until.swap(until, Ordering::Relaxed);
        if (before == 0) != (until == 0) {
            tracing::info!(lease = self.key, is_ours, "which node reads a source has changed");
        }
    }
}

impl Held {
    /// Whether the lease is held at that moment.
    pub(super) fn at(&self, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.begun).as_millis();
        now < u128::from(self.until.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_itself_from_when_it_was_asked_for() {
        let lease = Lease::new("k".to_owned(), "n", Duration::from_secs(3));
        let held = lease.held();
        let at = |millis| lease.held.begun + Duration::from_millis(millis);
        assert!(!held.at(at(0)));
        lease.told(true, at(1000));
        assert!(held.at(at(1000)) && held.at(at(3999)) && !held.at(at(4000)));
        // Renewed while the answer took a second: it counts from the question.
        lease.told(true, at(2000));
        assert!(held.at(at(4999)) && !held.at(at(5000)));
        lease.told(false, at(2500));
        assert!(!held.at(at(2500)));
    }
}
