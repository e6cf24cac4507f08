//! What goes into the hub and what comes back.

use std::fmt;
use std::hash::{Hash as _, Hasher};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use smallvec::SmallVec;

use crate::event::{ChannelName, Event, EventId};

use super::inbox::Tally;
use super::node::Census;
use super::outcome::{NotKept, Outcome};

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

impl Publication {
    /// What tells it from others. The same after a restart, so that a key that was kept can be held against it.
    pub(super) fn digest(&self) -> u64 {
        let mut digest = Digest(digest::Context::new(&digest::SHA256));
        self.hash(&mut digest);
        digest.finish()
    }
}

struct Digest(digest::Context);

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finish();
        digest.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

/// What the publisher is told, when it is known.
#[derive(Debug, Clone)]
pub struct Receipt(Promise);

#[derive(Debug, Clone)]
enum Promise {
    Given(Given),
    Ordered(Arc<Outcome<Given>>),
}

/// An event that has its id.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) id: EventId,
    /// How many streams it was handed to.
    pub(super) delivered: Delivered,
}

impl Receipt {
    /// For an event that gets its id elsewhere.
    pub(super) fn ordered(outcome: Arc<Outcome<Given>>) -> Self {
        Self(Promise::Ordered(outcome))
    }

    /// The event's id, if it is known now: it is where one node gives them.
    pub fn id(&self) -> Option<EventId> {
        match &self.0 {
            Promise::Given(given) => Some(given.id),
            Promise::Ordered(outcome) => outcome.now().map(|given| given.id),
        }
    }

    /// The event's id and the number of streams it was handed to, once both are known and the event is as safe as the
    /// store promises.
    ///
    /// # Errors
    /// If the event could not be kept, or if that is not known in time.
    pub async fn acknowledged(&self) -> Result<(EventId, usize), NotKept> {
        let told;
        let given = match &self.0 {
            Promise::Given(given) => given,
            Promise::Ordered(outcome) => {
                told = outcome.wait().await?;
                &told
            }
        };
        Ok((given.id, given.delivered.count().await?))
    }

    /// The number of streams alone.
    ///
    /// # Errors
    /// As for [`Receipt::acknowledged`].
    pub async fn delivered(&self) -> Result<usize, NotKept> {
        self.acknowledged().await.map(|(_, streams)| streams)
    }
}

impl From<Given> for Receipt {
    fn from(given: Given) -> Self {
        Self(Promise::Given(given))
    }
}

/// A number of streams, known at once if no stream can have been counted twice, else once the workers have counted.
#[derive(Debug, Clone)]
pub struct Delivered(Count);

#[derive(Debug, Clone)]
enum Count {
    Now(usize),
    Later(Arc<Tally>),
    Kept(Arc<Outcome<Delivered>>),
    Counted(Arc<Census>),
}

impl Delivered {
    pub(super) fn now(streams: usize) -> Self {
        Self(Count::Now(streams))
    }

    pub(super) fn later(tally: Arc<Tally>) -> Self {
        Self(Count::Later(tally))
    }

    pub(super) fn kept(outcome: Arc<Outcome<Delivered>>) -> Self {
        Self(Count::Kept(outcome))
    }

    pub(super) fn counted(census: Arc<Census>) -> Self {
        Self(Count::Counted(census))
    }

    /// The number, if it is known now.
    pub(super) fn known(&self) -> Option<usize> {
        match &self.0 {
            Count::Now(streams) => Some(*streams),
            Count::Later(tally) => tally.known(),
            Count::Kept(outcome) => outcome.now()?.known(),
            Count::Counted(census) => census.known(),
        }
    }

    /// The number, once it is known and the event is as safe as the store promises. Resolves even if a worker ends
    /// meanwhile.
    ///
    /// # Errors
    /// If the event could not be kept, or if that is not known in time.
    pub async fn count(&self) -> Result<usize, NotKept> {
        let kept;
        let count = match &self.0 {
            Count::Kept(outcome) => {
                kept = outcome.wait().await?;
                &kept.0
            }
            known => known,
        };
        match count {
            Count::Now(streams) => Ok(*streams),
            Count::Later(tally) => Ok(tally.total().await),
            Count::Counted(census) => Ok(census.total().await),
            // What was kept is counted at once.
            Count::Kept(_) => Err(NotKept::Unknown),
        }
    }
}

/// Why nothing was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishError {
    /// A worker is too far behind to take more. To be tried again.
    Overloaded,
    /// The store takes no more: it is far behind, or ending. To be tried again.
    NotKept,
    /// The key was used in the last minutes, or earlier in the batch, for another publication.
    KeyReused {
        /// Which of the batch.
        index: usize,
    },
    /// A batch has more copies, one for each channel of each publication, than the store takes in one step.
    TooLarge,
    /// As many keys are remembered as may be. Those are not forgotten before their time, so this is to be tried again.
    TooManyKeys {
        /// How long it takes until the first is forgotten.
        wait: Duration,
    },
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => f.write_str("a worker is too far behind to take more events; try again"),
            Self::NotKept => f.write_str("the store cannot take more events; try again"),
            Self::TooLarge => f.write_str("the batch has too many recipients for one step; split it"),
            Self::KeyReused { .. } => f.write_str("the key was used for another publication"),
            Self::TooManyKeys { .. } => f.write_str("there is no room for another key; try again"),
        }
    }
}

impl std::error::Error for PublishError {}
