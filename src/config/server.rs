//! `[server]`: what holds for the whole process.

use std::env;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::Secret;
use super::networks::Networks;
use super::pages::ErrorPages;
use super::problem::Fault;
use super::reader::{Section, Value};

/// Long enough for ordinary requests, short enough for an orchestrator's own deadline (Kubernetes waits 30 s too).
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Beyond it a deployment hangs on a stuck client.
const MAX_SHUTDOWN: Duration = Duration::from_secs(3600);
/// More threads than any machine of today has cores.
const MAX_WORKERS: u64 = 1024;
/// The shortest secret, in bytes: as long as what is guessed by nobody has to be.
const MIN_SECRET: usize = 16;
/// More than the ephemeral state of one kernel bears.
const MAX_CONNECTIONS: u64 = 10_000_000;

/// What bodies that wait may take: memory for a thousand of them, and as much disk as a small machine can spare.
const SPOOL_MEMORY: usize = 64 * 1024 * 1024;
const SPOOL_DISK: usize = 1024 * 1024 * 1024;
/// None, or up to 1 TiB.
const SPOOL_BOUNDS: RangeInclusive<u64> = 0..=1 << 40;

/// The process.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Worker threads, at least one. `workers = 0` in the file has become one per core.
    pub workers: usize,
    /// How long a graceful stop may take, streams included.
    pub shutdown_timeout: Duration,
    /// The most client connections at once. Without it, what the limit of file descriptors allows.
    pub max_connections: Option<usize>,
    /// The peers whose forwarding headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// What tickets are sealed with. Without it, something random that ends with the process.
    pub secret: Option<Secret>,
    /// Pages of one's own in the place of ours; none are ours.
    pub error_pages: Option<ErrorPages>,
    /// The file that switches proxy and files routes off while it is there.
    pub maintenance: Option<PathBuf>,
    /// Where the files are made that bodies wait in.
    pub temp_dir: PathBuf,
    /// What all bodies that wait may take of the memory together, in bytes.
    pub spool_memory: usize,
    /// What they may take of the disk, in bytes.
    pub spool_disk: usize,
}

impl Server {
    /// Reads `[server]`.
    pub(super) fn read(section: Option<Section<'_>>) -> Self {
        let mut server = Self::default();
        let Some(section) = section else {
            return server;
        };
        match section.count("workers", 0, 0..=MAX_WORKERS) {
            0 => {}
            workers => server.workers = workers,
        }
        server.shutdown_timeout =
            section.duration("shutdown_timeout", SHUTDOWN_TIMEOUT, Duration::ZERO..=MAX_SHUTDOWN);
        server.max_connections = section
            .value("max_connections")
            .and_then(|value| value.count(1..=MAX_CONNECTIONS))
            .and_then(|count| usize::try_from(count).ok());
        if let Some(value) = section.value("trusted_proxies") {
            server.trusted_proxies = TrustedProxies::read(&value);
        }
        if let Some(path) = section.value("temp_dir").and_then(|value| value.parse(not_empty)) {
            server.temp_dir = section.report.base.join(path);
        }
        server.spool_memory = section.room("spool_memory", SPOOL_MEMORY, SPOOL_BOUNDS);
        server.spool_disk = section.room("spool_disk", SPOOL_DISK, SPOOL_BOUNDS);
        server.secret = section.value("secret").and_then(|value| secret(&value, section.report.base));
        server.error_pages =
            section.value("error_pages").and_then(|value| ErrorPages::read(&value, section.report.base));
        server.maintenance = section.value("maintenance").and_then(|value| flag(&value, section.report.base));
        server
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            workers: cores(),
            shutdown_timeout: SHUTDOWN_TIMEOUT,
            max_connections: None,
            trusted_proxies: TrustedProxies::default(),
            secret: None,
            error_pages: None,
            maintenance: None,
            temp_dir: env::temp_dir(),
            spool_memory: SPOOL_MEMORY,
            spool_disk: SPOOL_DISK,
        }
    }
}

/// The peers whose `X-Forwarded-*` and `Forwarded` headers are kept; everybody else's are replaced.
pub type TrustedProxies = Networks;

/// Reads the path of a file that need not be there.
fn flag(value: &Value<'_>, base: &Path) -> Option<PathBuf> {
    value.parse(|text| match text {
        "" => Err(Fault::new("is empty").hint("write the path of a file, like \"/run/maintenance.html\"")),
        text if text.contains('\0') => Err(Fault::new("holds NUL")),
        text if base.join(text).is_dir() => Err(Fault::new("is a folder").hint("name a file in it")),
        text => Ok(base.join(text).components().collect()),
    })
}

fn secret(value: &Value<'_>, base: &Path) -> Option<Secret> {
    let secret = Secret::read(value, base)?;
    if secret.expose().len() < MIN_SECRET {
        value.fault(
            Fault::new(format!("is shorter than {MIN_SECRET} bytes"))
                .hint("`openssl rand -hex 32` makes a good one"),
        );
        return None;
    }
    Some(secret)
}

/// A path cannot be nothing.
fn not_empty(text: &str) -> Result<&str, Fault> {
    if text.is_empty() { Err(Fault::new("is empty")) } else { Ok(text) }
}

/// One worker per core that this process may run on.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
