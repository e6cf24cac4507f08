//! Stores: where history is kept, and what a resuming subscriber gets from it.
//!
//! Invariant of every store: a read past a cursor gives exactly the kept events above it, in order, once each, and
//! says so if any event above the cursor that was published to those channels may be gone (but for events that
//! outlived their own `ttl` or were collapsed by a newer one: those are not missed). What users have read of it is kept
//! beside it ([`Marks`]).

use crate::event::ChannelName;

mod disk;
mod marks;
mod memory;
mod page;
mod record;
pub mod redis;

pub use disk::{Aside, Disk, DiskError, DiskWriter, Kept, KeptKey, OpenDisk, SyncMode};
pub use marks::{MAX_APART, MAX_UNSETTLED, Mark, Marks};
pub use memory::Memory;
pub use page::{PAGE_BYTES, PAGE_EVENTS, Page};
pub use record::{Limits, Record};

/// Where history is.
#[derive(Debug)]
pub enum Store {
    /// In memory, gone with the process.
    Memory(Memory),
    /// On disk. What is written is written by a [`DiskWriter`].
    Disk(Disk),
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
            Self::Disk(disk) => disk.totals(),
        }
    }

    /// How many events a channel has, and the newest it ever had.
    pub fn channel(&self, channel: &ChannelName) -> Option<(usize, u64)> {
        match self {
            Self::Memory(memory) => memory.channel(channel),
            Self::Disk(disk) => disk.channel(channel),
        }
    }
}
