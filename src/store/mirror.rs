//! What a node of a deployment holds of the history that is in Redis: the logs of the channels that it follows.
//!
//! Invariants: a channel without a log is one of which nothing is known, and whoever reads it is told of a gap; a log
//! holds all that its channel has had past `lost`, up to the newest event that this node has heard of.

use std::cmp::Ordering;
use std::sync::Arc;

use super::log::{Freed, Log, cost};
use super::logs::Logs;
use super::{Limits, Marks, Record, StoreTotals};
use crate::event::{ChannelName, Timestamp};

/// The logs of the channels that are followed.
#[derive(Debug)]
pub struct Mirror {
    logs: Logs,
    bytes: usize,
}

impl Mirror {
    /// An empty mirror.
    pub fn new(limits: Limits) -> Self {
        Self { logs: Logs::new(limits, u64::MAX), bytes: 0 }
    }

    /// What is held, to be read.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// How much is held.
    pub fn totals(&self) -> StoreTotals {
        let events = self.logs.channels.values().map(|log| log.records.len() as u64).sum();
        StoreTotals { events, bytes: self.bytes as u64, channels: self.logs.channels.len() as u64 }
    }

    /// No marks yet, for as many users as channels may be held.
    pub fn marks(&self) -> Marks {
        self.logs.marks()
    }

    /// Begins the log of a channel, if there is none, whose events up to `lost` may be gone and whose newest was `last`.
    pub fn begin(&mut self, channel: &ChannelName, lost: u64, last: u64) {
        let log = self.logs.channels.entry(channel.clone()).or_insert_with(|| Log::new(lost, 0));
        log.last = log.last.max(last);
    }

    /// Adds an event to those of its channels that have a log and do not have it yet.
    pub fn append(&mut self, channels: &[ChannelName], record: &Arc<Record>) {
        let Logs { limits, channels: logs, .. } = &mut self.logs;
        for channel in channels {
            let Some(log) = logs.get_mut(channel) else { continue };
            let has_it = log.records.back().is_some_and(|newest| newest.seq >= record.seq);
            if has_it || record.seq <= log.lost {
                continue;
            }
            let last = log.last;
            let mut freed = log.append(record, limits);
            log.last = last.max(record.seq);
            // What nobody holds has been dropped before.
            while self.bytes + cost(record) > limits.max_bytes + freed.bytes && !log.records.is_empty() {
                freed += log.drop_oldest();
            }
            self.bytes = self.bytes + cost(record) - freed.bytes;
        }
    }

    /// Takes note that events of a channel up to `seq` may be gone.
    pub fn lose(&mut self, channel: &ChannelName, seq: u64) {
        let Some(log) = self.logs.channels.get_mut(channel) else { return };
        while log.records.front().is_some_and(|oldest| oldest.seq <= seq) {
            self.bytes -= log.drop_oldest().bytes;
        }
        (log.lost, log.last) = (log.lost.max(seq), log.last.max(seq));
    }

    /// The newest event that a channel had before the one with this number, which may be here; none if that is not known.
    pub fn before(&self, channel: &ChannelName, seq: u64) -> Option<u64> {
        let log = self.logs.channels.get(channel)?;
        match log.last.cmp(&seq) {
            Ordering::Less => Some(log.last),
            Ordering::Equal => Some(log.before),
            Ordering::Greater => None,
        }
    }

    /// Forgets a channel.
    pub fn remove(&mut self, channel: &ChannelName) {
        if let Some(log) = self.logs.channels.remove(channel) {
            self.bytes -= log.bytes;
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.logs.channels.clear();
        self.bytes = 0;
    }

    /// Whether it holds all that it may.
    pub fn is_full(&self) -> bool {
        let Limits { max_bytes, max_channels, .. } = self.logs.limits;
        self.bytes >= max_bytes || self.logs.channels.len() > max_channels
    }

    /// Drops what is too old.
    pub fn sweep(&mut self, now: Timestamp) {
        let oldest = self.logs.oldest_kept(now);
        let mut freed = Freed::default();
        for log in self.logs.channels.values_mut() {
            while log.records.front().is_some_and(|first| first.at < oldest) {
                freed += log.drop_oldest();
            }
        }
        self.bytes -= freed.bytes;
    }
}
