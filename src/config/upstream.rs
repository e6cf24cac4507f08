//! `[upstreams.NAME]`: the apps behind Sidestream.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::Fault;
use super::reader::Section;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// Larger than nginx's 1 MiB, which is the first thing everybody raises.
const MAX_BODY: u64 = 10 * 1024 * 1024;

/// An app that takes longer than a day is a stream, and those do not go through here.
const TIMEOUT_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
/// Up to 1 TiB; bodies are streamed, so this is no question of memory.
pub(super) const BODY_BOUNDS: RangeInclusive<u64> = 0..=1 << 40;

/// An app, and how it is reached.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name in the file.
    pub name: String,
    /// Where it listens; at least one.
    pub servers: Vec<Origin>,
    /// What kind of server runs it.
    pub kind: UpstreamKind,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long it may take to the head of a response, and between two reads of its body.
    pub response_timeout: Duration,
    /// The largest request body, in bytes.
    pub max_body: u64,
}

impl Upstream {
    /// Reads an `[upstreams.NAME]`.
    pub(super) fn read(name: &str, section: &Section<'_>) -> Option<Self> {
        let servers =
            section.required("servers", "write servers = [\"http://127.0.0.1:8000\"] or [\"unix:PATH\"]");
        let kinds =
            [("wsgi", UpstreamKind::Wsgi), ("asgi", UpstreamKind::Asgi), ("node", UpstreamKind::Node)];
        let kind = section.value("kind").and_then(|value| value.choice(&kinds, &[])).unwrap_or_default();
        let connect_timeout = section.duration("connect_timeout", CONNECT_TIMEOUT, TIMEOUT_BOUNDS);
        let response_timeout = section.duration("response_timeout", RESPONSE_TIMEOUT, TIMEOUT_BOUNDS);
        let max_body = section.size("max_body", MAX_BODY, BODY_BOUNDS);

        let value = servers?;
        let entries = value.list();
        if entries.is_empty() && value.node().is_array() {
            value.fault(Fault::new("is empty").hint("an upstream has at least one server"));
        }
        let mut servers = Vec::new();
        for entry in entries {
            match entry.parse(|text| Origin::parse(text, section.report.base)) {
                Some(origin) if servers.contains(&origin) => entry.fault(Fault::new("is there twice")),
                Some(origin) => servers.push(origin),
                None => {}
            }
        }
        Some(Self { kind, connect_timeout, response_timeout, max_body, ..Self::new(name, servers) })
    }

    /// An upstream with the defaults of the file.
    pub(super) fn new(name: impl Into<String>, servers: Vec<Origin>) -> Self {
        Self {
            name: name.into(),
            servers,
            kind: UpstreamKind::default(),
            connect_timeout: CONNECT_TIMEOUT,
            response_timeout: RESPONSE_TIMEOUT,
            max_body: MAX_BODY,
        }
    }
}

/// What runs the app; it decides how long an idle connection to it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamKind {
    /// gunicorn, uWSGI and their like.
    #[default]
    Wsgi,
    /// uvicorn, daphne, hypercorn.
    Asgi,
    /// Next.js and other Node servers.
    Node,
}

/// Where a server of an upstream listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A host (a name, or an address without brackets) and its port.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Origin {
    /// Reads `http://HOST[:PORT]` or `unix:PATH`; a relative path is taken from `base`.
    pub(super) fn parse(text: &str, base: &Path) -> Result<Self, Fault> {
        if let Some(path) = text.strip_prefix("unix:") {
            return super::unix_path(path, base).map(Self::Unix);
        }
        if text.starts_with("https://") {
            return Err(Fault::new("uses https towards an upstream, which is not in this version")
                .hint("reach the app by http:// or by unix:PATH"));
        }
        let Some(rest) = text.strip_prefix("http://") else {
            let fault = Fault::new("is neither http://HOST:PORT nor unix:PATH");
            return Err(if text.starts_with('/') {
                fault.hint(format!("write \"unix:{text}\""))
            } else if !text.contains("://") && authority(text).is_ok() {
                fault.hint(format!("write \"http://{text}\""))
            } else {
                fault
            });
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if end < rest.len() {
            return Err(Fault::new("has a path, but requests keep the path they came with")
                .hint(format!("write \"http://{}\"", &rest[..end])));
        }
        authority(rest)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Reads `HOST[:PORT]`.
fn authority(text: &str) -> Result<Origin, Fault> {
    if text.contains('@') {
        return Err(Fault::new("holds a user, which an upstream does not take"));
    }
    let wrong = || Fault::new("is not a host and a port").hint("write \"http://127.0.0.1:8000\"");
    let authority: http::uri::Authority = text.parse().map_err(|_| wrong())?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = match authority.port() {
        Some(port) => port.as_str().parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
        None if text.ends_with(':') => return Err(wrong()),
        None => 80,
    };
    if host.is_empty() || (authority.host().starts_with('[') && host.parse::<std::net::Ipv6Addr>().is_err()) {
        return Err(wrong());
    }
    Ok(Origin::Tcp { host: host.to_ascii_lowercase(), port })
}
