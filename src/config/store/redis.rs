//! `[store]` with `kind = "redis"`: where Redis is, and how this deployment is known there.

use std::time::Duration;

use crate::config::problem::Fault;
use crate::config::reader::Section;
use crate::config::redis::RedisServer;

/// The keys of this kind alone, besides those of its server.
pub(super) const KEYS: [&str; 2] = ["prefix", "retry_for"];

const DEFAULT_PREFIX: &str = "sidestream:";
/// Every key of the deployment begins with it, so it is kept short.
const MAX_PREFIX: usize = 64;
/// A publisher that waits longer has given up.
const MAX_RETRY: Duration = Duration::from_secs(10);

/// A Redis, and what of it belongs to this deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// The server.
    pub server: RedisServer,
    /// What every key and channel there begins with.
    pub prefix: String,
    /// How long a publication waits for a Redis that is away.
    pub retry_for: Duration,
}

impl Redis {
    /// Reads the keys of this kind; all of them are asked for, whatever the kind is.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let server = RedisServer::read(section);
        let prefix = section.value("prefix").and_then(|prefix| prefix.parse(prefix_of));
        let retry_for = section.duration("retry_for", Duration::ZERO, Duration::ZERO..=MAX_RETRY);
        Some(Self { server: server?, prefix: prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned()), retry_for })
    }
}

fn prefix_of(text: &str) -> Result<String, Fault> {
    if text.is_empty() || text.len() > MAX_PREFIX {
        return Err(Fault::new(format!("needs from 1 to {MAX_PREFIX} characters")));
    }
    // Patterns of an access list are made of it.
    if let Some(found) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"_.:/-".contains(*c)) {
        return Err(Fault::new(format!("must not hold {found:?}")).hint("letters, digits and _ . : / -"));
    }
    Ok(text.to_owned())
}
