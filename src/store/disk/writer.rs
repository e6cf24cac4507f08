//! The one who writes to the disk store: whole batches, each synced once.

use std::collections::{BTreeMap, HashMap, VecDeque};

use fjall::{PersistMode, Slice};
use rustix::fs::statvfs;
use smallvec::SmallVec;

use super::engine::{Engine, HEAD, NEXT_ID, RUNNING};
use super::index::Log;
use super::witness::{Newest, Witness};
use super::{Disk, DiskError, SyncMode, entry};
use crate::event::{ChannelName, EventId, Timestamp};
use crate::store::Record;

/// What an event costs on disk beside its frame, in bytes.
pub(super) const RECORD_OVERHEAD: u64 = 64;

/// So many bytes are left free on the disk. The engine needs room to tidy up, and one that has failed to write takes
/// nothing more until it is opened again.
const RESERVE: u64 = 64 << 20;

/// What a batch writes beside events, collapse keys and channels.
const NUMBERS: usize = 2;

/// A channel is cut back to its bounds when it is over them by this share, so that it is not done for every event.
const SLACK: usize = 8;

/// An event that is to be kept.
#[derive(Debug)]
pub struct Kept {
    /// Under these.
    pub channels: SmallVec<[ChannelName; 1]>,
    /// The event.
    pub record: Record,
    /// The idempotency key that goes with it.
    pub key: Option<KeptKey>,
}

/// An idempotency key and what its publisher was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptKey {
    /// The key.
    pub name: Box<str>,
    /// Of the publication, to tell it from others.
    pub digest: u64,
    /// The id that it got.
    pub id: EventId,
    /// How many streams it was for when it was handed in.
    pub streams: usize,
    /// Until when the key is remembered.
    pub until: Timestamp,
}

impl KeptKey {
    fn key(&self) -> Vec<u8> {
        [&self.until.0.to_be_bytes(), self.name.as_bytes()].concat()
    }

    fn value(&self) -> Vec<u8> {
        let mut value = [self.digest.to_be_bytes(), (self.streams as u64).to_be_bytes()].concat();
        value.extend_from_slice(self.id.to_string().as_bytes());
        value
    }

    pub(super) fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let [digest, streams] = entry::numbers(value)?;
        Some(Self {
            name: std::str::from_utf8(key.get(8..)?).ok()?.into(),
            digest,
            id: std::str::from_utf8(value.get(16..)?).ok()?.parse().ok()?,
            streams: usize::try_from(streams).ok()?,
            until: Timestamp(entry::number(key)?),
        })
    }
}

/// The writer. There is one for a store.
#[derive(Debug)]
pub struct DiskWriter {
    pub(super) disk: Disk,
    /// The number of the channel that was named last.
    pub(super) next_id: u64,
    /// Channels that are over their bounds.
    pub(super) over: VecDeque<ChannelName>,
    pub(super) is_synced: bool,
    pub(super) witness: Witness,
    /// Whether the engine has to be opened again.
    pub(super) has_failed: bool,
    /// Whether the engine failed at its own work, for which damage may be the reason.
    pub(super) is_suspect: bool,
    /// Whether a batch that failed may be in the journal.
    pub(super) may_have_kept: bool,
}

/// What a batch comes to, before it is written.
#[derive(Default)]
struct Staged {
    events: BTreeMap<[u8; 16], Slice>,
    collapsed: Vec<[u8; 16]>,
    collapses: HashMap<Vec<u8>, [u64; 2]>,
    logs: HashMap<ChannelName, Log>,
}

impl DiskWriter {
    pub(super) fn new(disk: Disk, next_id: u64, witness: Witness) -> Self {
        Self {
            disk,
            next_id,
            over: VecDeque::new(),
            is_synced: true,
            witness,
            has_failed: false,
            is_suspect: false,
            may_have_kept: false,
        }
    }

    /// Keeps a batch. When this returns it is read by whoever reads, and as safe as the store promises.
    ///
    /// # Errors
    /// Then nothing of it is kept that anybody could read. Unless it was only for want of room, nothing more is taken
    /// before [`Self::recover`].
    pub fn write<'k>(&mut self, batch: impl Iterator<Item = &'k Kept> + Clone) -> Result<(), DiskError> {
        if !self.is_sound() {
            return Err(DiskError::Away);
        }
        let copies = |kept: &Kept| kept.record.frame.len() * kept.channels.len();
        self.check_room(2 * batch.clone().map(copies).sum::<usize>() as u64)?;
        let written = self.write_with_room(batch);
        self.note(written)
    }

    fn write_with_room<'k>(
        &mut self,
        batch: impl Iterator<Item = &'k Kept> + Clone,
    ) -> Result<(), DiskError> {
        let engine = self.disk.engine()?;
        let mut staged = Staged::default();
        for kept in batch.clone() {
            // One copy, however many channels it is for.
            let value = Slice::from(entry::event_value(&kept.record));
            for channel in &kept.channels {
                self.stage(&engine, &mut staged, channel, &kept.record, value.clone())?;
            }
        }
        let head = batch.clone().map(|kept| kept.record.seq).max().unwrap_or_default();
        let sync = self.disk.0.sync;
        let durability = if sync == SyncMode::Always { PersistMode::SyncData } else { PersistMode::Buffer };
        let items = staged.events.len() + staged.collapsed.len() + staged.collapses.len();
        let mut writing = fjall::OwnedWriteBatch::with_capacity(
            engine.database.clone(),
            items + staged.logs.len() + NUMBERS,
        );
        writing = writing.durability(Some(durability));
        for (key, value) in staged.events {
            writing.insert(&engine.events, key, value);
        }
        for key in staged.collapsed {
            writing.remove(&engine.events, key);
        }
        for (key, [seq, cost]) in staged.collapses {
            writing.insert(&engine.collapses, key, [seq.to_be_bytes(), cost.to_be_bytes()].concat());
        }
        for (channel, log) in &staged.logs {
            writing.insert(&engine.channels, log.id.to_be_bytes(), log.value(channel));
        }
        for key in batch.filter_map(|kept| kept.key.as_ref()) {
            writing.insert(&engine.keys, key.key(), key.value());
        }
        writing.insert(&engine.about, HEAD, head.to_be_bytes());
        writing.insert(&engine.about, NEXT_ID, self.next_id.to_be_bytes());
        #[cfg(test)]
        self.disk.0.fault.writing()?;
        self.may_have_kept = true;
        writing.commit()?;
        #[cfg(test)]
        self.disk.0.fault.written()?;
        self.may_have_kept = false;
        self.is_synced = sync == SyncMode::Always;
        self.witness.say(Newest { epoch: self.disk.0.epoch, seq: head, is_closed: false });

        let limits = &self.disk.0.limits;
        let is_over = |number: u64, limit: usize| number > (limit + limit / SLACK) as u64;
        let mut index = self.disk.index();
        for (channel, log) in staged.logs {
            if is_over(log.events, limits.events) || is_over(log.bytes, limits.bytes) {
                self.over.push_back(channel.clone());
            }
            index.put(&channel, log);
        }
        index.head = head;
        Ok(())
    }

    /// Takes note of an error, and gives it back.
    pub(super) fn note<T>(&mut self, result: Result<T, DiskError>) -> Result<T, DiskError> {
        if let Err(error) = &result {
            self.has_failed = true;
            if error.had_failed() {
                // Then nothing of this has been looked at.
                self.may_have_kept = false;
            }
            self.is_suspect |= error.had_failed() || error.is_damage();
        }
        result
    }

    /// Keeps keys of events that are kept for longer than it was said with their events. They are safe from a power cut
    /// with the next batch, or after [`Self::sync`].
    ///
    /// # Errors
    /// If the disk fails; then it is not known which are kept, and they are to be written again. Unless it was only for
    /// want of room, nothing more is taken before [`Self::recover`].
    pub fn remember(&mut self, keys: &[KeptKey]) -> Result<(), DiskError> {
        if !self.is_sound() {
            return Err(DiskError::Away);
        }
        self.check_room(0)?;
        let written = self.write_keys(keys);
        self.note(written)
    }

    fn write_keys(&mut self, keys: &[KeptKey]) -> Result<(), DiskError> {
        let engine = self.disk.engine()?;
        let mut writing = engine.database.batch().durability(Some(PersistMode::Buffer));
        for key in keys {
            writing.insert(&engine.keys, key.key(), key.value());
        }
        #[cfg(test)]
        self.disk.0.fault.writing()?;
        writing.commit()?;
        self.is_synced = false;
        Ok(())
    }

    /// Makes what was written safe from a power cut, if it is not.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync(&mut self) -> Result<(), DiskError> {
        if self.is_synced {
            return Ok(());
        }
        let engine = self.disk.engine()?;
        let synced = engine.database.persist(PersistMode::SyncData).map_err(DiskError::from);
        self.is_synced = synced.is_ok();
        self.note(synced)
    }

    /// Takes note that the process has ended well.
    ///
    /// # Errors
    /// If the disk fails; then the store is as after a crash.
    pub fn close(mut self) -> Result<(), DiskError> {
        self.end_well()
    }

    /// The same, and closes the store, so that another process may open it. Nothing is taken any more before
    /// [`Self::recover`].
    ///
    /// # Errors
    /// If the disk fails, or a reader does not end; then it is to be opened again.
    pub fn lend(&mut self) -> Result<(), DiskError> {
        self.has_failed = true;
        self.end_well()?;
        self.close_engine()
    }

    fn end_well(&mut self) -> Result<(), DiskError> {
        let engine = self.disk.engine()?;
        let mut writing = engine.database.batch().durability(Some(PersistMode::SyncAll));
        writing.remove(&engine.about, RUNNING);
        writing.commit()?;
        let seq = self.disk.index().head;
        self.witness.say(Newest { epoch: self.disk.0.epoch, seq, is_closed: true });
        Ok(())
    }

    fn stage(
        &mut self,
        engine: &Engine,
        staged: &mut Staged,
        channel: &ChannelName,
        record: &Record,
        value: Slice,
    ) -> Result<(), DiskError> {
        let log = staged.logs.entry(channel.clone()).or_insert_with(|| {
            let index = self.disk.index();
            index.get(channel).cloned().unwrap_or_else(|| {
                self.next_id += 1;
                Log::new(self.next_id, index.forgotten)
            })
        });
        let cost = cost(record);
        if let Some(collapse) = &record.collapse {
            let key = entry::collapse_key(log.id, collapse);
            let older = match staged.collapses.get(&key) {
                Some(older) => Some(*older),
                None => {
                    let kept = engine.collapses.get(&key)?;
                    kept.map(|kept| entry::numbers(&kept).ok_or(DiskError::strange("a collapse key")))
                        .transpose()?
                }
            };
            if let Some([seq, cost]) = older.filter(|[seq, _]| *seq > log.lost) {
                let key = entry::event_key(log.id, seq);
                if staged.events.remove(&key).is_none() {
                    staged.collapsed.push(key);
                }
                log.events -= 1;
                log.bytes -= cost;
            }
            staged.collapses.insert(key, [record.seq, cost]);
        }
        if log.events == 0 {
            log.oldest = record.at;
        }
        log.events += 1;
        log.bytes += cost;
        log.last = record.seq;
        staged.events.insert(entry::event_key(log.id, record.seq), value);
        Ok(())
    }

    /// Looks whether there is room for so many bytes, and a reserve.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), DiskError> {
        let path = &self.disk.0.path;
        let folder = |cause: rustix::io::Errno| DiskError::Folder { path: path.clone(), cause: cause.into() };
        let room = statvfs(path).map_err(folder)?;
        if room.f_bavail.saturating_mul(room.f_frsize) < RESERVE + bytes {
            return Err(DiskError::Full { path: path.clone() });
        }
        Ok(())
    }
}

/// What an event counts for in the bounds.
pub(super) fn cost(record: &Record) -> u64 {
    record.frame.len() as u64 + RECORD_OVERHEAD
}
