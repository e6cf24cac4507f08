//! The hub: where publications become events and find their subscribers.

use std::time::Duration;

use smallvec::SmallVec;

use crate::event::{ChannelName, Event};

/// What a publisher hands in, checked: ready to get its id.
#[derive(Debug, Clone, PartialEq, Eq)]
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
