//! A stream's registration with the hub, and where it starts.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::event::{ChannelName, Epoch, EventId, Timestamp};
use crate::store::{Memory, Record};

use super::{ChannelId, Hub};

/// Where a subscriber wants to start.
#[derive(Debug, Clone, Copy)]
pub enum Position<'a> {
    /// With what comes next.
    Now,
    /// After the event with this id, as the client said it.
    After(&'a str),
    /// With what its user has not read of this channel, the user's own, which is one of its channels.
    Unread(&'a ChannelName),
}

/// Why a subscriber may have missed events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The id is not one that this epoch has given.
    UnknownId,
    /// History past the id is gone in part.
    Expired,
    /// The id is of another epoch.
    NewEpoch,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownId => "unknown-id",
            Self::Expired => "expired",
            Self::NewEpoch => "new-epoch",
        })
    }
}

/// Where a subscriber starts.
pub(super) struct Start {
    cursor: EventId,
    resumed: bool,
    gap: Option<Gap>,
    replay: Vec<Arc<Record>>,
    settled: Option<EventId>,
}

impl Start {
    /// Just below the oldest of these events; after them, at the head.
    pub(super) fn unread(head: EventId, replay: Vec<Arc<Record>>) -> Self {
        let first = replay.first().map(|record| record.seq.saturating_sub(1));
        let cursor = EventId { seq: first.unwrap_or(head.seq), ..head };
        let settled = (!replay.is_empty()).then_some(head);
        Self { cursor, resumed: false, gap: None, replay, settled }
    }
}

pub(super) fn start(
    store: &Memory,
    epoch: Epoch,
    head: u64,
    channels: &[ChannelName],
    from: Position<'_>,
    now: Timestamp,
) -> Start {
    let at_head = |gap| Start {
        cursor: EventId { epoch, seq: head },
        resumed: false,
        gap,
        replay: Vec::new(),
        settled: None,
    };
    let Position::After(said) = from else {
        return at_head(None);
    };
    let Ok(id) = said.parse::<EventId>() else {
        return at_head(Some(Gap::UnknownId));
    };
    if id.epoch != epoch {
        return at_head(Some(Gap::NewEpoch));
    }
    if id.seq > head {
        return at_head(Some(Gap::UnknownId));
    }
    let found = store.since(channels, id.seq, now);
    if found.gap {
        return at_head(Some(Gap::Expired));
    }
    Start { cursor: id, resumed: true, gap: None, replay: found.records, settled: None }
}

/// A registration. Dropping it leaves the channels.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    worker: usize,
    channels: SmallVec<[(ChannelId, ChannelName); 2]>,
    /// The id that the stream opens with: the client's own if it is good, else the head.
    pub cursor: EventId,
    /// Whether the client's id was good.
    pub resumed: bool,
    /// What the client has to be told of.
    pub gap: Option<Gap>,
    /// What it missed, in order. To be taken out and written.
    pub replay: Vec<Arc<Record>>,
    /// The id that the client is left with after the replay, if that is not the id of its last event: what lies in
    /// between is not this stream's.
    pub settled: Option<EventId>,
}

impl Subscription {
    pub(super) fn new(
        hub: Hub,
        worker: usize,
        channels: SmallVec<[(ChannelId, ChannelName); 2]>,
        start: Start,
    ) -> Self {
        let Start { cursor, resumed, gap, replay, settled } = start;
        Self { hub, worker, channels, cursor, resumed, gap, replay, settled }
    }

    /// The numbers under which deliveries come.
    pub fn channels(&self) -> impl ExactSizeIterator<Item = ChannelId> {
        self.channels.iter().map(|(id, _)| *id)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.leave(self.worker, self.channels.iter().map(|(_, name)| name));
    }
}
