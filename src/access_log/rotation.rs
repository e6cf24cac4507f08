//! Asking the log to open its file anew, after the file was moved away.
//!
//! Invariant: who asks never waits, and what was asked before a file was opened is not asked of that file.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A cheap handle; any thread may have one. It outlives the log, and a log that takes the other's place.
#[derive(Debug, Clone, Default)]
pub struct Rotation(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    times: AtomicU64,
    /// The way to the log's thread. Weak: the thread ends when all who write are gone.
    writer: Mutex<Weak<SyncSender<Vec<u8>>>>,
}

impl Rotation {
    /// Has the file opened anew, before anything more is written.
    pub fn ask(&self) {
        self.0.times.fetch_add(1, Ordering::Release);
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(writer) = writer {
            // No lines, so that the thread looks. If there is no room, it looks when it takes what is there.
            let _ = writer.try_send(Vec::new());
        }
    }

    /// How often it was asked for.
    pub(super) fn times(&self) -> u64 {
        self.0.times.load(Ordering::Acquire)
    }

    /// Wakes this log from now on.
    pub(super) fn wakes(&self, writer: &Arc<SyncSender<Vec<u8>>>) {
        *self.0.writer.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(writer);
    }
}
