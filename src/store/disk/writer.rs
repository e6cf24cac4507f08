//! The one who writes to the disk store: whole batches, each synced once.

use std::collections::{BTreeMap, HashMap, VecDeque};

use fjall::PersistMode;
use rustix::fs::statvfs;
use smallvec::SmallVec;

use super::index::Log;
use super::open::{HEAD, NEXT_ID, RUNNING};
use super::{Disk, DiskError, SyncMode, entry};
use crate::event::{ChannelName, EventId, Timestamp};
use crate::store::Record;

/// What an event costs on disk beside its frame, in bytes.
pub(super) const RECORD_OVERHEAD: u64 = 64;

/// So many bytes are left free on the disk. The engine needs room to tidy up, and one that has failed to write takes
/// nothing more until it is opened again.
const RESERVE: u64 = 64 << 20;

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
    /// The number of the next channel.
    next_id: u64,
    /// Channels that are over their bounds.
    pub(super) over: VecDeque<ChannelName>,
    is_synced: bool,
}

/// What a batch comes to, before it is written.
#[derive(Default)]
struct Staged {
    events: BTreeMap<[u8; 16], Vec<u8>>,
    collapsed: Vec<[u8; 16]>,
    collapses: HashMap<Vec<u8>, [u64; 2]>,
    logs: HashMap<ChannelName, Log>,
}

impl DiskWriter {
    pub(super) fn new(disk: Disk, next_id: u64) -> Self {
        Self { disk, next_id, over: VecDeque::new(), is_synced: true }
    }

    /// Keeps a batch. When this returns it is read by whoever reads, and as safe as the store promises.
    ///
    /// # Errors
    /// Then nothing of it is kept that anybody could read.
    pub fn write<'k>(&mut self, batch: impl Iterator<Item = &'k Kept> + Clone) -> Result<(), DiskError> {
        self.check_room()?;
        let mut staged = Staged::default();
        for kept in batch.clone() {
            let value = entry::event_value(&kept.record);
            for channel in &kept.channels {
                self.stage(&mut staged, channel, &kept.record, value.clone())?;
            }
        }
        let head = batch.clone().map(|kept| kept.record.seq).max().unwrap_or_default();
        let engine = &self.disk.0.engine;
        let mut writing = engine.database.batch().durability(Some(self.durability()));
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
        writing.commit()?;
        self.is_synced = self.disk.0.sync == SyncMode::Always;

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

    /// Keeps keys of events that are kept for longer than it was said with their events.
    ///
    /// # Errors
    /// If the disk fails; then it is as it was.
    pub fn remember(&mut self, keys: &[KeptKey]) -> Result<(), DiskError> {
        let mut writing = self.disk.0.engine.database.batch().durability(Some(self.durability()));
        for key in keys {
            writing.insert(&self.disk.0.engine.keys, key.key(), key.value());
        }
        writing.commit()?;
        self.is_synced = self.disk.0.sync == SyncMode::Always;
        Ok(())
    }

    /// Makes what was written safe from a power cut, if it is not.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync(&mut self) -> Result<(), DiskError> {
        if !self.is_synced {
            self.disk.0.engine.database.persist(PersistMode::SyncData)?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Takes note that the process has ended well.
    ///
    /// # Errors
    /// If the disk fails; then the store is as after a crash.
    pub fn close(self) -> Result<(), DiskError> {
        let engine = &self.disk.0.engine;
        let mut writing = engine.database.batch().durability(Some(PersistMode::SyncAll));
        writing.remove(&engine.about, RUNNING);
        Ok(writing.commit()?)
    }

    fn stage(
        &mut self,
        staged: &mut Staged,
        channel: &ChannelName,
        record: &Record,
        value: Vec<u8>,
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
                    let kept = self.disk.0.engine.collapses.get(&key)?;
                    kept.map(|kept| entry::numbers(&kept).ok_or(DiskError::Damaged)).transpose()?
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

    fn durability(&self) -> PersistMode {
        match self.disk.0.sync {
            SyncMode::Always => PersistMode::SyncData,
            SyncMode::Interval => PersistMode::Buffer,
        }
    }

    fn check_room(&self) -> Result<(), DiskError> {
        let path = &self.disk.0.path;
        let folder = |cause: rustix::io::Errno| DiskError::Folder { path: path.clone(), cause: cause.into() };
        let room = statvfs(path).map_err(folder)?;
        if room.f_bavail.saturating_mul(room.f_frsize) < RESERVE {
            return Err(DiskError::Full { path: path.clone() });
        }
        Ok(())
    }
}

/// What an event counts for in the bounds.
pub(super) fn cost(record: &Record) -> u64 {
    record.frame.len() as u64 + RECORD_OVERHEAD
}
