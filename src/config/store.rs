//! `[store]`: where history is kept, and how much of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::{Fault, Problem};
use super::reader::Section;
use super::redis::{self as server, RedisServer};

mod redis;

pub use redis::Redis;

/// A year: what is older belongs in the app's database.
const MAX_AGE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Where history is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// In memory, gone with the process.
    Memory,
    /// In a folder on disk.
    Disk {
        /// The folder.
        path: PathBuf,
        /// Whether an event is synced before it is acknowledged, and not just every moment.
        sync_always: bool,
    },
    /// In a Redis, for many nodes.
    Redis(Redis),
}

/// Where history is, and its bounds. What is over one of them makes room, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Where it is.
    pub kind: StoreKind,
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
    pub(super) fn read(section: Option<Section<'_>>, base: &Path) -> Self {
        let default = Self::default();
        let Some(section) = section else {
            return default;
        };
        let kind = kind(&section, base);
        let bytes = section.room("bytes", default.bytes, 1 << 10..=1 << 30);
        let max_bytes = section.room("max_bytes", default.max_bytes, 64 << 10..=1 << 40);
        if bytes > max_bytes {
            section.report.add(
                Problem::new("`bytes` of one channel is more than `max_bytes` of all of them")
                    .at(section.key_span(if section.has("max_bytes") { "max_bytes" } else { "bytes" })),
            );
        }
        Self {
            kind,
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
            kind: StoreKind::Memory,
            age: Duration::from_secs(24 * 3600),
            events: 1000,
            bytes: 4 << 20,
            max_bytes: 256 << 20,
            max_channels: 100_000,
        }
    }
}

/// The kinds, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Memory,
    Disk,
    Redis,
}

/// Reads where history is. A key that only one kind has is a mistake with the others: it would promise what is not kept.
fn kind(section: &Section<'_>, base: &Path) -> StoreKind {
    let choices = [("memory", Kind::Memory), ("disk", Kind::Disk), ("redis", Kind::Redis)];
    let kind = section.value("kind").and_then(|kind| kind.choice(&choices, &[])).unwrap_or(Kind::Memory);
    let path = section.value("path").and_then(|path| {
        path.parse(|text| match text {
            "" => Err(Fault::new("is empty").hint("name a folder, like \"/var/lib/sidestream\"")),
            text => Ok(base.join(text)),
        })
    });
    let sync =
        section.value("sync").and_then(|sync| sync.choice(&[("always", true), ("interval", false)], &[]));
    let redis = Redis::read(section);
    let disk_keys = ["path", "sync"].map(|key| (key, Kind::Disk, "disk"));
    let redis_keys = redis::KEYS.into_iter().chain(server::KEYS).map(|key| (key, Kind::Redis, "redis"));
    for (key, of, name) in disk_keys.into_iter().chain(redis_keys) {
        if kind != of && section.has(key) {
            let place = match kind {
                Kind::Memory => "in memory",
                Kind::Disk => "on disk",
                Kind::Redis => "in Redis",
            };
            let problem =
                Problem::new(format!("`{key}` is of `kind = \"{name}\"`, and this store is {place}"));
            section.report.add(problem.at(section.key_span(key)));
        }
    }
    match kind {
        Kind::Memory => StoreKind::Memory,
        Kind::Disk => {
            if !section.has("path") {
                section.report.add(
                    Problem::new("a store on disk needs a `path`, the folder that it is in")
                        .at(section.key_span("kind"))
                        .help("path = \"/var/lib/sidestream\""),
                );
            }
            StoreKind::Disk { path: path.unwrap_or_default(), sync_always: sync.unwrap_or(true) }
        }
        Kind::Redis => {
            RedisServer::check(redis.as_ref().map(|redis| &redis.server), section);
            // Without one there is a mistake, so that this store is never used.
            redis.map_or(StoreKind::Memory, StoreKind::Redis)
        }
    }
}
