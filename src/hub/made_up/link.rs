//! What one node has been told.

use super::Link;
use crate::event::ChannelName;
use crate::store::redis::{News, NotStored, Stored, Ticket};

impl Link {
    /// Takes note of what a node has been told.
    pub(super) fn note(&mut self, news: &News) {
        match news {
            News::Event(told) => {
                self.seen = self.seen.max(told.record.seq);
                if let Some(newest) = self.follows.get_mut(&told.channel) {
                    *newest = (*newest).max(told.record.seq);
                }
            }
            News::Loaded { channel, records, .. } => {
                let last = records.last().map_or(0, |record| record.seq);
                self.seen = self.seen.max(last);
                if let Some(newest) = self.follows.get_mut(channel) {
                    *newest = (*newest).max(last);
                }
            }
            News::Passed { head } | News::Attached { head, .. } => self.seen = self.seen.max(*head),
            News::Published { outcome: Ok(stored), .. } => {
                let seqs = stored.iter().map(|(Stored::New { seq, .. } | Stored::Before { seq, .. })| *seq);
                self.seen = self.seen.max(seqs.max().unwrap_or(0));
            }
            _ => {}
        }
    }

    /// The newest event of a channel that it has told of or will.
    pub(super) fn told(&self, channel: &ChannelName) -> Option<u64> {
        self.follows.get(channel).copied()
    }

    pub(super) fn fail(&mut self, ticket: Ticket, why: NotStored) {
        self.news.push_back(News::Published { ticket, outcome: Err(why) });
    }
}
