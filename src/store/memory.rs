//! The memory store: a bounded log per channel, gone with the process.
//!
//! Dropped first is always the oldest: within a channel when it has too many events or bytes, over all channels when
//! the store has too many bytes or channels, and whatever is too old. Every drop raises the mark of what its channel
//! has lost, so no gap is silent.

mod unread;

use std::collections::{HashMap, VecDeque};
use std::iter::Peekable;
use std::sync::Arc;

use smallvec::SmallVec;

use super::page::PageBuilder;
use super::{Limits, Page, Record, StoreTotals};
use crate::event::{ChannelName, Timestamp};

/// What an event costs in memory beside its frame, in bytes; counted so that many tiny events are bounded too.
const RECORD_OVERHEAD: usize = 128;

/// The order of records is tidied when it holds this many more entries than twice the live ones.
const STALE_ENTRIES: usize = 4096;

/// The logs of all channels.
#[derive(Debug)]
pub struct Memory {
    limits: Limits,
    channels: HashMap<ChannelName, Log>,
    /// Every record of every channel, oldest first. Entries whose record is gone are skipped and tidied away.
    order: VecDeque<(u64, ChannelName)>,
    records: usize,
    bytes: usize,
    /// The highest `lost` of any channel that has no log any more.
    forgotten: u64,
}

#[derive(Debug)]
struct Log {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    /// Events up to and with this one may be gone.
    lost: u64,
    /// The newest event, kept or not.
    last: u64,
}

impl Memory {
    /// An empty store.
    pub fn new(limits: Limits) -> Self {
        Self { limits, channels: HashMap::new(), order: VecDeque::new(), records: 0, bytes: 0, forgotten: 0 }
    }

    /// Keeps an event under each of its channels. `record.seq` must be above every earlier one.
    pub fn append(&mut self, channels: &[ChannelName], record: Record) {
        let now = record.at;
        let record = Arc::new(record);
        for channel in channels {
            let forgotten = self.forgotten;
            let log = self.channels.entry(channel.clone()).or_insert_with(|| Log {
                records: VecDeque::new(),
                bytes: 0,
                lost: forgotten,
                last: 0,
            });
            log.last = record.seq;
            let mut freed = log.collapse(&record);
            log.bytes += cost(&record);
            log.records.push_back(record.clone());
            while log.records.len() > self.limits.events || log.bytes > self.limits.bytes {
                freed += log.drop_oldest();
            }
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

    /// How much is kept.
    pub fn totals(&self) -> StoreTotals {
        let Self { records, bytes, channels, .. } = self;
        StoreTotals { events: *records as u64, bytes: *bytes as u64, channels: channels.len() as u64 }
    }

    /// Reads the first page of what the channels have past `after` and up to `upto`, both numbers of this epoch.
    pub fn page<'c>(
        &self,
        channels: impl IntoIterator<Item = &'c ChannelName>,
        after: u64,
        upto: u64,
        now: Timestamp,
    ) -> Page {
        let oldest = self.oldest_kept(now);
        let mut logs: SmallVec<[_; 4]> = SmallVec::new();
        for channel in channels {
            let Some(log) = self.channels.get(channel) else {
                if after < self.forgotten {
                    return Page::gone(upto);
                }
                continue;
            };
            let start = log.records.partition_point(|record| record.seq <= after);
            let mut records = log.records.range(start..).take_while(|record| record.seq <= upto).peekable();
            // Dropped, or too old and not swept yet.
            if after < log.lost || records.peek().is_some_and(|record| record.at < oldest) {
                return Page::gone(upto);
            }
            logs.push(records);
        }
        let mut page = PageBuilder::new(upto);
        loop {
            let nexts = logs.iter_mut().filter_map(Peekable::peek);
            let Some(next) = nexts.min_by_key(|record| record.seq).copied() else { break };
            if !page.add(next, now) {
                break;
            }
            for log in &mut logs {
                log.next_if(|record| record.seq == next.seq);
            }
        }
        page.done()
    }

    /// Drops what is too old. Cheap when nothing is.
    pub fn sweep(&mut self, now: Timestamp) {
        self.shrink(now);
    }

    /// How many events a channel has, and the newest it ever had.
    pub fn channel(&self, channel: &ChannelName) -> Option<(usize, u64)> {
        self.channels.get(channel).map(|log| (log.records.len(), log.last))
    }

    /// How many bytes are kept, the overhead of each record included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn oldest_kept(&self, now: Timestamp) -> Timestamp {
        let age = u64::try_from(self.limits.age.as_millis()).unwrap_or(u64::MAX);
        Timestamp(now.0.saturating_sub(age))
    }

    fn shrink(&mut self, now: Timestamp) {
        let oldest = self.oldest_kept(now);
        while let Some((seq, channel)) = self.order.front() {
            let Some(log) = self.channels.get(channel) else {
                self.order.pop_front();
                continue;
            };
            let Some(first) = log.records.front().filter(|first| first.seq == *seq) else {
                // Dropped before, by its channel's own bounds; or collapsed.
                self.order.pop_front();
                continue;
            };
            let over = self.bytes > self.limits.max_bytes || self.channels.len() > self.limits.max_channels;
            if !over && first.at >= oldest {
                break;
            }
            self.drop_front();
        }
        if self.order.len() > 2 * self.records + STALE_ENTRIES {
            let channels = &self.channels;
            self.order.retain(|(seq, channel)| {
                channels.get(channel).is_some_and(|log| log.records.front().is_some_and(|r| r.seq <= *seq))
            });
        }
    }

    fn drop_front(&mut self) {
        let Some((_, channel)) = self.order.pop_front() else {
            return;
        };
        let Some(log) = self.channels.get_mut(&channel) else {
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
        if let Some(log) = self.channels.remove(channel) {
            self.forgotten = self.forgotten.max(log.lost);
        }
    }
}

/// What a drop gave back.
#[derive(Debug, Default)]
struct Freed {
    records: usize,
    bytes: usize,
}

impl std::ops::AddAssign for Freed {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

impl Log {
    fn drop_oldest(&mut self) -> Freed {
        let Some(record) = self.records.pop_front() else {
            return Freed::default();
        };
        self.lost = record.seq;
        self.bytes -= cost(&record);
        Freed { records: 1, bytes: cost(&record) }
    }

    /// Takes out the older event with the same collapse key. A channel holds at most one, so the search, newest
    /// first, is bounded by the channel's events.
    fn collapse(&mut self, newer: &Record) -> Freed {
        let Some(key) = &newer.collapse else {
            return Freed::default();
        };
        let found = self.records.iter().rposition(|record| record.collapse.as_ref() == Some(key));
        let Some(record) = found.and_then(|index| self.records.remove(index)) else {
            return Freed::default();
        };
        self.bytes -= cost(&record);
        Freed { records: 1, bytes: cost(&record) }
    }
}

fn cost(record: &Record) -> usize {
    record.frame.len() + RECORD_OVERHEAD
}

#[cfg(test)]
mod tests;
