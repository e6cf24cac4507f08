//! `[publish]`: the doors for the app's own publications.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::Fault;
use super::reader::{Section, Value};
use super::{Endpoint, Secret, listen, unix_path};

const SOCKET: &str = "sidestream.sock";
/// The owner and the group: an app usually runs as another user of the same group.
const MODE: u32 = 0o660;
const MAX_EVENT: usize = 256 * 1024;
const MAX_BATCH: usize = 1000;
/// The largest batch is less than what may wait for a worker or the disk, or it could never be taken.
const MAX_BATCH_BOUNDS: RangeInclusive<u64> = 1..=50_000;
const KEY_WINDOW: Duration = Duration::from_secs(300);
/// Publishers try again within seconds; who needs a day for it keeps books of its own.
const KEY_WINDOW_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// Enough for 3,000 publications with keys a second. Each takes about 300 bytes.
const MAX_KEYS: usize = 1_000_000;

/// Where the app publishes.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// The Unix socket; none switches it off.
    pub socket: Option<SocketPlace>,
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
    /// How long an idempotency key is remembered.
    pub key_window: Duration,
    /// How many idempotency keys are remembered at once; no less than a batch can have.
    pub max_keys: usize,
}

/// Where the Unix socket of publishers comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketPlace {
    /// It is made at this path.
    Path(PathBuf),
    /// The service manager has opened it under this name.
    Inherited(String),
}

impl fmt::Display for SocketPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(name) => write!(f, "fd:{name}"),
        }
    }
}

impl Publish {
    /// Reads `[publish]`. `taken` are the addresses that listeners have.
    pub(super) fn read(section: Option<Section<'_>>, base: &Path, taken: &[Endpoint]) -> Self {
        let mut publish = Self::new(base);
        let Some(section) = section else {
            return publish;
        };
        if let Some(value) = section.value("socket") {
            publish.socket = socket(&value, base, taken);
        }
        if let Some(value) = section.value("mode") {
            publish.mode = mode(&value).unwrap_or(MODE);
            if matches!(publish.socket, Some(SocketPlace::Inherited(_))) {
                value.fault(
                    Fault::new("has no effect on a socket that was opened by others")
                        .hint("write SocketMode= in its .socket unit"),
                );
            }
        }
        publish.allow_uids = section.value("allow_uids").map(|value| uids(&value));
        publish.http = http(&section, taken);
        publish.max_event = section.room("max_event", MAX_EVENT, 1 << 10..=64 << 20);
        publish.max_batch = section.count("max_batch", MAX_BATCH, MAX_BATCH_BOUNDS);
        publish.key_window = section.duration("key_window", KEY_WINDOW, KEY_WINDOW_BOUNDS);
        publish.max_keys = section.count("max_keys", MAX_KEYS, 1..=100_000_000);
        if publish.max_keys < publish.max_batch
            && let Some(value) = section.value("max_keys")
        {
            let fault =
                Fault::new("is less than `max_batch`, so a full batch with keys could never be published");
            value.fault(fault.hint(format!("write {} or more", publish.max_batch)));
        }
        publish
    }

    /// The defaults of the file; the socket stands in `base`.
    pub(super) fn new(base: &Path) -> Self {
        Self {
            socket: Some(SocketPlace::Path(base.join(SOCKET))),
            mode: MODE,
            allow_uids: None,
            http: None,
            max_event: MAX_EVENT,
            max_batch: MAX_BATCH,
            key_window: KEY_WINDOW,
            max_keys: MAX_KEYS,
        }
    }
}

/// Reads where the socket is; the empty path switches it off.
fn socket(value: &Value<'_>, base: &Path, taken: &[Endpoint]) -> Option<SocketPlace> {
    let place = value.parse(|text| match (text, text.strip_prefix("fd:")) {
        ("", _) => Ok(None),
        (_, Some(name)) => listen::inherited(name).map(SocketPlace::Inherited).map(Some),
        _ => {
            let path = unix_path(text.strip_prefix("unix:").unwrap_or(text), base);
            path.map(SocketPlace::Path).map(Some)
        }
    })??;
    let (endpoint, own) = match place.clone() {
        SocketPlace::Path(path) => (Endpoint::Unix(path), "give it a path of its own"),
        SocketPlace::Inherited(name) => (Endpoint::Inherited(name), "give it a socket of its own"),
    };
    if taken.contains(&endpoint) {
        value.fault(Fault::new("is taken by a [[listen]] of this file").hint(own));
    }
    let SocketPlace::Path(path) = &place else { return Some(place) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        value
            .fault(Fault::new("is in a folder that does not exist").hint("make the folder first (mkdir -p)"));
    }
    Some(place)
}

/// Reads permission bits, which are octal by custom.
fn mode(value: &Value<'_>) -> Option<u32> {
    if !value.is_text() {
        value.fault(Fault::new("must be a string of octal digits").hint("write \"0660\""));
        return None;
    }
    value.parse(|text| match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 && text.len() >= 3 && !text.starts_with('+') => Ok(mode),
        _ => Err(Fault::new("is not the mode of a file").hint("write octal digits, like \"0660\"")),
    })
}

fn uids(value: &Value<'_>) -> Vec<u32> {
    let entries = value.list();
    if entries.is_empty() && value.node().is_array() {
        value.fault(
            Fault::new("is empty, so nobody could publish").hint("leave it out to go by `mode` alone"),
        );
    }
    let uid = |entry: &Value<'_>| {
        if entry.is_text() {
            entry.fault(Fault::new("is a name, not the number of a user").hint("`id -u NAME` tells it"));
            return None;
        }
        u32::try_from(entry.count(0..=u64::from(u32::MAX))?).ok()
    };
    entries.iter().filter_map(uid).collect()
}

/// Reads the TCP door, which never stands open without a token.
fn http(section: &Section<'_>, taken: &[Endpoint]) -> Option<(SocketAddr, Secret)> {
    let (http, token) = (section.value("http"), section.value("token"));
    match (&http, &token) {
        (Some(http), None) => {
            let fault = Fault::new("needs a `token`: a port has no permissions as a socket has");
            http.fault(fault.hint("add token = \"env:NAME\""));
        }
        (None, Some(token)) => {
            let fault = Fault::new("is only for `http`, which is not there");
            token.fault(fault.hint("the socket goes by `mode` and `allow_uids`"));
        }
        _ => {}
    }
    let address = http.and_then(|value| {
        let address = value.parse(listen::tcp)?;
        if address.port() != 0 && taken.contains(&Endpoint::Tcp(address)) {
            value
                .fault(Fault::new("is taken by a [[listen]] of this file").hint("give it a port of its own"));
        }
        Some(address)
    });
    let token = token.and_then(|value| Secret::read(&value, section.report.base));
    address.zip(token)
}
