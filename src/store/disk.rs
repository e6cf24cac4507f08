//! The disk store: history that outlives the process, on an embedded engine with a journal.
//!
//! Writing is [`DiskWriter`]'s, of which there is one; everybody else reads. Invariants: a batch is kept whole or not
//! at all, with the numbers of its channels and its idempotency keys; what is read is what was kept before, and a
//! reader is told that events are gone before they go; no lock is held while the disk is read. A batch that was refused
//! is never read, and what was damaged is never believed: the way back from both is in `recovery` and `open`.

mod aside;
mod engine;
mod entry;
mod error;
mod index;
mod journal;
mod marks;
mod open;
mod recovery;
mod tables;
mod trim;
mod witness;
mod writer;

use std::iter::Peekable;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use smallvec::SmallVec;

use super::page::PageBuilder;
use super::{Limits, Page, Record, StoreTotals};
use crate::event::{ChannelName, Epoch, Timestamp};

pub use aside::Aside;
pub use error::DiskError;
pub use open::{OpenDisk, SyncMode};
pub use writer::{DiskWriter, Kept, KeptKey};

use engine::Engine;
use index::Index;

/// A reader of the store. Cloning it is cheap.
#[derive(Clone)]
pub struct Disk(Arc<Shared>);

struct Shared {
    path: PathBuf,
    limits: Limits,
    sync: SyncMode,
    epoch: Epoch,
    /// None while it is opened again.
    engine: RwLock<Option<Arc<Engine>>>,
    index: Mutex<Index>,
    /// Whether a reader has found what was never written.
    is_damaged: AtomicBool,
    #[cfg(test)]
    fault: fault::Fault,
}

impl Disk {
    /// Reads the first page of what the channels have past `after` and up to `upto`, which must be the number of an
    /// event that was kept.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn page(
        &self,
        channels: &[ChannelName],
        after: u64,
        upto: u64,
        now: Timestamp,
    ) -> Result<Page, DiskError> {
        self.note(self.read_page(channels, after, upto, now))
    }

    /// Remembers what a reader has found out about the store, and gives it back.
    fn note<T>(&self, read: Result<T, DiskError>) -> Result<T, DiskError> {
        if read.as_ref().is_err_and(DiskError::is_damage) {
            self.0.is_damaged.store(true, Ordering::Relaxed);
        }
        read
    }

    fn read_page(
        &self,
        channels: &[ChannelName],
        after: u64,
        upto: u64,
        now: Timestamp,
    ) -> Result<Page, DiskError> {
        // Taken before the index is looked at: the index is never older than the engine.
        let engine = self.engine()?;
        #[cfg(test)]
        self.0.fault.reading()?;
        let logs: SmallVec<[u64; 4]> = {
            let index = self.index();
            if channels.iter().any(|channel| after < index.lost(channel)) {
                return Ok(Page::gone(upto));
            }
            let logs = channels.iter().filter_map(|channel| index.get(channel));
            logs.filter(|log| log.last > after).map(|log| log.id).collect()
        };
        let mut logs: SmallVec<[_; 4]> =
            logs.into_iter().map(|id| self.read(&engine, id, after, upto)).collect();
        let oldest = self.oldest_kept(now);
        let mut page = PageBuilder::new(upto);
        let mut is_first = true;
        while let Some(next) = next_of(&mut logs)? {
            if is_first && next.at < oldest {
                return Ok(Page::gone(upto));
            }
            is_first = false;
            if !page.add(&next, now) {
                break;
            }
            for log in &mut logs {
                log.next_if(|record| record.as_ref().is_ok_and(|record| record.seq == next.seq));
            }
        }
        // What went while it was read had been announced.
        let index = self.index();
        if channels.iter().any(|channel| after < index.lost(channel)) {
            return Ok(Page::gone(upto));
        }
        Ok(page.done())
    }

    /// How many events a channel has, and the newest it ever had.
    pub fn channel(&self, channel: &ChannelName) -> Option<(usize, u64)> {
        let index = self.index();
        index.get(channel).map(|log| (usize::try_from(log.events).unwrap_or(usize::MAX), log.last))
    }

    /// One event of a channel, if it is kept.
    pub(super) fn one(&self, channel: &ChannelName, seq: u64) -> Result<Option<Arc<Record>>, DiskError> {
        let engine = self.engine()?;
        let Some(id) = self.index().get(channel).map(|log| log.id) else { return Ok(None) };
        let key = entry::event_key(id, seq);
        let found = engine.events.get(key).map_err(DiskError::from).and_then(|value| {
            let Some(value) = value else { return Ok(None) };
            let record = entry::event(self.0.epoch, &key, &value).ok_or(DiskError::strange("an event"))?;
            Ok(Some(Arc::new(record)))
        });
        self.note(found)
    }

    /// The number of the event of a channel that is kept under a collapse key.
    pub(super) fn newest_of(&self, channel: &ChannelName, key: &str) -> Result<Option<u64>, DiskError> {
        let engine = self.engine()?;
        let Some(id) = self.index().get(channel).map(|log| log.id) else { return Ok(None) };
        let newest = engine.collapses.get(entry::collapse_key(id, key)).map_err(DiskError::from);
        self.note(newest).map(|newest| newest.and_then(|newest| entry::number(&newest)))
    }

    /// Up to where events of a channel may be gone.
    pub(super) fn lost(&self, channel: &ChannelName) -> u64 {
        self.index().lost(channel)
    }

    /// How much is kept.
    pub fn totals(&self) -> StoreTotals {
        let index = self.index();
        StoreTotals { events: index.events, bytes: index.bytes, channels: index.len() as u64 }
    }

    /// The epoch of what is written now.
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// The newest event that is kept.
    pub fn head(&self) -> u64 {
        self.index().head
    }

    pub(super) fn oldest_kept(&self, now: Timestamp) -> Timestamp {
        let age = u64::try_from(self.0.limits.age.as_millis()).unwrap_or(u64::MAX);
        Timestamp(now.0.saturating_sub(age))
    }

    fn read(
        &self,
        engine: &Engine,
        channel: u64,
        after: u64,
        upto: u64,
    ) -> Peekable<impl Iterator<Item = Read> + use<>> {
        let range = entry::event_key(channel, after.saturating_add(1))..=entry::event_key(channel, upto);
        let epoch = self.0.epoch;
        let read = move |guard: fjall::Guard| {
            let (key, value) = guard.into_inner()?;
            entry::event(epoch, &key, &value).map(Arc::new).ok_or(DiskError::strange("an event"))
        };
        engine.events.range(range).map(read).peekable()
    }

    /// The engine, for as long as it takes to read a page or write a batch.
    fn engine(&self) -> Result<Arc<Engine>, DiskError> {
        self.0.engine.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(DiskError::Away)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Nothing panics under it by design, and each change is whole before the next begins.
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Read = Result<Arc<Record>, DiskError>;

/// The event with the lowest number of those that come next.
fn next_of<I: Iterator<Item = Read>>(logs: &mut [Peekable<I>]) -> Result<Option<Arc<Record>>, DiskError> {
    let mut first: Option<Arc<Record>> = None;
    for log in logs {
        if let Some(Err(error)) = log.next_if(Result::is_err) {
            return Err(error);
        }
        if let Some(Ok(record)) = log.peek()
            && first.as_ref().is_none_or(|first| record.seq < first.seq)
        {
            first = Some(record.clone());
        }
    }
    Ok(first)
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("path", &self.0.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod fault;

#[cfg(test)]
mod tests;
