//! What is kept of a body until whoever is slower takes it: memory first, then a file that has no name.
//!
//! First in, first out. Invariants: what is in memory is older than what is in the file; all spools of the process
//! together stay within the bounds of [`Spools`]; a file is gone with its spool, and with the process however that ends.
//! Files are written and read by the worker itself, at most [`PIECE`] bytes at a time: that is a copy to or from the page
//! cache (14 and 7 us of a median, measured), and takes less than to hand it to another thread. Large files are let go by
//! such a thread: to free their pages takes a quarter of a millisecond for each MiB.

mod budget;
mod file;

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

pub use budget::Spools;

use budget::Share;
use file::SpoolFile;

/// How much of a body is kept in memory, in bytes.
pub(super) const MEMORY: usize = 64 * 1024;

/// How much is written to a file or read from it at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// What is read ahead takes of `spool_disk` one part in this many; the rest is for what clients send.
const AHEAD_PART: usize = 2;

/// A body, or a part of one, that waits.
#[derive(Debug)]
pub(super) struct Spool {
    spools: Arc<Spools>,
    /// The oldest.
    memory: BytesMut,
    memory_share: Share,
    file: Option<SpoolFile>,
    has_had_file: bool,
    file_share: Share,
    /// What the file could not take.
    rest: Bytes,
}

/// Why something cannot be kept.
#[derive(Debug)]
pub enum SpoolError {
    /// All bodies together take as much as they may.
    Full,
    /// The file cannot be made, written or read.
    Io(io::Error),
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str(
                "the bodies that wait take as much as they may (spool_memory, spool_disk of [server])",
            ),
            Self::Io(error) => write!(f, "a body cannot be kept in temp_dir: {error}"),
        }
    }
}

impl std::error::Error for SpoolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Full => None,
            Self::Io(error) => Some(error),
        }
    }
}

impl Spool {
    /// An empty one.
    pub(super) fn new(spools: &Arc<Spools>) -> Self {
        Self {
            memory: BytesMut::new(),
            memory_share: Share::of_memory(spools),
            file: None,
            has_had_file: false,
            file_share: Share::of_disk(spools),
            rest: Bytes::new(),
            spools: spools.clone(),
        }
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> u64 {
        (self.memory.len() + self.rest.len()) as u64 + self.file.as_ref().map_or(0, SpoolFile::len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a file has ever been needed.
    pub(super) fn has_file(&self) -> bool {
        self.has_had_file
    }

    /// Whether there is room in memory for a piece more.
    pub(super) fn has_memory(&mut self) -> bool {
        self.is_in_memory()
            && self.memory.len() < MEMORY
            && self.memory_share.grow_to(self.memory.len() + PIECE)
    }

    /// Whether the file may grow by a piece and stay within `max` bytes, and what is read ahead within its part of the disk:
    /// slow readers are not to turn uploads away.
    pub(super) fn has_disk(&mut self, max: u64) -> bool {
        let written = self.file.as_ref().map_or(0, SpoolFile::written);
        let wanted = written + PIECE as u64;
        self.rest.is_empty()
            && wanted <= max
            && self.file_share.grow_within(usize::try_from(wanted).unwrap_or(usize::MAX), AHEAD_PART)
    }

    /// Keeps a piece, wherever there is room.
    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), SpoolError> {
        let length = self.memory.len() + data.len();
        if self.is_in_memory() && length <= MEMORY && self.memory_share.grow_to(length) {
            self.memory.extend_from_slice(data);
            return Ok(());
        }
        self.push_to_file(data)
    }

    /// Keeps a piece for which [`Self::has_memory`] or [`Self::has_disk`] has found room. If the file fails it is kept all
    /// the same, and there is no more room until it has been taken.
    pub(super) fn push_ahead(&mut self, data: Bytes) {
        let length = self.memory.len() + data.len();
        if self.is_in_memory() && self.memory.len() < MEMORY && self.memory_share.grow_to(length) {
            self.memory.extend_from_slice(&data);
        } else if let Err(error) = self.push_to_file(&data) {
            if let SpoolError::Io(error) = &error {
                self.spools.tell(error);
            }
            self.rest = data;
        }
    }

    fn is_in_memory(&self) -> bool {
        self.rest.is_empty() && self.file.as_ref().is_none_or(|file| file.len() == 0)
    }

    fn push_to_file(&mut self, data: &[u8]) -> Result<(), SpoolError> {
        let written = self.file.as_ref().map_or(0, SpoolFile::written);
        let wanted = usize::try_from(written).unwrap_or(usize::MAX).saturating_add(data.len());
        if !self.file_share.grow_to(wanted) {
            return Err(SpoolError::Full);
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(SpoolFile::new(self.spools.folder()).map_err(SpoolError::Io)?),
        };
        self.has_had_file = true;
        data.chunks(PIECE).try_for_each(|piece| file.append(piece)).map_err(SpoolError::Io)
    }

    /// Takes what has waited longest; none if nothing waits.
    pub(super) fn pop(&mut self) -> Result<Option<Bytes>, SpoolError> {
        if !self.memory.is_empty() {
            let bytes = self.memory.split().freeze();
            // A buffer of its own for what comes next: this one goes with what is taken.
            self.memory = BytesMut::new();
            self.memory_share.shrink_to(0);
            return Ok(Some(bytes));
        }
        if let Some(file) = self.file.as_mut().filter(|file| file.len() > 0) {
            let bytes = file.take(PIECE).map_err(SpoolError::Io)?;
            if file.len() == 0 {
                self.let_file_go();
            }
            return Ok(Some(bytes));
        }
        Ok(Some(std::mem::take(&mut self.rest)).filter(|rest| !rest.is_empty()))
    }

    fn let_file_go(&mut self) {
        if let Some(file) = self.file.take() {
            file.let_go();
            self.file_share.shrink_to(0);
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.let_file_go();
    }
}

#[cfg(test)]
mod tests;
