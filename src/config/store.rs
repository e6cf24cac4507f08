//! `[store]`: how much history is kept. In this version it is kept in memory.

use std::time::Duration;

/// The bounds of history. What is over one of them makes room, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// How long an event is kept.
    pub age: Duration,
    /// The most events of one channel.
    pub events: usize,
    /// The most bytes of one channel.
    pub bytes: usize,
    /// The most bytes of all channels.
    pub max_bytes: usize,
    /// The most channels.
    pub max_channels: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(24 * 3600),
            events: 1000,
            bytes: 4 << 20,
            max_bytes: 256 << 20,
            max_channels: 100_000,
        }
    }
}
