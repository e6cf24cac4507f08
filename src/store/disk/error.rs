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
    /// What it holds makes no sense, though its checksums are right.
    Damaged,
    /// The engine failed. After a failed write it takes no more until it is opened again.
    Engine(fjall::Error),
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
            Self::Damaged => f.write_str("the store holds what it never wrote; move it away and start anew"),
            Self::Engine(cause) => {
                write!(f, "the store failed: {cause}; look at the disk, then start Sidestream again")
            }
        }
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder { cause, .. } => Some(cause),
            Self::Engine(cause) => Some(cause),
            Self::Locked { .. } | Self::Newer { .. } | Self::Full { .. } | Self::Damaged => None,
        }
    }
}

impl From<fjall::Error> for DiskError {
    fn from(cause: fjall::Error) -> Self {
        Self::Engine(cause)
    }
}
