//! `[publish]`: the doors for the app's own publications.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Secret;

const SOCKET: &str = "sidestream.sock";
/// The owner and the group: an app usually runs as another user of the same group.
const MODE: u32 = 0o660;
const MAX_EVENT: usize = 256 * 1024;
const MAX_BATCH: usize = 1000;

/// Where the app publishes.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The Unix socket; none switches it off.
    pub socket: Option<PathBuf>,
    /// The permission bits of the socket.
    pub mode: u32,
    /// The users that may connect; without it, whoever the mode lets in. Never empty.
    pub allow_uids: Option<Vec<u32>>,
    /// A TCP address that takes publications too, and the token it asks for.
    pub http: Option<(SocketAddr, Secret)>,
    /// The largest publication, in bytes.
    pub max_event: usize,
    /// The most publications in one batch.
    pub max_batch: usize,
}

impl Publish {
    /// The defaults of the file; the socket stands in `base`.
    pub(super) fn new(base: &Path) -> Self {
        Self {
            socket: Some(base.join(SOCKET)),
            mode: MODE,
            allow_uids: None,
            http: None,
            max_event: MAX_EVENT,
            max_batch: MAX_BATCH,
        }
    }
}
