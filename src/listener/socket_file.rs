//! The file of a Unix socket that clients come by.
//!
//! Invariant: what is removed is the socket that was made or taken here, and only while no other process serves it.

use std::io;
use std::path::{Path, PathBuf};

use crate::handover::Claim;

/// A Unix socket's file, removed with this, if it is still the same, and ours.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    claim: Claim,
}

impl SocketFile {
    pub(super) fn new(path: &Path, claim: &Claim) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)?, claim: claim.clone() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.claim.is_ours() && identity(&self.path).is_ok_and(|now| now == self.identity) {
            // If it cannot be removed, the next start finds it stale.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
