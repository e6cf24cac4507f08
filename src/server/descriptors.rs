//! How many descriptors the process has, and how many connections that makes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are not for clients' connections: one in this many. Apps, logs and publishers use them.
const RESERVED_SHARE: u64 = 32;

/// As many descriptors as the system lets us have. Every stream is one.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// How many connections there may be, if nobody says it: what descriptors leave beside a share for all else.
pub(super) fn default_connections() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors - descriptors / RESERVED_SHARE).unwrap_or(usize::MAX)
}
