//! After a break: what a node has missed is gathered from all its channels and handed out in the order of ids.
//!
//! Invariant: nothing is handed out from the moment in which Redis is there again until all channels that are followed
//! have been loaded and passed; so what was missed in one comes before what is new in another, for streams that have
//! both. What has been gathered stays over another break, since the link does not tell it again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::event::ChannelName;
use crate::store::redis::{News, NodeId, Ticket};
use crate::store::{Mark, Record};

/// How many bytes are gathered at most, beside what history holds anyway. With more, the channels' subscribers are told
/// of a gap.
pub(super) const GATHERED_BYTES: usize = 64 << 20;

/// So many kicks and marks are kept for behind what is gathered. Of more, marks are passed over, so that what they speak of
/// may be told again by this node, and kicks are heard at once.
const LATER: usize = 65_536;

/// What one event counts for beside its frame.
const OVERHEAD: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// Followed, and not loaded since.
    awaited: HashSet<ChannelName>,
    /// The head that must be passed.
    pub(super) needs: u64,
    pub(super) events: BTreeMap<u64, Gathered>,
    pub(super) loads: Vec<Load>,
    /// Kicks and read marks, which come after what was gathered.
    pub(super) later: Vec<News>,
    bytes: usize,
    /// Events up to and with this one were too many.
    pub(super) dropped: u64,
}

#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) record: Arc<Record>,
    pub(super) channels: SmallVec<[ChannelName; 1]>,
    /// Who waits for an answer, once for each copy.
    pub(super) by: SmallVec<[(NodeId, Ticket, u32); 1]>,
}

#[derive(Debug)]
pub(super) struct Load {
    pub(super) channel: ChannelName,
    pub(super) head: u64,
    pub(super) lost: u64,
    pub(super) last: u64,
    pub(super) mark: Option<Mark>,
}

impl Gathering {
    /// Waits for these channels, as if none of them had been loaded.
    pub(super) fn begin<'c>(&mut self, channels: impl Iterator<Item = &'c ChannelName>, head: u64) {
        self.awaited = channels.cloned().collect();
        self.needs = self.needs.max(head);
    }

    /// Whether everything is here once `head` is passed.
    pub(super) fn is_whole(&self, head: u64) -> bool {
        self.awaited.is_empty() && head >= self.needs
    }

    /// Whether every channel has been loaded.
    pub(super) fn is_loaded(&self) -> bool {
        self.awaited.is_empty()
    }

    pub(super) fn leave(&mut self, channel: &ChannelName) {
        self.awaited.remove(channel);
        self.loads.retain(|load| load.channel != *channel);
    }

    pub(super) fn load(&mut self, load: Load, records: Vec<Record>) {
        self.awaited.remove(&load.channel);
        self.needs = self.needs.max(load.head);
        for record in records {
            self.add(record, std::slice::from_ref(&load.channel), None);
        }
        self.loads.push(load);
    }

    /// Keeps a kick or a mark for later. Gives it back if there is no room.
    pub(super) fn later(&mut self, news: News) -> Option<News> {
        if self.later.len() >= LATER {
            return Some(news);
        }
        self.later.push(news);
        None
    }

    /// Takes in an event, which may be here.
    pub(super) fn add(
        &mut self,
        record: Record,
        channels: &[ChannelName],
        by: Option<(NodeId, Ticket, u32)>,
    ) {
        if record.seq <= self.dropped {
            return;
        }
        let bytes = record.frame.len() + OVERHEAD;
        let gathered = self.events.entry(record.seq).or_insert_with(|| {
            self.bytes += bytes;
            Gathered { record: Arc::new(record), channels: SmallVec::new(), by: SmallVec::new() }
        });
        gathered.by.extend(by);
        for channel in channels {
            if !gathered.channels.contains(channel) {
                gathered.channels.push(channel.clone());
            }
        }
        if self.bytes > GATHERED_BYTES {
            self.dropped = self.events.last_key_value().map_or(self.dropped, |(seq, _)| *seq);
            self.events.clear();
            self.bytes = 0;
        }
    }
}
