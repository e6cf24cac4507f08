//! `[store]`: how much history is kept. In this version it is kept in memory.

use std::time::Duration;

use super::problem::Problem;
use super::reader::Section;

/// A year: what is older belongs in the app's database.
const MAX_AGE: Duration = Duration::from_secs(365 * 24 * 3600);

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

impl Store {
    /// Reads `[store]`.
    pub(super) fn read(section: Option<Section<'_>>) -> Self {
        let default = Self::default();
        let Some(section) = section else {
            return default;
        };
        if let Some(kind) = section.value("kind") {
            let _: Option<()> = kind.choice(&[("memory", ())], &["disk", "redis"]);
        }
        let bytes = section.room("bytes", default.bytes, 1 << 10..=1 << 30);
        let max_bytes = section.room("max_bytes", default.max_bytes, 64 << 10..=1 << 40);
        if bytes > max_bytes {
            section.report.add(
                Problem::new("`bytes` of one channel is more than `max_bytes` of all of them")
                    .at(section.key_span(if section.has("max_bytes") { "max_bytes" } else { "bytes" })),
            );
        }
        Self {
            age: section.duration("age", default.age, Duration::from_secs(1)..=MAX_AGE),
            events: section.count("events", default.events, 1..=1_000_000),
            bytes,
            max_bytes,
            max_channels: section.count("max_channels", default.max_channels, 1..=100_000_000),
        }
    }
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
