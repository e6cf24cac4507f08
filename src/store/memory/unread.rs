//! What the marks of users need to know of history.

use super::Memory;
use crate::event::{ChannelName, Timestamp};
use crate::store::Marks;

impl Memory {
    /// No marks yet, for as many users as channels are kept and for as long as events are.
    pub fn marks(&self) -> Marks {
        Marks::new(self.limits.max_channels, self.limits.age)
    }

    /// The first event of a channel past `place` that a read would still give.
    pub fn next(&self, channel: &ChannelName, place: u64, now: Timestamp) -> Option<u64> {
        let log = self.channels.get(channel)?;
        let oldest = self.oldest_kept(now);
        let start = log.records.partition_point(|record| record.seq <= place);
        let is_kept = |record: &&std::sync::Arc<super::Record>| {
            record.at >= oldest && record.expires.is_none_or(|expires| now < expires)
        };
        log.records.range(start..).find(is_kept).map(|record| record.seq)
    }
}
