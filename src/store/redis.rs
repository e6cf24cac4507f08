//! History in Redis, for a deployment of many nodes: the words between the hub of a node and its link to Redis.
//!
//! The hub says what it wants ([`Order`]), the link does it and says what has happened ([`News`]); neither waits for the
//! other, so the hub can be tried against a Redis that is made up, and the link against a real one. A node follows the
//! channels that its own subscribers need and holds their history in memory; Redis gives the ids, keeps history for
//! the deployment, and tells every node that follows a channel.
//!
//! Invariants: news come in Redis's order, and all of one channel's events come, from [`News::Loaded`] on until
//! [`News::Away`]; when a node hears [`News::Passed`], it has heard all events of the channels that it follows up to that
//! head; an id is never given twice, in whatever state Redis comes back.

mod channels;
mod codec;
mod connection;
mod dialer;
mod lane;
mod link;
mod queue;
mod scripts;
mod session;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Mark, Record};
use crate::event::{ChannelName, Epoch, Event, Timestamp};

pub use connection::{ConnectError, ServerInfo};
pub use dialer::Dialer;
pub use link::Link;
pub use queue::Receiver;

/// A node of a deployment: a number that it has drawn at random when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What stands for an order when it is answered. Each hub counts its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What the hub wants done. Orders are done in the order in which they are given.
#[derive(Debug)]
pub enum Order {
    /// Keep these publications and tell the nodes that follow their channels: all of them, with nothing of others in
    /// between, or none. Answered by [`News::Published`]. One that is still waiting to be sent when Redis goes away is
    /// answered at once, too.
    Publish {
        /// Comes back with the answer.
        ticket: Ticket,
        /// At least one.
        batch: Vec<Entry>,
    },
    /// Follow a channel from now on, over every break, until [`Order::Leave`]. Answered by [`News::Loaded`] and then a
    /// [`News::Passed`] at or above its head; again after every break, then with what came after `since`.
    Follow {
        /// The channel.
        channel: ChannelName,
    },
    /// Follow a channel no longer.
    Leave {
        /// The channel.
        channel: ChannelName,
    },
    /// Find out the head: answered by a [`News::Passed`] at or above the head of the moment in which this is done. Several
    /// that wait are answered as one.
    Pass,
    /// Mark events of a user's channel as read and tell all nodes that follow it by [`News::Read`].
    Mark {
        /// The user's channel.
        own: ChannelName,
        /// These, and
        seqs: Vec<u64>,
        /// all up to and with this one; 0 is none.
        up_to: u64,
        /// Forget the single marks up to and with `up_to`, and hold the others to [`super::MAX_APART`].
        /// Told back in [`News::Read`], for who waits for it.
        ticket: Ticket,
    },
    /// End the streams of a user on all nodes, each after an event if there is one, and keep the user out until then.
    /// Answered by [`News::Ordered`]; each node hears [`News::Kick`], this one too.
    Kick {
        /// Comes back with the answer, and with the other nodes' [`Answer`]s.
        ticket: Ticket,
        /// Who.
        user: Box<str>,
        /// Told first.
        event: Option<Event>,
        /// For how long the user is kept out, in milliseconds.
        block_ms: Option<u64>,
    },
    /// Tell another node what it waits for. What is told to one node is put together where it can be.
    Tell {
        /// The node that published or ordered.
        to: NodeId,
        /// What it waits for.
        answer: Answer,
    },
    /// Remember with a publication's idempotency key how many streams it was delivered to.
    Counted {
        /// The key.
        key: Box<str>,
        /// The event it was used for.
        seq: u64,
        /// The count.
        streams: u32,
    },
    /// Remember a key until then at least.
    Remember {
        /// The key.
        key: Box<str>,
        /// Until when.
        until: Timestamp,
    },
}

/// A publication as it is handed to Redis. Its id and its time come from there.
#[derive(Debug, Clone)]
pub struct Entry {
    /// At least one, none twice.
    pub channels: SmallVec<[ChannelName; 1]>,
    /// What the subscribers get.
    pub event: Event,
    /// How long it is of use, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// Takes the place of the older one of the same channel.
    pub collapse: Option<Box<str>>,
    /// The publisher's key, what it was used for, and for how long that is to be remembered, in milliseconds.
    pub key: Option<(Box<str>, u64, u64)>,
}

/// What a node says to the one that published an event or ordered a kick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Who says it.
    pub from: NodeId,
    /// Of which order.
    pub ticket: Ticket,
    /// Which publication of its batch; 0 for a kick.
    pub index: u32,
    /// How many copies it got, one for each channel of the event that it follows; 1 for a kick.
    pub copies: u32,
    /// How many streams it has handed it to or ended.
    pub streams: u32,
}

/// What has happened, in order.
#[derive(Debug)]
pub enum News {
    /// Redis is there, again or for the first time. What was followed is loaded anew next, then passed.
    Attached {
        /// The epoch of the deployment. If it is not the one before, all that the node holds is of no use any more, and
        /// its subscribers are to be told.
        epoch: Epoch,
        /// The newest id given.
        head: u64,
        /// Ids that were given and lost, or never given: whoever has seen one of them has seen what is gone.
        holes: Vec<Range<u64>>,
        /// The users who are kept out, each until when.
        blocks: Vec<(Box<str>, Timestamp)>,
    },
    /// Redis is not there. What comes from now on is nothing, until it is attached again.
    Away,
    /// What is kept of a channel, past the last event of it that this link has told of since it has followed it.
    Loaded {
        /// The channel.
        channel: ChannelName,
        /// The head when it was read.
        head: u64,
        /// The events, in order.
        records: Vec<Record>,
        /// Events of it up to and with this one may be gone; 0 is none.
        lost: u64,
        /// The newest event it ever had, kept or not; 0 is none that is known.
        last: u64,
        /// What its user has read of it, if it is a user's.
        mark: Option<Mark>,
    },
    /// All events of followed channels up to and with this one have come.
    Passed {
        /// The newest id given when it was asked.
        head: u64,
    },
    /// Something was published.
    Event(Told),
    /// Something was marked as read.
    Read {
        /// The user's channel.
        own: ChannelName,
        /// These, and
        seqs: Vec<u64>,
        /// all up to and with this one.
        up_to: u64,
        /// Who wanted it, and as which order.
        by: (NodeId, Ticket),
    },
    /// Streams of a user are to be ended.
    Kick {
        /// Who.
        user: Box<str>,
        /// Told first.
        event: Option<Event>,
        /// Until when the user is kept out.
        until: Option<Timestamp>,
        /// Who wants to know how many, and as which order.
        by: (NodeId, Ticket),
    },
    /// Other nodes say what was waited for.
    Answers(Vec<Answer>),
    /// What became of a batch.
    Published {
        /// The order's.
        ticket: Ticket,
        /// For each publication of the batch, or why nothing was published.
        outcome: Result<Vec<Stored>, NotStored>,
    },
    /// What became of a kick: how many nodes were told, this one among them.
    Ordered {
        /// The order's.
        ticket: Ticket,
        /// How many nodes were told of it.
        outcome: Result<u32, NotStored>,
    },
}

impl News {
    /// What it takes while it waits, in bytes, near enough.
    fn weight(&self) -> usize {
        /// What one of them takes beside its own bytes.
        const EACH: usize = 256;
        let more = match self {
            Self::Attached { holes, blocks, .. } => {
                size_of_val(&**holes) + blocks.iter().map(|(user, _)| user.len() + 32).sum::<usize>()
            }
            Self::Loaded { records, .. } => {
                records.iter().map(|record| record.frame.len() + size_of::<Record>()).sum()
            }
            Self::Event(told) => told.record.frame.len(),
            Self::Read { seqs, .. } => size_of_val(&**seqs),
            Self::Kick { user, event, .. } => user.len() + event.as_ref().map_or(0, |event| event.data.len()),
            Self::Answers(answers) => size_of_val(&**answers),
            Self::Away | Self::Passed { .. } | Self::Published { .. } | Self::Ordered { .. } => 0,
        };
        EACH + more
    }
}

/// A publication, as a node that follows one of its channels hears of it.
#[derive(Debug)]
pub struct Told {
    /// Its place in the order, and all that is kept of it.
    pub record: Record,
    /// The channel as whose follower this node hears of it, with the event of it before this one: a node that has another
    /// one for its newest has missed something. An event of several channels comes once for each of them, in a row.
    pub channel: ChannelName,
    /// The event before it in this channel; 0 is none.
    pub before: u64,
    /// All its channels.
    pub channels: SmallVec<[ChannelName; 1]>,
    /// Who published it, as which order, and which of its batch.
    pub by: (NodeId, Ticket, u32),
}

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is kept under this number, and so many copies of it have gone to nodes: one for each of its channels to each
    /// node that follows it.
    New {
        /// Its place in the order.
        seq: u64,
        /// How many copies.
        copies: u32,
    },
    /// It was published before, under the same key.
    Before {
        /// Its place in the order.
        seq: u64,
        /// To how many streams, if that has been said.
        streams: Option<u32>,
    },
}

/// Why nothing of an order was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// Redis is not there, or refuses: nothing has happened.
    Away,
    /// Redis went away in the middle of it: it may have happened.
    Unknown,
    /// The key was used before, for another publication.
    KeyReused {
        /// Which of the batch.
        index: usize,
    },
}

/// The bytes of an event as Redis keeps them: the lines of its frame without its id.
pub fn body_of(event: &Event) -> Bytes {
    event.frame_without_id().text()
}
