//! What is known of every channel without looking at the disk.

use std::collections::{BTreeSet, HashMap};

use super::entry;
use crate::event::{ChannelName, Timestamp};

/// One channel's history, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Log {
    /// Its number in the keys of events. Never given twice.
    pub(super) id: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// Events up to and with this one may be gone.
    pub(super) lost: u64,
    /// The newest event, kept or not.
    pub(super) last: u64,
    /// When the oldest event that is kept was published.
    pub(super) oldest: Timestamp,
}

impl Log {
    /// An empty one, of a channel that may have lost all up to `lost`.
    pub(super) fn new(id: u64, lost: u64) -> Self {
        Self { id, events: 0, bytes: 0, lost, last: 0, oldest: Timestamp(0) }
    }

    /// As it is kept, under its id.
    pub(super) fn value(&self, channel: &ChannelName) -> Vec<u8> {
        let numbers = [self.events, self.bytes, self.lost, self.last, self.oldest.0];
        let mut value: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        value.extend_from_slice(channel.as_str().as_bytes());
        value
    }

    /// Reads it back.
    pub(super) fn read(key: &[u8], value: &[u8]) -> Option<(ChannelName, Self)> {
        let [events, bytes, lost, last, oldest] = entry::numbers(value)?;
        let name = ChannelName::new(std::str::from_utf8(value.get(40..)?).ok()?).ok()?;
        let log = Self { id: entry::number(key)?, events, bytes, lost, last, oldest: Timestamp(oldest) };
        Some((name, log))
    }
}

/// All channels that have history.
#[derive(Debug, Default)]
pub(super) struct Index {
    logs: HashMap<ChannelName, Log>,
    /// The same, by the age of their oldest event.
    by_age: BTreeSet<(Timestamp, ChannelName)>,
    pub(super) bytes: u64,
    /// Counted once for each of their channels.
    pub(super) events: u64,
    /// The newest event that is kept.
    pub(super) head: u64,
    /// The highest `lost` of any channel that has no log any more.
    pub(super) forgotten: u64,
}

impl Index {
    /// Of a history that has lost all up to `head`.
    pub(super) fn after(head: u64) -> Self {
        Self { head, forgotten: head, ..Self::default() }
    }

    pub(super) fn get(&self, channel: &ChannelName) -> Option<&Log> {
        self.logs.get(channel)
    }

    pub(super) fn len(&self) -> usize {
        self.logs.len()
    }

    /// What is known of each.
    pub(super) fn logs(&self) -> impl Iterator<Item = &Log> {
        self.logs.values()
    }

    /// Puts in what is now true of a channel.
    pub(super) fn put(&mut self, channel: &ChannelName, log: Log) {
        self.remove(channel);
        self.bytes += log.bytes;
        self.events += log.events;
        self.by_age.insert((log.oldest, channel.clone()));
        self.logs.insert(channel.clone(), log);
    }

    /// Takes a channel out.
    pub(super) fn remove(&mut self, channel: &ChannelName) -> Option<Log> {
        let log = self.logs.remove(channel)?;
        self.bytes -= log.bytes;
        self.events -= log.events;
        self.by_age.remove(&(log.oldest, channel.clone()));
        Some(log)
    }

    /// Says of a channel, before it is done, that events are about to go.
    pub(super) fn lose(&mut self, channel: &ChannelName, lost: u64) {
        if let Some(log) = self.logs.get_mut(channel) {
            log.lost = log.lost.max(lost);
        }
    }

    /// The channel with the oldest event.
    pub(super) fn oldest(&self) -> Option<(&ChannelName, &Log)> {
        let (_, channel) = self.by_age.first()?;
        self.logs.get_key_value(channel)
    }

    /// Up to where events of a channel may be gone.
    pub(super) fn lost(&self, channel: &ChannelName) -> u64 {
        self.logs.get(channel).map_or(self.forgotten, |log| log.lost)
    }
}
