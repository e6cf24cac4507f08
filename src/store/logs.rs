//! The logs of channels in memory, as they are read.
//!
//! Invariant: of a channel without a log, events up to and with `forgotten` may be gone.

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::Arc;

use smallvec::SmallVec;

use super::log::Log;
use super::page::PageBuilder;
use super::{Limits, Marks, Page, Record};
use crate::event::{ChannelName, Timestamp};

/// Logs by channel.
#[derive(Debug)]
pub struct Logs {
    pub(super) limits: Limits,
    pub(super) channels: HashMap<ChannelName, Log>,
    /// The highest `lost` of any channel that has no log any more.
    pub(super) forgotten: u64,
}

impl Logs {
    pub(super) fn new(limits: Limits, forgotten: u64) -> Self {
        Self { limits, channels: HashMap::new(), forgotten }
    }

    pub(super) fn marks(&self) -> Marks {
        Marks::new(self.limits.max_channels, self.limits.age)
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

    /// How many events a channel has, and the newest it ever had.
    pub fn channel(&self, channel: &ChannelName) -> Option<(usize, u64)> {
        self.channels.get(channel).map(|log| (log.records.len(), log.last))
    }

    /// The events of a channel past `place` that are there to be told, oldest first. Unlike for a client that resumes,
    /// what is gone before them is of no interest.
    pub fn kept(
        &self,
        channel: &ChannelName,
        place: u64,
        now: Timestamp,
    ) -> impl Iterator<Item = &Arc<Record>> {
        let oldest = self.oldest_kept(now);
        let records = self.channels.get(channel).map(|log| {
            let start = log.records.partition_point(|record| record.seq <= place);
            log.records.range(start..)
        });
        records
            .into_iter()
            .flatten()
            .filter(move |record| record.at >= oldest && record.expires.is_none_or(|expires| now < expires))
    }

    /// Whether an event is kept in a channel.
    pub fn holds(&self, channel: &ChannelName, seq: u64) -> bool {
        let log = self.channels.get(channel);
        log.is_some_and(|log| log.records.binary_search_by_key(&seq, |record| record.seq).is_ok())
    }

    /// The first page of them, up to and with `upto`.
    pub fn kept_page(&self, channel: &ChannelName, place: u64, upto: u64, now: Timestamp) -> Page {
        let mut page = PageBuilder::new(upto);
        for record in self.kept(channel, place, now).take_while(|record| record.seq <= upto) {
            if !page.add(record, now) {
                break;
            }
        }
        page.done()
    }

    pub(super) fn oldest_kept(&self, now: Timestamp) -> Timestamp {
        let age = u64::try_from(self.limits.age.as_millis()).unwrap_or(u64::MAX);
        Timestamp(now.0.saturating_sub(age))
    }
}
