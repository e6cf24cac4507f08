//! What is kept of an event, and how much of history.

use std::time::Duration;

use crate::event::{Frame, Timestamp};

/// How much history is kept.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long an event is kept.
    pub age: Duration,
    /// How many events a channel keeps.
    pub events: usize,
    /// How many bytes a channel keeps, the overhead of each record included.
    pub bytes: usize,
    /// How many bytes all channels keep.
    pub max_bytes: usize,
    /// How many channels have history.
    pub max_channels: usize,
}

/// One event as it is kept.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its place in the epoch.
    pub seq: u64,
    /// Its bytes.
    pub frame: Frame,
    /// When it was published.
    pub at: Timestamp,
    /// When it is of no use any more, if its publisher said so.
    pub expires: Option<Timestamp>,
    /// Its publisher's collapse key.
    pub collapse: Option<Box<str>>,
}

impl Record {
    /// Whether somebody who reads history is to get it.
    pub fn is_of_use(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}
