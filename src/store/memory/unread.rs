//! What the marks of users need to know of history.

use std::sync::Arc;

use super::{Memory, Record};
use crate::event::{ChannelName, Timestamp};
use crate::store::Marks;

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
}
