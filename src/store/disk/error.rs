//! What can go wrong with a store on disk, in words for whoever runs it.

use std::path::PathBuf;
use std::{fmt, io};

/// Why a store cannot be opened, read or written to.
#[derive(Debug)]
pub enum DiskError {
    /// Another process has it open.
    Locked {
        /// Where it is.
        path: PathBuf,
    },
    /// It was written by a newer version.
    Newer {
        /// Where it is.
        path: PathBuf,
    },
    /// Its folder cannot be made or written to.
    Folder {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// There is next to no room left on its disk.
    Full {
        /// Where it is.
        path: PathBuf,
    },
    /// It holds what was never written to it.
    Damaged {
        /// How that was seen.
        what: String,
    },
    /// It is being opened again after a failure. In a moment it can be read.
    Away,
    /// The engine failed. After a failed write it takes no more until it is opened again.
    Engine(fjall::Error),
}

impl DiskError {
    /// Something that makes no sense, though its checksum is right.
    pub(super) fn strange(what: &str) -> Self {
        Self::Damaged { what: format!("it holds {what} that makes no sense") }
    }

    /// Whether it says that files are not as they were written, and not that the disk refuses.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Engine(fjall::Error::Io(cause) | fjall::Error::Storage(fjall::LsmError::Io(cause))) => {
                Self::is_of_damage(cause)
            }
            // Which of both it was, a poisoned engine does not say.
            Self::Engine(fjall::Error::Poisoned | fjall::Error::Locked) => false,
            Self::Engine(_) => true,
            Self::Locked { .. }
            | Self::Newer { .. }
            | Self::Folder { .. }
            | Self::Full { .. }
            | Self::Away => false,
        }
    }

    /// Whether an error of input says that a file is shorter than it was, is gone, or holds nonsense.
    pub(super) fn is_of_damage(cause: &io::Error) -> bool {
        // What the system refuses has a number; that nothing is there, or not at such a place, is what damage asks for.
        matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput)
            || cause.raw_os_error().is_none()
    }

    /// Whether the engine had failed before, so that it has not looked at what it was given.
    pub fn had_failed(&self) -> bool {
        matches!(self, Self::Engine(fjall::Error::Poisoned))
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path } => write!(
                f,
                "the store {} is in use by another process; give each its own [store] path",
                path.display()
            ),
            Self::Newer { path } => write!(
                f,
                "the store {} was written by a newer version; run that one, or give another [store] path",
                path.display()
            ),
            Self::Folder { path, cause } => write!(
                f,
                "cannot write to the store {}: {cause}; it must be a folder that this user may write to",
                path.display()
            ),
            Self::Full { path } => {
                write!(f, "the disk of the store {} is full; make room on it", path.display())
            }
            Self::Damaged { what } => write!(f, "the store is damaged: {what}"),
            Self::Away => f.write_str("the store is being opened again; try again in a moment"),
            Self::Engine(cause) => write!(f, "the store failed: {cause}; look at its disk"),
        }
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder { cause, .. } => Some(cause),
            Self::Engine(cause) => Some(cause),
            Self::Locked { .. }
            | Self::Newer { .. }
            | Self::Full { .. }
            | Self::Damaged { .. }
            | Self::Away => None,
        }
    }
}

impl From<fjall::Error> for DiskError {
    fn from(cause: fjall::Error) -> Self {
        Self::Engine(cause)
    }
}

impl From<io::Error> for DiskError {
    fn from(cause: io::Error) -> Self {
        Self::Engine(fjall::Error::Io(cause))
    }
}
