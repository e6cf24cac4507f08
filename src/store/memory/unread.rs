//! What the marks of users need to know of history.

use std::sync::Arc;

use super::{Memory, Record};
use crate::event::{ChannelName, Timestamp};
use crate::store::page::PageBuilder;
use crate::store::{Marks, Page};

impl Memory {
    /// No marks yet, for as many users as channels are kept and for as long as events are.
    pub fn marks(&self) -> Marks {
        Marks::new(self.limits.max_channels, self.limits.age)
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
}
