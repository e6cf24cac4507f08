//! What all spools of the process may take together.
//!
//! Invariant: what a spool has taken is given back when it is dropped. Shares grow by whole steps, so that the counters,
//! which all workers write, are touched once in a while and not for each piece.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::file::SpoolFile;
use crate::limits::Quiet;

/// Where bodies are kept, and how much of them.
#[derive(Debug)]
pub struct Spools {
    folder: PathBuf,
    memory: Bound,
    disk: Bound,
    /// Files that fail, which each piece of each slow client's may.
    failing: Quiet,
}

#[derive(Debug)]
struct Bound {
    taken: AtomicUsize,
    max: usize,
}

/// The steps by which a spool takes memory and disk, in bytes.
const MEMORY_STEP: usize = 16 * 1024;
const DISK_STEP: usize = 256 * 1024;

impl Spools {
    /// At most so many bytes of memory, and so many in files of a folder.
    pub fn new(folder: PathBuf, memory: usize, disk: usize) -> Arc<Self> {
        let bound = |max| Bound { taken: AtomicUsize::new(0), max };
        Arc::new(Self { folder, memory: bound(memory), disk: bound(disk), failing: Quiet::new() })
    }

    /// The bytes that are taken now: of memory, and of the disk.
    pub fn taken(&self) -> (usize, usize) {
        (self.memory.taken.load(Ordering::Relaxed), self.disk.taken.load(Ordering::Relaxed))
    }

    /// Tells the operator, once a second at most, of a file that cannot be written.
    pub(super) fn tell(&self, error: &io::Error) {
        if let Some(times) = self.failing.happened(Instant::now()) {
            tracing::warn!(%error, times, "an answer cannot be read ahead: temp_dir cannot be written");
        }
    }

    /// Whether a file can be made.
    pub fn check(&self) -> io::Result<()> {
        SpoolFile::new(&self.folder).map(drop)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Bound {
    /// Takes so many bytes, if all that is taken stays within the bound divided by `part`.
    fn take(&self, bytes: usize, part: usize) -> bool {
        let add = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.max / part);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }
}

/// What one spool has taken.
#[derive(Debug)]
pub(super) struct Share {
    spools: Arc<Spools>,
    bound: fn(&Spools) -> &Bound,
    step: usize,
    bytes: usize,
}

impl Share {
    pub(super) fn of_memory(spools: &Arc<Spools>) -> Self {
        Self { spools: spools.clone(), bound: |spools| &spools.memory, step: MEMORY_STEP, bytes: 0 }
    }

    pub(super) fn of_disk(spools: &Arc<Spools>) -> Self {
        Self { spools: spools.clone(), bound: |spools| &spools.disk, step: DISK_STEP, bytes: 0 }
    }

    /// Takes what is missing to so many bytes. Says whether there was so much.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        self.grow_within(bytes, 1)
    }

    /// The same, if all spools together stay within the bound divided by `part`.
    pub(super) fn grow_within(&mut self, bytes: usize, part: usize) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        let wanted = bytes.checked_next_multiple_of(self.step).unwrap_or(bytes);
        let grows = (self.bound)(&self.spools).take(wanted - self.bytes, part);
        if grows {
            self.bytes = wanted;
        }
        grows
    }

    /// Gives back all but so many bytes.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        if let Some(back) = self.bytes.checked_sub(bytes).filter(|back| *back > 0) {
            self.bytes = bytes;
            (self.bound)(&self.spools).taken.fetch_sub(back, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}
