//! A stream's registration with the hub, where it starts, and its way into history.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::event::{ChannelName, Epoch, EventId, Timestamp};
use crate::store::{DiskError, Page, Record};

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
#[derive(Debug, Clone)]
pub struct Start {
    /// The id that the stream opens with: the client's own if it is good, else the head.
    pub cursor: EventId,
    /// The newest id of all when it was registered: what is above comes to the worker's inbox, what is not is history.
    pub head: u64,
    /// Whether the client's id was good.
    pub resumed: bool,
    /// What the client has to be told of.
    pub gap: Option<Gap>,
    /// What its user has not read, oldest first, if that is what it starts with. To be taken out and written.
    pub unread: Vec<Arc<Record>>,
}

impl Start {
    /// Just below the oldest of these events; after them, at the head.
    pub(super) fn unread(head: EventId, unread: Vec<Arc<Record>>) -> Self {
        let first = unread.first().map(|record| record.seq.saturating_sub(1));
        let cursor = EventId { seq: first.unwrap_or(head.seq), ..head };
        Self { cursor, head: head.seq, resumed: false, gap: None, unread }
    }

    pub(super) fn new(epoch: Epoch, head: u64, from: Position<'_>) -> Self {
        let start = Self {
            cursor: EventId { epoch, seq: head },
            head,
            resumed: false,
            gap: None,
            unread: Vec::new(),
        };
        let Position::After(said) = from else {
            return start;
        };
        match said.parse::<EventId>() {
            Ok(id) if id.epoch != epoch => start.behind(Gap::NewEpoch),
            Ok(id) if id.seq <= head => Self { cursor: id, resumed: true, ..start },
            _ => start.behind(Gap::UnknownId),
        }
    }

    /// The same for one that has to be told of a gap: it starts at the head.
    #[must_use]
    pub fn behind(self, gap: Gap) -> Self {
        let cursor = EventId { seq: self.head, ..self.cursor };
        Self { cursor, resumed: false, gap: Some(gap), ..self }
    }
}

/// A registration. Dropping it leaves the channels.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    worker: usize,
    channels: SmallVec<[(ChannelId, ChannelName); 2]>,
}

impl Subscription {
    pub(super) fn new(hub: Hub, worker: usize, channels: SmallVec<[(ChannelId, ChannelName); 2]>) -> Self {
        Self { hub, worker, channels }
    }

    /// Reads the first page of what its channels have past `after` and up to `upto`, which must be the number of an
    /// event that a worker was handed, or the head at which it was registered.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn page(&self, after: u64, upto: u64, now: Timestamp) -> Result<Page, DiskError> {
        self.hub.page(self.channels.iter().map(|(_, name)| name), after, upto, now)
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
