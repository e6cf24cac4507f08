//! A stream's registration with the hub, where it starts, and its way into history.

use std::fmt;

use smallvec::SmallVec;

use crate::event::{ChannelName, EventId, Timestamp};
use crate::store::{DiskError, Page};

use super::{ChannelId, Hub, State};

/// Where a subscriber wants to start.
#[derive(Debug, Clone, Copy)]
pub enum Position<'a> {
    /// With what comes next.
    Now,
    /// After the event with this id, as the client said it.
    After(&'a str),
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
    /// The id that the stream opens with: the client's own if it is good and something was missed since, else the head.
    pub cursor: EventId,
    /// The newest id of all when it was registered: what is above comes to the worker's inbox, what is not is history.
    pub head: u64,
    /// Whether the client's id was good.
    pub resumed: bool,
    /// What the client has to be told of.
    pub gap: Option<Gap>,
}

impl Start {
    pub(super) fn new(state: &State, from: Position<'_>) -> Self {
        let State { epoch, head, ref holes, .. } = *state;
        let start = Self { cursor: EventId { epoch, seq: head }, head, resumed: false, gap: None };
        let Position::After(said) = from else {
            return start;
        };
        match said.parse::<EventId>() {
            Ok(id) if id.epoch != epoch => start.behind(Gap::NewEpoch),
            Ok(id) if id.seq <= head && !holes.iter().any(|hole| hole.contains(&id.seq)) => {
                Self { cursor: id, resumed: true, ..start }
            }
            _ => start.behind(Gap::UnknownId),
        }
    }

    /// The same for one that is first given what its user has not read, of which this is the first page: it starts just
    /// below the oldest of it.
    #[must_use]
    pub fn before(self, unread: &Page) -> Self {
        let seq = unread.records.first().map_or(unread.read, |record| record.seq.saturating_sub(1));
        Self { cursor: EventId { seq, ..self.cursor }, ..self }
    }

    /// The same for one that has missed nothing.
    #[must_use]
    pub fn at_head(self) -> Self {
        Self { cursor: EventId { seq: self.head, ..self.cursor }, ..self }
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
    worker: u32,
    life: u32,
    channels: SmallVec<[(ChannelId, ChannelName); 2]>,
}

impl Subscription {
    pub(super) fn new(
        hub: Hub,
        worker: usize,
        life: u32,
        channels: SmallVec<[(ChannelId, ChannelName); 2]>,
    ) -> Self {
        // The configuration bounds workers far below.
        Self { hub, worker: u32::try_from(worker).unwrap_or(u32::MAX), life, channels }
    }

    /// In which epoch of the hub it was made, counted. What is handed to its worker of an earlier one is not for it.
    pub fn life(&self) -> u32 {
        self.life
    }

    /// Reads the first page of what its channels have past `after` and up to `upto`, which must be the number of an
    /// event that a worker was handed, or the head at which it was registered.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn page(&self, after: EventId, upto: u64, now: Timestamp) -> Result<Page, DiskError> {
        self.hub.page(self.channels.iter().map(|(_, name)| name), after, upto, now)
    }

    /// Reads the first page of what its user has not read of the user's own channel, in the same way.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn unread_page(
        &self,
        own: &ChannelName,
        after: EventId,
        upto: u64,
        now: Timestamp,
    ) -> Result<Page, DiskError> {
        self.hub.unread_page(own, after, upto, now)
    }

    /// Which events of a page that it has read were carried by one of its channels.
    pub fn carried(&self, own: &ChannelName, page: &Page) -> Vec<u64> {
        let seqs = page.records.iter().map(|record| record.seq);
        if self.channels.len() == 1 { seqs.collect() } else { self.hub.carried(own, seqs) }
    }

    /// The names of its channels.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &ChannelName> {
        self.channels.iter().map(|(_, name)| name)
    }

    /// The numbers under which deliveries come.
    pub fn channels(&self) -> impl ExactSizeIterator<Item = ChannelId> {
        self.channels.iter().map(|(id, _)| *id)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.leave(self.worker as usize, self.channels.iter().map(|(_, name)| name));
    }
}
