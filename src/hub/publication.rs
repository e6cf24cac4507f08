//! What goes into the hub and what comes back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::event::{ChannelName, Event, EventId};

use super::inbox::Tally;

/// What a publisher hands in, checked: ready to get its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Publication {
    /// The channels it goes to; at least one, none twice.
    pub channels: SmallVec<[ChannelName; 1]>,
    /// What the subscribers get.
    pub event: Event,
    /// How long it stays in history; without it, as long as the channel's other events.
    pub ttl: Option<Duration>,
    /// The publisher's idempotency key.
    pub key: Option<Box<str>>,
    /// An older event of the same channel and collapse key is taken out of history.
    pub collapse: Option<Box<str>>,
}

/// What the publisher is told.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The event's id.
    pub id: EventId,
    /// How many streams it was handed to.
    pub delivered: Delivered,
}

/// A number of streams, known at once if no stream can have been counted twice, else once the workers have counted.
#[derive(Debug, Clone)]
pub struct Delivered(Count);

#[derive(Debug, Clone)]
enum Count {
    Now(usize),
    Later(Arc<Tally>),
}

impl Delivered {
    pub(super) fn now(streams: usize) -> Self {
        Self(Count::Now(streams))
    }

    pub(super) fn later(tally: Arc<Tally>) -> Self {
        Self(Count::Later(tally))
    }

    /// The number, once it is known. Resolves even if a worker ends meanwhile.
    pub async fn count(&self) -> usize {
        match &self.0 {
            Count::Now(streams) => *streams,
            Count::Later(tally) => tally.total().await,
        }
    }
}

/// Why nothing was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishError {
    /// A worker is too far behind to take more. To be tried again.
    Overloaded,
    /// The key was used in the last minutes, for another publication.
    KeyReused {
        /// Which of the batch.
        index: usize,
    },
    /// Two publications of one batch have the same key.
    KeyTwiceInBatch {
        /// The second of them.
        index: usize,
    },
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => f.write_str("a worker is too far behind to take more events; try again"),
            Self::KeyReused { .. } => f.write_str("the key was used for another publication"),
            Self::KeyTwiceInBatch { .. } => f.write_str("the key stands twice in this batch"),
        }
    }
}

impl std::error::Error for PublishError {}
