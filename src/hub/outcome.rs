//! What becomes of a publication that waits for the disk.
//!
//! Invariant: whoever waits is told within [`PATIENCE`], whatever becomes of the one who writes.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::Delivered;

/// How long a publisher waits for the disk. Longer, and the publisher has given up itself; a disk that syncs slower than
/// this is not one to wait for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Known in the end, and to all who wait.
#[derive(Debug)]
pub(super) struct Outcome {
    told: OnceLock<Result<Delivered, NotKept>>,
    notify: Notify,
    until: Instant,
}

impl Default for Outcome {
    fn default() -> Self {
        Self { told: OnceLock::new(), notify: Notify::new(), until: Instant::now() + PATIENCE }
    }
}

impl Outcome {
    /// Says it. What is said first holds.
    pub(super) fn tell(&self, outcome: Result<Delivered, NotKept>) {
        if self.told.set(outcome).is_ok() {
            self.notify.notify_waiters();
        }
    }

    /// How many streams the event was handed to, if that is known now.
    pub(super) fn known(&self) -> Option<usize> {
        self.told.get()?.as_ref().ok()?.known()
    }

    pub(super) async fn wait(&self) -> Result<Delivered, NotKept> {
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
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "the event could not be kept: the store has failed, or its disk is full",
            Self::Unknown => "the store does not answer: it is not known whether the event will be kept",
        })
    }
}

impl std::error::Error for NotKept {}
