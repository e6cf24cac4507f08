//! The channels that a node follows, and how far each has come. No I/O.
//!
//! Invariant: of every channel that is loaded, all events have been told, in order, once. A channel is subscribed to
//! before it is loaded, and on one connection; so what is heard of it before its load has come is either in the load or
//! behind it, and is held until that is known. If more is to be held than there is room for, it is not, and its channel
//! is loaded once more.

use std::collections::{HashMap, HashSet, VecDeque};

use super::codec::Piece;
use super::{News, NodeId, Ticket, Told};
use crate::event::ChannelName;
use crate::store::Record;

/// So many channels are subscribed to or loaded by one command.
const TOGETHER: usize = 128;

/// What is followed.
#[derive(Debug, Default)]
pub(super) struct Channels {
    followed: HashMap<ChannelName, Channel>,
    /// What this connection is subscribed to, or will be when it has done what it was told.
    subscribed: HashSet<ChannelName>,
    /// What was followed or left since the subscriptions were last looked at.
    changed: Vec<ChannelName>,
    /// What is to be loaded; some may have been left since.
    unasked: VecDeque<Asked>,
    /// Tells a channel that is followed from the same one when it was followed before.
    follows: u64,
    /// How many of those that were followed when Redis came back are not loaded yet.
    behind: usize,
    /// How many bytes are held, and how many may be.
    held: usize,
    room: usize,
}

#[derive(Debug)]
struct Channel {
    follow: u64,
    /// The newest event that was told or passed over.
    told: u64,
    /// The first of them that there was no room for.
    untold: Option<u64>,
    /// What has come of its load, and what was heard meanwhile; none when it is loaded.
    loading: Option<Loading>,
    is_behind: bool,
}

#[derive(Debug, Default)]
struct Loading {
    records: Vec<Record>,
    held: Vec<Told>,
    /// Something that was heard since it was asked for is not held.
    again: bool,
}

/// A channel that is being loaded.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) channel: ChannelName,
    follow: u64,
}

/// A copy of an event that nobody is told of, and that its publisher counts on.
pub(super) type Unneeded = (NodeId, Ticket, u32);

/// What becomes of an event.
pub(super) enum Fate {
    /// It is to be told.
    Told(Told),
    /// It waits for its channel's load.
    Held,
    /// Nobody follows its channel, or it was told before, or its channel's load is to bring it.
    Unneeded(Unneeded),
}

impl Channels {
    /// None yet. Up to `room` bytes are held of all channels that are being loaded.
    pub(super) fn new(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    /// Follows a channel.
    pub(super) fn follow(&mut self, channel: ChannelName) {
        if self.followed.contains_key(&channel) {
            return;
        }
        self.follows += 1;
        let follow = self.follows;
        self.unasked.push_back(Asked { channel: channel.clone(), follow });
        self.changed.push(channel.clone());
        let loading = Some(Loading::default());
        self.followed.insert(channel, Channel { follow, told: 0, untold: None, loading, is_behind: false });
    }

    /// Follows a channel no longer. Gives the copies that were held.
    pub(super) fn leave(&mut self, channel: &ChannelName) -> Vec<Unneeded> {
        let Some(left) = self.followed.remove(channel) else { return Vec::new() };
        self.behind -= usize::from(left.is_behind);
        self.changed.push(channel.clone());
        let held = left.loading.map(|loading| loading.held).unwrap_or_default();
        self.held -= held.iter().map(cost).sum::<usize>();
        held.into_iter().map(|told| told.by).collect()
    }

    /// Begins on a new connection: everything is to be subscribed to and loaded again, from the start in a new epoch.
    pub(super) fn begin(&mut self, is_new_epoch: bool) {
        self.subscribed.clear();
        self.changed = self.followed.keys().cloned().collect();
        self.unasked.clear();
        self.behind = self.followed.len();
        self.held = 0;
        for (name, channel) in &mut self.followed {
            channel.loading = Some(Loading::default());
            channel.is_behind = true;
            if let Some(untold) = channel.untold.take() {
                channel.told = channel.told.min(untold.saturating_sub(1));
            }
            if is_new_epoch {
                channel.told = 0;
            }
            self.unasked.push_back(Asked { channel: name.clone(), follow: channel.follow });
        }
    }

    /// Whether all that was followed when Redis came back is loaded.
    pub(super) fn are_level(&self) -> bool {
        self.behind == 0
    }

    /// Some of what is to be subscribed to, and of what not any more; both empty when there is nothing left.
    pub(super) fn take_changes(&mut self) -> (Vec<ChannelName>, Vec<ChannelName>) {
        let (mut join, mut part) = (Vec::new(), Vec::new());
        while join.len() < TOGETHER
            && part.len() < TOGETHER
            && let Some(channel) = self.changed.pop()
        {
            if self.followed.contains_key(&channel) {
                if self.subscribed.insert(channel.clone()) {
                    join.push(channel);
                }
            } else if self.subscribed.remove(&channel) {
                part.push(channel);
            }
        }
        (join, part)
    }

    /// Some of what is to be loaded, each with the event past which. To be asked when no change is left.
    pub(super) fn take_loads(&mut self) -> Vec<(Asked, u64)> {
        let mut loads = Vec::new();
        while loads.len() < TOGETHER
            && let Some(asked) = self.unasked.pop_front()
        {
            if let Some(channel) = self.followed.get(&asked.channel).filter(|c| c.follow == asked.follow) {
                let last = channel.loading.as_ref().and_then(|loading| loading.records.last());
                let since = last.map_or(channel.told, |last| last.seq);
                loads.push((asked, since));
            }
        }
        loads
    }

    /// Takes what has come of a load: pieces of the first of the channels that were asked for.
    pub(super) fn loaded(
        &mut self,
        asked: Vec<Asked>,
        head: u64,
        pieces: Vec<Piece>,
        news: &mut Vec<News>,
        unneeded: &mut Vec<Unneeded>,
    ) {
        let mut pieces = pieces.into_iter();
        for asked in asked {
            let piece = pieces.next();
            let Some(channel) = self.followed.get_mut(&asked.channel) else { continue };
            let Some(loading) = channel.loading.as_mut().filter(|_| channel.follow == asked.follow) else {
                continue;
            };
            let Some(mut piece) = piece else {
                self.unasked.push_back(asked);
                continue;
            };
            loading.records.append(&mut piece.records);
            if !piece.is_last || std::mem::take(&mut loading.again) {
                // The rest comes before anything new.
                self.unasked.push_front(asked);
                continue;
            }
            let Loading { records, held, .. } = channel.loading.take().unwrap_or_default();
            self.held -= held.iter().map(cost).sum::<usize>();
            channel.told = channel.told.max(head);
            self.behind -= usize::from(std::mem::take(&mut channel.is_behind));
            let (lost, last) = (piece.lost, piece.last);
            news.push(News::Loaded { channel: asked.channel, head, records, lost, last, mark: piece.mark });
            for told in held {
                if told.record.seq > channel.told {
                    channel.told = told.record.seq;
                    news.push(News::Event(told));
                } else {
                    unneeded.push(told.by);
                }
            }
        }
    }

    /// Takes an event that was heard.
    pub(super) fn heard(&mut self, told: Told) -> Fate {
        match self.followed.get_mut(&told.channel) {
            Some(Channel { loading: Some(loading), .. }) => {
                if self.held + cost(&told) > self.room {
                    loading.again = true;
                    return Fate::Unneeded(told.by);
                }
                self.held += cost(&told);
                loading.held.push(told);
                Fate::Held
            }
            Some(channel) if told.record.seq > channel.told => {
                channel.told = told.record.seq;
                Fate::Told(told)
            }
            _ => Fate::Unneeded(told.by),
        }
    }

    /// Takes note that there was no room to tell an event, nor any after it: the next connection begins before it.
    pub(super) fn untold(&mut self, channel: &ChannelName, seq: u64) {
        if let Some(channel) = self.followed.get_mut(channel) {
            channel.untold = Some(channel.untold.map_or(seq, |first| first.min(seq)));
        }
    }

    /// Whether a channel is loaded, so that what is told of it is news.
    pub(super) fn is_loaded(&self, channel: &ChannelName) -> bool {
        self.followed.get(channel).is_some_and(|channel| channel.loading.is_none())
    }
}

/// What an event takes while it is held, in bytes, near enough.
fn cost(told: &Told) -> usize {
    size_of::<Told>() + told.record.frame.len()
}

#[cfg(test)]
mod tests;
