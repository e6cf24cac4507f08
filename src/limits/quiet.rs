//! What is said to the operator at most once a second, however often it happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::TELL;
use super::rate::nanos;

/// Something that may happen very often.
#[derive(Debug)]
pub struct Quiet {
    begun: Instant,
    /// When it may be said again, in nanoseconds since then.
    again_at: AtomicU64,
    unsaid: AtomicU64,
}

impl Quiet {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self { begun: Instant::now(), again_at: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }

    /// It happened. If it is to be said now: how often it has happened since it was said last.
    pub fn happened(&self, now: Instant) -> Option<u64> {
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        let now = nanos(self.begun, now);
        let again_at = self.again_at.load(Ordering::Relaxed);
        let is_due = now >= again_at
            // Of several threads that see it is due, one says it.
            && self
                .again_at
                .compare_exchange(again_at, now.saturating_add(TELL), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        is_due.then(|| self.unsaid.swap(0, Ordering::Relaxed))
    }
}

impl Default for Quiet {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_once_a_second() {
        let quiet = Quiet::new();
        let at = |millis| quiet.begun + Duration::from_millis(millis);
        assert_eq!(quiet.happened(at(0)), Some(1));
        assert_eq!(quiet.happened(at(1)), None);
        assert_eq!(quiet.happened(at(999)), None);
        assert_eq!(quiet.happened(at(1000)), Some(3));
        assert_eq!(quiet.happened(at(5000)), Some(1));
    }
}
