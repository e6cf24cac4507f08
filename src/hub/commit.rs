//! The way of a publication where the store is on disk: it gets its id and waits; a thread of its own writes what waits
//! as one batch; then it is delivered and acknowledged.
//!
//! Invariants: what is delivered or acknowledged has been kept; events are delivered in the order of their ids, since
//! one thread takes them in that order; a batch of a publisher's is written whole or not at all; the hub's lock is not
//! held while the disk works; a publisher learns within [`super::PATIENCE`] what became of its event, or that it is not known,
//! whatever the disk does and even if the thread ends.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::time;

use super::outcome::NotKept;
use super::queue::{Pending, QUEUE_EVENTS, Taken};
use super::unread::Marked;
use super::{Hub, State, Watch};
use crate::event::{ChannelName, Timestamp};
use crate::store::{DiskError, DiskWriter, KeptKey, SyncMode};

/// With `sync = "interval"`, how long what was acknowledged may stay unsafe from a power cut.
const SYNC_EVERY: Duration = Duration::from_millis(100);

/// So many events are dropped for room after a batch, and as many more as twice the batch.
const TRIM: usize = 256;

/// After a failure, how long until the store is tried again, at first; then twice as long each time.
const RETRY: Duration = Duration::from_millis(100);

/// But never longer than this.
const RETRY_MOST: Duration = Duration::from_secs(2);

/// Writes what is published, on a thread of its own.
#[derive(Debug)]
pub struct Committer {
    pub(super) hub: Hub,
    pub(super) writer: DiskWriter,
    pub(super) sync: SyncMode,
    pub(super) failure: Option<Failure>,
    /// Whose marks may not be on the disk as they are here, to be written with the next.
    pub(super) unwritten: HashSet<ChannelName>,
    /// Keys to be remembered for longer. Bounded by what the queue takes, which is nothing while the store is down.
    pub(super) unremembered: Vec<KeptKey>,
}

/// The store did not take writes, and has not shown yet that it does again.
#[derive(Debug)]
pub(super) struct Failure {
    since: Instant,
    /// When it is tried again, or since when it can be written to.
    next: Instant,
    pause: Duration,
    /// Whether publishers are refused.
    is_down: bool,
}

impl Committer {
    /// Runs until the hub is closed and all that waited is written.
    pub fn run(mut self) {
        let _ending = Ending(self.hub.clone());
        let mut unsynced: Option<Instant> = None;
        let mut now = Timestamp::default();
        let mut has_more_to_trim = false;
        loop {
            let patience = [
                has_more_to_trim.then_some(Duration::ZERO),
                unsynced.map(|since| SYNC_EVERY.saturating_sub(since.elapsed())),
                self.failure
                    .as_ref()
                    .filter(|failure| failure.is_down)
                    .map(|failure| failure.next.saturating_duration_since(Instant::now())),
            ];
            let Taken { batch, keys, sweep, is_over } = self.hub.take(patience.into_iter().flatten().min());
            let written = batch.len();
            let marked = self.keep_marks();
            let mut is_unsynced = !marked.is_empty();
            is_unsynced |= self.remember(keys);
            if let Some(last) = batch.last() {
                now = now.max(last.kept.record.at);
                is_unsynced |= self.write(batch, marked) && self.sync == SyncMode::Interval;
            } else {
                self.confirm(marked);
            }
            if is_unsynced {
                unsynced.get_or_insert_with(Instant::now);
            }
            if unsynced.is_some_and(|since| is_over || since.elapsed() >= SYNC_EVERY) {
                unsynced = None;
                let synced = self.writer.sync();
                self.told(synced);
            }
            if let Some(at) = sweep {
                now = at;
                // Nobody has published since it was mended.
                if self.failure.as_ref().is_some_and(|is| !is.is_down && is.next.elapsed() > RETRY_MOST) {
                    self.has_recovered();
                }
            }
            self.try_again(is_over);
            // Room is made also while there is none for more, but not by an engine that has failed.
            if !self.writer.is_sound() {
                has_more_to_trim = false;
            } else {
                if sweep.is_some() {
                    let forgotten = self.writer.forget_keys(now, TRIM.max(QUEUE_EVENTS));
                    self.told(forgotten);
                }
                if sweep.is_some() || written > 0 || has_more_to_trim {
                    let trimmed = self.writer.trim(now, TRIM + 2 * written);
                    has_more_to_trim = self.told(trimmed).unwrap_or(false);
                }
            }
            if is_over {
                break;
            }
            if self.lend_if_wanted() {
                return;
            }
        }
        if let Err(error) = self.writer.close() {
            tracing::error!(%error, "the store could not be closed");
        }
    }

    /// Writes a batch, then delivers it, and before it what marks were written. Says whether it was written.
    fn write(&mut self, batch: Vec<Pending>, marked: Marked) -> bool {
        if self.is_down() {
            self.doubt(marked);
            self.hub.give_up(batch, NotKept::Failed);
            return false;
        }
        let mut written = self.write_once(&batch);
        if written.as_ref().is_err_and(DiskError::had_failed) && self.recover().is_ok() {
            // The engine had failed before, at its own work, and had not looked at this.
            written = self.write_once(&batch);
        }
        let is_written = self.told(written).is_some();
        if is_written {
            self.hub.show_marked(marked);
            self.hub.deliver(batch);
            self.has_recovered();
        } else {
            self.doubt(marked);
            // Told only when it is out of the journal, or nobody could say that it never was.
            let why = if self.writer.may_have_kept() { NotKept::Unknown } else { NotKept::Failed };
            self.hub.give_up(batch, why);
        }
        is_written
    }

    /// Keeps keys that are remembered for longer, and those before them that could not be kept. Says whether it did.
    fn remember(&mut self, mut keys: Vec<KeptKey>) -> bool {
        self.unremembered.append(&mut keys);
        if self.unremembered.is_empty() || self.is_down() {
            return false;
        }
        let remembered = self.writer.remember(&self.unremembered);
        let is_kept = self.told(remembered).is_some();
        if is_kept {
            self.unremembered.clear();
        }
        is_kept
    }

    fn write_once(&mut self, batch: &[Pending]) -> Result<(), DiskError> {
        self.writer.write(batch.iter().map(|pending| &pending.kept))
    }

    /// Whether the store does not take writes, and it is not time to try.
    pub(super) fn is_down(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.is_down)
    }

    /// Tells the operator what went wrong, once, and refuses publications until it is mended.
    pub(super) fn told<T>(&mut self, result: Result<T, DiskError>) -> Option<T> {
        let error = match result {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        let now = Instant::now();
        let failure = match self.failure.take() {
            None => {
                tracing::error!(%error, "the store does not take writes: publishers get 503 until it does");
                Failure { since: now, next: now, pause: RETRY, is_down: true }
            }
            // It was opened again and fails again: that is not tried for every publication.
            Some(failure) => Failure { next: now + failure.pause, is_down: true, ..failure }.slower(),
        };
        self.failure = Some(failure);
        self.hub.lock().queue.is_failing = true;
        if !self.writer.is_sound()
            && let Err(error) = self.recover()
        {
            // At least the batch that failed is to be out of the journal before its publishers are told.
            tracing::debug!(%error, "the store cannot be opened again yet");
        }
        self.try_again(false);
        None
    }

    /// After a failure, looks whether the store can be written to again, if it is time for that.
    fn try_again(&mut self, is_over: bool) {
        let Some(mut failure) = self.failure.take() else {
            // A reader may have found what is wrong.
            if !self.writer.is_sound() {
                let recovered = self.recover();
                self.told(recovered);
            }
            return;
        };
        if failure.is_down && (is_over || failure.next <= Instant::now()) {
            match self.recover() {
                Ok(()) => {
                    (failure.is_down, failure.next) = (false, Instant::now());
                    self.hub.lock().queue.is_failing = false;
                }
                Err(_) => {
                    failure.next = Instant::now() + failure.pause;
                    failure = failure.slower();
                }
            }
        }
        self.failure = Some(failure);
    }

    /// Tells the operator that a failure is over.
    fn has_recovered(&mut self) {
        if let Some(failure) = self.failure.take() {
            let seconds = failure.since.elapsed().as_secs_f32();
            tracing::warn!(seconds, "the store takes writes again");
        }
    }

    pub(super) fn recover(&mut self) -> Result<(), DiskError> {
        if let Some(aside) = self.writer.recover()? {
            let folder = aside.folder.display();
            tracing::error!(
                %folder, why = aside.why,
                "history was damaged and has been set aside; it begins anew, and clients are told of the gap"
            );
        }
        Ok(())
    }
}

impl Failure {
    fn slower(self) -> Self {
        Self { pause: RETRY_MOST.min(2 * self.pause), ..self }
    }
}

/// Whatever ends the committer, nobody waits for it any more.
struct Ending(Hub);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.stop_keeping();
    }
}

impl Hub {
    /// Takes no more publications, and lets the committer end, or the link to Redis.
    pub fn close(&self) {
        let mut state = self.lock();
        state.queue.is_closed = true;
        if let Some(node) = &mut state.node {
            node.close();
        }
        drop(state);
        self.0.more.notify_one();
    }

    /// Whether what is published now can be expected to be kept.
    pub fn is_well(&self) -> bool {
        let state = self.lock();
        state.queue.is_well(time::Instant::now()) && state.node.as_ref().is_none_or(|node| node.is_attached)
    }

    /// Waits for something to write, but no longer than `patience`.
    fn take(&self, patience: Option<Duration>) -> Taken {
        let mut state = self.lock();
        state.queue.is_written();
        let has_nothing = |state: &mut State| state.queue.is_idle() && !state.marks.has_changed();
        state = match patience {
            None => self.0.more.wait_while(state, has_nothing).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.0.more.wait_timeout_while(state, patience, has_nothing);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.queue.take()
    }

    /// Takes nothing more, and gives up what waits.
    pub(super) fn stop_keeping(&self) {
        let (waiting, wanted, wake) = {
            let mut state = self.lock();
            state.queue.is_closed = true;
            state.queue.is_failing = true;
            let (waiting, wanted) = state.queue.clear();
            state.settled = state.given;
            (waiting, wanted, self.kick_due(&mut state))
        };
        // Whoever wishes to mark something learns from this that it is not.
        drop(wanted);
        self.wake(&wake);
        self.give_up(waiting, NotKept::Failed);
    }

    fn deliver(&self, batch: Vec<Pending>) {
        let mut wake: SmallVec<[usize; 8]> = SmallVec::new();
        {
            let mut state = self.lock();
            for pending in &batch {
                let record = &pending.kept.record;
                state.head = record.seq;
                state.settled = record.seq;
                let channels = &pending.kept.channels;
                state.recent.note(record, channels);
                let delivered = self.hand_out(
                    &state.interest,
                    channels,
                    (record.seq, pending.since),
                    &record.frame,
                    None,
                    &mut wake,
                );
                pending.outcome.tell(Ok(delivered));
                wake.extend(self.kick_due(&mut state));
            }
            state.queue.is_written();
        }
        self.wake(&wake);
    }

    /// What could not be written never was: the next attempt with the same key is a new one.
    fn give_up(&self, batch: Vec<Pending>, why: NotKept) {
        let mut state: MutexGuard<'_, State> = self.lock();
        for key in batch.iter().filter_map(|pending| pending.kept.key.as_ref()) {
            state.keys.take_back(&key.name, key.id);
        }
        if let Some(last) = batch.last() {
            state.settled = state.settled.max(last.kept.record.seq);
        }
        state.queue.is_written();
        let wake = self.kick_due(&mut state);
        drop(state);
        self.wake(&wake);
        for pending in batch {
            pending.outcome.tell(Err(why));
        }
    }

    /// Wakes workers. To be called when the lock is released, since it may be a system call.
    pub(super) fn wake(&self, workers: &[usize]) {
        for worker in workers {
            self.0.inboxes[*worker].wake();
        }
        self.tell_watch(Watch::wake);
    }
}
