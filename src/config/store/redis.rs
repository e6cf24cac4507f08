//! `[store]` with `kind = "redis"`: where Redis is, and how this deployment is known there.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::problem::{Fault, Problem};
use crate::config::reader::Section;
use crate::config::secret::Secret;

/// The keys of this kind alone.
pub(super) const KEYS: [&str; 8] =
    ["url", "prefix", "ca", "username", "password", "sentinels", "master", "retry_for"];

const DEFAULT_PREFIX: &str = "sidestream:";
/// Every key of the deployment begins with it, so it is kept short.
const MAX_PREFIX: usize = 64;
/// A publisher that waits longer has given up.
const MAX_RETRY: Duration = Duration::from_secs(10);
/// The port of a Sentinel.
const SENTINEL_PORT: u16 = 26379;
const MAX_SENTINELS: usize = 16;
/// The largest file of authorities, in bytes.
const MAX_CA: u64 = 1 << 20;

/// A Redis, and what of it belongs to this deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Where it is.
    pub place: RedisPlace,
    /// Which of its databases.
    pub database: u32,
    /// The user of its access list; none is `default`.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The authorities of its certificate (PEM); none are those of the system.
    pub ca: Option<Arc<[u8]>>,
    /// What every key and channel there begins with.
    pub prefix: String,
    /// How long a publication waits for a Redis that is away.
    pub retry_for: Duration,
}

/// Where a Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisPlace {
    /// At a host and a port.
    Tcp {
        /// A name, or an address without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether it is spoken to under TLS.
        tls: bool,
    },
    /// At a Unix socket.
    Unix(PathBuf),
    /// Where one of these Sentinels says.
    Sentinels {
        /// Hosts and ports; at least one.
        at: Vec<(String, u16)>,
        /// What they call it.
        master: String,
        /// Whether it, and they, are spoken to under TLS.
        tls: bool,
    },
}

impl fmt::Display for RedisPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Sentinels { at, master, .. } => {
                let at: Vec<_> = at.iter().map(|(host, port)| format!("{host}:{port}")).collect();
                write!(f, "{master} of the Sentinels at {}", at.join(", "))
            }
        }
    }
}

impl Redis {
    /// Reads the keys of this kind; all of them are asked for, whatever the kind is.
    pub(super) fn read(section: &Section<'_>, base: &Path) -> Self {
        let url = section.value("url").and_then(|url| {
            let secret = Secret::read(&url, base)?;
            address(secret.expose()).map_err(|fault| url.fault(fault)).ok()
        });
        let prefix = section.value("prefix").and_then(|prefix| prefix.parse(prefix_of));
        let ca = section.value("ca").and_then(|ca| ca.parse(|path| authorities(&base.join(path))));
        let username = section.value("username").and_then(|name| name.text()).map(str::to_owned);
        let password = section.value("password").and_then(|password| Secret::read(&password, base));
        let sentinels = section.value("sentinels").map(|list| {
            let entries = list.list();
            if entries.is_empty() || entries.len() > MAX_SENTINELS {
                list.fault(Fault::new(format!("needs from 1 to {MAX_SENTINELS} entries")));
            }
            entries.iter().filter_map(|entry| entry.parse(sentinel)).collect::<Vec<_>>()
        });
        let master = section.value("master").and_then(|master| match master.text()? {
            "" => {
                master.fault(Fault::new("is empty").hint("it is the name in `sentinel monitor NAME …`"));
                None
            }
            name => Some(name.to_owned()),
        });
        let retry_for = section.duration("retry_for", Duration::ZERO, Duration::ZERO..=MAX_RETRY);
        let mut read = url.unwrap_or_default();
        if let Some(at) = sentinels {
            let tls = ca.is_some();
            read.place = Some(RedisPlace::Sentinels { at, master: master.unwrap_or_default(), tls });
        }
        Self {
            place: read.place.unwrap_or(RedisPlace::Unix(PathBuf::new())),
            database: read.database,
            username: username.or(read.username),
            password: password.or(read.password),
            ca,
            prefix: prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned()),
            retry_for,
        }
    }

    /// Reports what does not go together, once the kind is known to be this one.
    pub(super) fn check(&self, section: &Section<'_>) {
        let mistake = |key: &'static str, message: &str, help: &str| {
            let problem = Problem::new(message).at(section.key_span(key));
            section.report.add(problem.help(help));
        };
        match (section.has("url"), section.has("sentinels")) {
            (false, false) => mistake(
                "kind",
                "a store in Redis needs a `url`, or `sentinels` and a `master`",
                "url = \"redis://127.0.0.1:6379\"",
            ),
            (true, true) => mistake(
                "url",
                "`url` and `sentinels` both say where Redis is",
                "leave one of them out: with `sentinels`, the user is `username` and `password`",
            ),
            _ => {}
        }
        if section.has("sentinels") != section.has("master") {
            let key = if section.has("master") { "master" } else { "sentinels" };
            mistake(
                key,
                "`sentinels` and `master` go together",
                "master = \"mymaster\", the name in their `sentinel monitor` line",
            );
        }
        let is_tls = match &self.place {
            RedisPlace::Tcp { tls, .. } | RedisPlace::Sentinels { tls, .. } => *tls,
            RedisPlace::Unix(_) => false,
        };
        if section.has("ca") && section.has("url") && !is_tls {
            mistake("ca", "`ca` is for a Redis at rediss://…, and this one is not", "url = \"rediss://…\"");
        }
        if section.has("username") && self.password.is_none() {
            mistake("username", "`username` has no `password`", "password = \"env:REDIS_PASSWORD\"");
        }
    }
}

/// What a URL says.
#[derive(Default)]
struct Address {
    place: Option<RedisPlace>,
    database: u32,
    username: Option<String>,
    password: Option<Secret>,
}

/// Reads a URL. It may hold a password, so no message repeats any of it.
fn address(url: &str) -> Result<Address, Fault> {
    let wrong = || {
        Fault::new("is not the URL of a Redis")
            .hint("write redis://HOST:PORT, rediss://USER:PASSWORD@HOST:PORT/DATABASE or unix:/PATH")
    };
    let info = url.into_connection_info().map_err(|_| wrong())?;
    let place = match info.addr() {
        ConnectionAddr::Tcp(host, port) => RedisPlace::Tcp { host: host.clone(), port: *port, tls: false },
        ConnectionAddr::TcpTls { insecure: true, .. } => {
            return Err(Fault::new("asks for TLS without verification").hint("give the authority as `ca`"));
        }
        ConnectionAddr::TcpTls { host, port, .. } => {
            RedisPlace::Tcp { host: host.clone(), port: *port, tls: true }
        }
        ConnectionAddr::Unix(path) => RedisPlace::Unix(path.clone()),
        _ => return Err(wrong()),
    };
    let redis = info.redis_settings();
    Ok(Address {
        place: Some(place),
        database: u32::try_from(redis.db()).map_err(|_| wrong())?,
        username: redis.username().map(str::to_owned),
        password: redis.password().and_then(Secret::literal),
    })
}

fn sentinel(text: &str) -> Result<(String, u16), Fault> {
    let wrong = || Fault::new("is not HOST or HOST:PORT").hint("like \"10.0.0.5:26379\"");
    let authority: http::uri::Authority = text.parse().map_err(|_| wrong())?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || text.contains('@') {
        return Err(wrong());
    }
    let port = match authority.port() {
        Some(port) => port.as_str().parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
        None if text.ends_with(':') => return Err(wrong()),
        None => SENTINEL_PORT,
    };
    Ok((host.to_owned(), port))
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

fn authorities(path: &Path) -> Result<Arc<[u8]>, Fault> {
    let unreadable = |error: std::io::Error| Fault::new(format!("cannot be read: {error}"));
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_CA {
        return Err(Fault::new("is larger than 1MiB, which no file of authorities is"));
    }
    let text = fs::read(path).map_err(unreadable)?;
    let mut found = 0;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        certificate.map_err(|_| Fault::new("is not valid PEM"))?;
        found += 1;
    }
    match found {
        0 => Err(Fault::new("holds no certificate").hint("name the PEM file of the authority")),
        _ => Ok(text.into()),
    }
}
