//! Stores: where history is kept, and what a resuming subscriber gets from it.
//!
//! Invariant of every store: a read past a cursor gives exactly the kept events above it, in order, once each, and
//! says so if any event above the cursor that was published to those channels may be gone (but for events that
//! outlived their own `ttl` or were collapsed by a newer one: those are not missed). What users have read of it is kept
//! beside it ([`Marks`]).

use crate::event::ChannelName;

mod disk;
mod found;
mod log;
mod logs;
mod marks;
mod memory;
mod mirror;
mod page;
mod record;
pub mod redis;

pub use disk::{Aside, Disk, DiskError, DiskWriter, Kept, KeptKey, OpenDisk, SyncMode};
pub use found::Found;
pub use logs::Logs;
pub use marks::{MAX_APART, MAX_UNSETTLED, Mark, Marks};
pub use memory::Memory;
pub use mirror::Mirror;
pub use page::{PAGE_BYTES, PAGE_EVENTS, Page};
pub use record::{Limits, Record};

/// Where history is.
#[derive(Debug)]
pub enum Store {
    /// In memory, gone with the process.
    Memory(Memory),
    /// On disk. What is written is written by a [`DiskWriter`].
    Disk(Disk),
    /// In Redis, for many nodes. Here is what this one holds of it.
    Mirror(Mirror),
}

/// How much is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreTotals {
    /// Events, counted once for each of their channels.
    pub events: u64,
    /// Their bytes, with what each costs besides.
    pub bytes: u64,
    /// Channels that have any.
    pub channels: u64,
}

impl Store {
    /// How much is kept.
    pub fn totals(&self) -> StoreTotals {
        match self {
            Self::Memory(memory) => memory.totals(),
            Self::Mirror(mirror) => mirror.totals(),
            Self::Disk(disk) => disk.totals(),
        }
    }

    /// What of history is in memory, if it is there; else the disk that it is on.
    pub fn logs(&self) -> Result<&Logs, &Disk> {
        match self {
            Self::Memory(memory) => Ok(memory.logs()),
            Self::Mirror(mirror) => Ok(mirror.logs()),
            Self::Disk(disk) => Err(disk),
        }
    }

    /// How many events a channel has, and the newest it ever had.
    pub fn channel(&self, channel: &ChannelName) -> Option<(usize, u64)> {
        match self.logs() {
            Ok(logs) => logs.channel(channel),
            Err(disk) => disk.channel(channel),
        }
    }
}
