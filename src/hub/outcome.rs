//! What becomes of a publication that waits for the store.
//!
//! Invariant: whoever waits is told within [`PATIENCE`], whatever becomes of the one who writes.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How long a publisher waits for the store. Longer, and the publisher has given up itself; a disk that syncs slower than
/// this is not one to wait for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Known in the end, and to all who wait.
#[derive(Debug)]
pub(super) struct Outcome<T> {
    told: OnceLock<Result<T, NotKept>>,
    notify: Notify,
    until: Instant,
}

impl<T> Default for Outcome<T> {
    fn default() -> Self {
        Self { told: OnceLock::new(), notify: Notify::new(), until: Instant::now() + PATIENCE }
    }
}

impl<T: Clone> Outcome<T> {
    /// Says it. What is said first holds.
    pub(super) fn tell(&self, outcome: Result<T, NotKept>) {
        if self.told.set(outcome).is_ok() {
            self.notify.notify_waiters();
        }
    }

    /// What was said, if that was good and is known now.
    pub(super) fn now(&self) -> Option<&T> {
        self.told.get()?.as_ref().ok()
    }

    pub(super) async fn wait(&self) -> Result<T, NotKept> {
        loop {
            // Made before the look, so that what is told in between is not missed.
            let told = self.notify.notified();
            if let Some(told) = self.told.get() {
                return told.clone();
            }
            if timeout_at(self.until, told).await.is_err() {
                return self.told.get().cloned().unwrap_or(Err(NotKept::Unknown));
            }
        }
    }
}

/// Why an event is not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotKept {
    /// The store could not keep it, and so it reached nobody.
    Failed,
    /// The store has not said in time. The event may yet be kept and delivered.
    Unknown,
    /// The store is away, and so it reached nobody.
    Away,
    /// The key was used before, for another publication, and so nothing of the batch was published.
    KeyReused {
        /// Which of the batch.
        index: usize,
    },
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "the event could not be kept: the store has failed, or its disk is full",
            Self::Unknown => "the store does not answer: it is not known whether the event will be kept",
            Self::Away => "the event could not be kept: the store is away",
            Self::KeyReused { .. } => "the key was used for another publication",
        })
    }
}

impl std::error::Error for NotKept {}
