//! The memory store: a bounded log per channel, gone with the process.
//!
//! Dropped first is always the oldest: within a channel when it has too many events or bytes, over all channels when
//! the store has too many bytes or channels, and whatever is too old. Every drop raises the mark of what its channel
//! has lost, so no gap is silent.

use std::collections::VecDeque;
use std::sync::Arc;

use super::log::{Log, cost};
use super::logs::Logs;
use super::{Limits, Marks, Record, StoreTotals};
use crate::event::{ChannelName, Timestamp};

/// The order of records is tidied when it holds this many more entries than twice the live ones.
const STALE_ENTRIES: usize = 4096;

/// The logs of all channels.
#[derive(Debug)]
pub struct Memory {
    logs: Logs,
    /// Every record of every channel, oldest first. Entries whose record is gone are skipped and tidied away.
    order: VecDeque<(u64, ChannelName)>,
    records: usize,
    bytes: usize,
}

impl Memory {
    /// An empty store.
    pub fn new(limits: Limits) -> Self {
        Self { logs: Logs::new(limits, 0), order: VecDeque::new(), records: 0, bytes: 0 }
    }

    /// What is kept, to be read.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// How much is kept.
    pub fn totals(&self) -> StoreTotals {
        let channels = self.logs.channels.len() as u64;
        StoreTotals { events: self.records as u64, bytes: self.bytes as u64, channels }
    }

    /// No marks yet, for as many users as channels are kept and for as long as events are.
    pub fn marks(&self) -> Marks {
        self.logs.marks()
    }

    /// Keeps an event under each of its channels. `record.seq` must be above every earlier one.
    pub fn append(&mut self, channels: &[ChannelName], record: Record) {
        let now = record.at;
        let record = Arc::new(record);
        for channel in channels {
            let lost = self.logs.forgotten;
            let Logs { limits, channels, .. } = &mut self.logs;
            let log = channels.entry(channel.clone()).or_insert_with(|| Log::new(lost, 0));
            let freed = log.append(&record, limits);
            self.records = self.records + 1 - freed.records;
            self.bytes = self.bytes + cost(&record) - freed.bytes;
            if log.records.is_empty() {
                // The event alone is more than a channel may keep.
                self.forget(channel);
            } else {
                self.order.push_back((record.seq, channel.clone()));
            }
        }
        self.shrink(now);
    }

    /// Drops what is too old. Cheap when nothing is.
    pub fn sweep(&mut self, now: Timestamp) {
        self.shrink(now);
    }

    /// How many bytes are kept, the overhead of each record included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn shrink(&mut self, now: Timestamp) {
        let oldest = self.logs.oldest_kept(now);
        while let Some((seq, channel)) = self.order.front() {
            let Some(log) = self.logs.channels.get(channel) else {
                self.order.pop_front();
                continue;
            };
            let Some(first) = log.records.front().filter(|first| first.seq == *seq) else {
                // Dropped before, by its channel's own bounds; or collapsed.
                self.order.pop_front();
                continue;
            };
            let over = self.bytes > self.logs.limits.max_bytes
                || self.logs.channels.len() > self.logs.limits.max_channels;
            if !over && first.at >= oldest {
                break;
            }
            self.drop_front();
        }
        if self.order.len() > 2 * self.records + STALE_ENTRIES {
            let channels = &self.logs.channels;
            self.order.retain(|(seq, channel)| {
                channels.get(channel).is_some_and(|log| log.records.front().is_some_and(|r| r.seq <= *seq))
            });
        }
    }

    fn drop_front(&mut self) {
        let Some((_, channel)) = self.order.pop_front() else {
            return;
        };
        let Some(log) = self.logs.channels.get_mut(&channel) else {
            return;
        };
        let freed = log.drop_oldest();
        self.records -= freed.records;
        self.bytes -= freed.bytes;
        if log.records.is_empty() {
            self.forget(&channel);
        }
    }

    /// Drops an empty log, and remembers what it had lost.
    fn forget(&mut self, channel: &ChannelName) {
        if let Some(log) = self.logs.channels.remove(channel) {
            self.logs.forgotten = self.logs.forgotten.max(log.lost);
        }
    }
}

#[cfg(test)]
mod tests;
