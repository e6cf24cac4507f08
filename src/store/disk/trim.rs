//! Making room: what is over a bound goes, a bounded number of events at a time.
//!
//! Dropped first is the oldest: within a channel that has too many events or bytes, and over all channels, those of the
//! channel whose oldest event is the oldest. A channel may be over its own bounds by an eighth until it is its turn.

use fjall::PersistMode;

use super::engine::FORGOTTEN;
use super::writer::cost;
use super::{DiskError, DiskWriter, entry};
use crate::event::{ChannelName, Timestamp};

/// So many events of one channel are dropped at once.
const CUT: usize = 128;

/// Why a channel is cut.
#[derive(Debug, Clone, Copy)]
enum Why {
    /// It is over its own bounds.
    Own,
    /// What is older than this goes.
    Age(Timestamp),
    /// All channels together have this many bytes too many.
    Room(u64),
    /// There are too many channels.
    Channels,
}

impl DiskWriter {
    /// Drops what is over a bound, but not many more than `most` events. Says whether there is more to do.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn trim(&mut self, now: Timestamp, most: usize) -> Result<bool, DiskError> {
        let mut done = 0;
        while done < most {
            let Some((channel, why)) = self.next_over(now) else { return Ok(false) };
            let cut = self.cut(&channel, why);
            done += 1 + self.note(cut)?;
        }
        Ok(true)
    }

    /// Drops idempotency keys whose time is over.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn forget_keys(&mut self, now: Timestamp, most: usize) -> Result<(), DiskError> {
        let forgotten = self.drop_keys(now, most);
        self.note(forgotten)
    }

    fn drop_keys(&self, now: Timestamp, most: usize) -> Result<(), DiskError> {
        let engine = self.disk.engine()?;
        let mut writing = engine.database.batch().durability(Some(PersistMode::Buffer));
        for guard in engine.keys.range(..now.0.to_be_bytes()).take(most) {
            writing.remove(&engine.keys, guard.key()?);
        }
        Ok(writing.commit()?)
    }

    fn next_over(&mut self, now: Timestamp) -> Option<(ChannelName, Why)> {
        let limits = &self.disk.0.limits;
        let index = self.disk.index();
        while let Some(channel) = self.over.front() {
            let log = index.get(channel);
            let is_over =
                log.is_some_and(|log| log.events > limits.events as u64 || log.bytes > limits.bytes as u64);
            if is_over {
                return Some((channel.clone(), Why::Own));
            }
            self.over.pop_front();
        }
        let age = u64::try_from(limits.age.as_millis()).unwrap_or(u64::MAX);
        let since = Timestamp(now.0.saturating_sub(age));
        let (channel, log) = index.oldest()?;
        let why = if log.oldest < since {
            Why::Age(since)
        } else if index.bytes > limits.max_bytes as u64 {
            Why::Room(index.bytes - limits.max_bytes as u64)
        } else if index.len() > limits.max_channels {
            Why::Channels
        } else {
            return None;
        };
        Some((channel.clone(), why))
    }

    /// Drops the oldest of a channel. Says how many.
    fn cut(&mut self, channel: &ChannelName, why: Why) -> Result<usize, DiskError> {
        let (engine, limits) = (self.disk.engine()?, &self.disk.0.limits);
        let Some(mut log) = self.disk.index().get(channel).cloned() else { return Ok(0) };
        let mut writing = engine.database.batch().durability(Some(PersistMode::Buffer));
        let (mut dropped, mut room) = (0, 0);
        let mut oldest = None;
        for read in self.disk.read(&engine, log.id, log.lost, u64::MAX) {
            let record = read?;
            let goes = match why {
                Why::Own => log.events > limits.events as u64 || log.bytes > limits.bytes as u64,
                Why::Age(since) => record.at < since,
                Why::Room(over) => room < over,
                Why::Channels => true,
            };
            if !goes || dropped == CUT {
                oldest = Some(record.at);
                break;
            }
            writing.remove(&engine.events, entry::event_key(log.id, record.seq));
            if let Some(collapse) = &record.collapse {
                let key = entry::collapse_key(log.id, collapse);
                let newest = engine.collapses.get(&key)?;
                if newest.and_then(|newest| entry::number(&newest)) == Some(record.seq) {
                    writing.remove(&engine.collapses, key);
                }
            }
            dropped += 1;
            room += cost(&record);
            log.events -= 1;
            log.bytes = log.bytes.saturating_sub(cost(&record));
            log.lost = record.seq;
        }
        let forgotten = {
            // Told before it is so.
            let mut index = self.disk.index();
            index.lose(channel, log.lost);
            if oldest.is_none() {
                index.forgotten = index.forgotten.max(log.lost);
            }
            index.forgotten
        };
        match oldest {
            Some(oldest) => {
                log.oldest = oldest;
                writing.insert(&engine.channels, log.id.to_be_bytes(), log.value(channel));
            }
            None => {
                writing.remove(&engine.channels, log.id.to_be_bytes());
                writing.insert(&engine.about, FORGOTTEN, forgotten.to_be_bytes());
            }
        }
        writing.commit()?;
        let mut index = self.disk.index();
        match oldest {
            Some(_) => index.put(channel, log),
            None => _ = index.remove(channel),
        }
        Ok(dropped)
    }
}
