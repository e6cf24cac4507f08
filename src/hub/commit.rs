//! The way of a publication where the store is on disk: it gets its id and waits; a thread of its own writes what waits
//! as one batch; then it is delivered and acknowledged.
//!
//! Invariants: what is delivered or acknowledged has been kept; events are delivered in the order of their ids, since
//! one thread takes them in that order; a batch of a publisher's is written whole or not at all; the hub's lock is not
//! held while the disk works.

use std::fmt;
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::sync::Notify;

use super::{Delivered, Hub, State};
use crate::event::Timestamp;
use crate::store::{DiskError, DiskWriter, Kept, KeptKey, SyncMode};

/// How many events may wait to be written; then publications are refused.
pub(super) const QUEUE_EVENTS: usize = 65_536;

/// How many bytes of events may wait to be written.
pub(super) const QUEUE_BYTES: usize = 64 << 20;

/// So many events are written at once, and as many more as the last publisher's batch has. More would only make them
/// all wait longer.
const BATCH: usize = 1024;

/// With `sync = "interval"`, how long what was acknowledged may stay unsafe from a power cut.
const SYNC_EVERY: Duration = Duration::from_millis(100);

/// So many events are dropped for room after a batch, and as many more as twice the batch.
const TRIM: usize = 256;

/// Events that have their id and are not written yet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) waiting: Vec<Pending>,
    pub(super) bytes: usize,
    /// Keys of events that are kept, to be remembered for longer than it says there.
    pub(super) keys: Vec<KeptKey>,
    /// When history was to be looked through for what is too old.
    pub(super) sweep: Option<Timestamp>,
    /// Whether nothing more is taken.
    pub(super) is_closed: bool,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) kept: Kept,
    /// Whether a publisher's batch ends here.
    pub(super) is_last: bool,
    pub(super) outcome: Arc<Outcome>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Had it been kept, this would have been said.
        self.outcome.tell(Err(NotKept));
    }
}

/// What becomes of a publication.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    told: OnceLock<Result<Delivered, NotKept>>,
    notify: Notify,
}

impl Outcome {
    fn tell(&self, outcome: Result<Delivered, NotKept>) {
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
            told.await;
        }
    }
}

/// The store could not keep the event, and so it reached nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotKept;

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event could not be kept: the store has failed, or its disk is full")
    }
}

impl std::error::Error for NotKept {}

/// Writes what is published, on a thread of its own.
#[derive(Debug)]
pub struct Committer {
    pub(super) hub: Hub,
    pub(super) writer: DiskWriter,
    pub(super) sync: SyncMode,
}

impl Committer {
    /// Runs until the hub is closed and all that waited is written.
    pub fn run(mut self) {
        let mut unsynced: Option<Instant> = None;
        let mut now = Timestamp::default();
        let mut has_more_to_trim = false;
        loop {
            let patience = match unsynced {
                _ if has_more_to_trim => Some(Duration::ZERO),
                Some(since) => Some(SYNC_EVERY.saturating_sub(since.elapsed())),
                None => None,
            };
            let Taken { batch, keys, sweep, is_over } = self.hub.take(patience);
            if !keys.is_empty() {
                told(self.writer.remember(&keys));
            }
            let written = batch.len();
            if let Some(last) = batch.last() {
                now = now.max(last.kept.record.at);
                if self.write(batch) && self.sync == SyncMode::Interval {
                    unsynced.get_or_insert_with(Instant::now);
                }
            }
            if unsynced.is_some_and(|since| is_over || since.elapsed() >= SYNC_EVERY) {
                unsynced = None;
                told(self.writer.sync());
            }
            if let Some(at) = sweep {
                now = at;
                told(self.writer.forget_keys(at, TRIM.max(QUEUE_EVENTS)));
            }
            if sweep.is_some() || written > 0 || has_more_to_trim {
                has_more_to_trim = told(self.writer.trim(now, TRIM + 2 * written)).unwrap_or(false);
            }
            if is_over {
                break;
            }
        }
        told(self.writer.close());
    }

    /// Writes a batch, then delivers it. Says whether it was written.
    fn write(&mut self, batch: Vec<Pending>) -> bool {
        let written = self.writer.write(batch.iter().map(|pending| &pending.kept));
        let is_written = told(written).is_some();
        if is_written {
            self.hub.deliver(batch);
        } else {
            self.hub.give_up(batch);
        }
        is_written
    }
}

/// Tells the operator what went wrong.
fn told<T>(result: Result<T, DiskError>) -> Option<T> {
    result.inspect_err(|error| tracing::error!(%error, "history cannot be written")).ok()
}

/// What the writer is to do next.
struct Taken {
    batch: Vec<Pending>,
    keys: Vec<KeptKey>,
    sweep: Option<Timestamp>,
    is_over: bool,
}

impl Hub {
    /// Takes no more publications, and lets the committer end.
    pub fn close(&self) {
        self.lock().queue.is_closed = true;
        self.0.more.notify_one();
    }

    /// Waits for something to write, but no longer than `patience`.
    fn take(&self, patience: Option<Duration>) -> Taken {
        let mut state = self.lock();
        let has_nothing = |state: &mut State| {
            !state.queue.has_work() && state.queue.sweep.is_none() && !state.queue.is_closed
        };
        state = match patience {
            None => self.0.more.wait_while(state, has_nothing).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.0.more.wait_timeout_while(state, patience, has_nothing);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.queue.take()
    }

    fn deliver(&self, batch: Vec<Pending>) {
        let mut wake: SmallVec<[usize; 8]> = SmallVec::new();
        {
            let mut state = self.lock();
            for pending in &batch {
                let record = &pending.kept.record;
                state.head = record.seq;
                let channels = &pending.kept.channels;
                let delivered = self.hand_out(&state, channels, record.seq, &record.frame, &mut wake);
                pending.outcome.tell(Ok(delivered));
            }
        }
        for worker in wake {
            self.0.inboxes[worker].wake();
        }
    }

    /// What could not be written never was: the next attempt with the same key is a new one.
    fn give_up(&self, batch: Vec<Pending>) {
        let mut state: MutexGuard<'_, State> = self.lock();
        for key in batch.iter().filter_map(|pending| pending.kept.key.as_ref()) {
            state.keys.take_back(&key.name, key.id);
        }
        drop(state);
        drop(batch);
    }
}

impl Queue {
    fn take(&mut self) -> Taken {
        let rest = self.waiting.get(BATCH..).unwrap_or_default();
        let count = match self.waiting.get(..BATCH) {
            Some(batch) if !batch.last().is_some_and(|last| last.is_last) => {
                BATCH + rest.iter().position(|pending| pending.is_last).map_or(rest.len(), |end| end + 1)
            }
            Some(_) => BATCH,
            None => self.waiting.len(),
        };
        let rest = self.waiting.split_off(count);
        let batch = std::mem::replace(&mut self.waiting, rest);
        self.bytes -= batch.iter().map(Pending::len).sum::<usize>();
        let is_over = self.is_closed && self.waiting.is_empty();
        Taken { batch, keys: std::mem::take(&mut self.keys), sweep: self.sweep.take(), is_over }
    }

    /// Whether there is something to write.
    pub(super) fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.keys.is_empty()
    }

    pub(super) fn push(&mut self, pending: Pending) {
        self.bytes += pending.len();
        self.waiting.push(pending);
    }
}

impl Pending {
    fn len(&self) -> usize {
        self.kept.record.frame.len()
    }
}
