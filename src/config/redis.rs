//! Where a Redis is and how it is spoken to: the keys that `[store]` and `[[source]]` have in common.
//!
//! Invariant: no message and nothing that is shown of a [`RedisServer`] has its password in it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redis::{ConnectionAddr, IntoConnectionInfo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::problem::{Fault, Problem};
use super::reader::Section;
use super::{Secret, unix_path};

/// The keys that are read here.
pub(super) const KEYS: [&str; 6] = ["url", "ca", "username", "password", "sentinels", "master"];

/// The port of a Sentinel.
const SENTINEL_PORT: u16 = 26379;
const MAX_SENTINELS: usize = 16;
/// The largest file of authorities, in bytes; that of a whole system is a quarter of it.
const MAX_CA: u64 = 1 << 20;
/// What to write.
const EXAMPLE: &str = "write \"redis://127.0.0.1:6379\", \"rediss://…\" or \"unix:PATH\"";

/// A Redis server, and who one is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisServer {
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

impl RedisPlace {
    fn is_tls(&self) -> bool {
        match self {
            Self::Tcp { tls, .. } | Self::Sentinels { tls, .. } => *tls,
            Self::Unix(_) => false,
        }
    }
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

impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.database {
            0 => write!(f, "{}", self.place),
            database => write!(f, "{}, database {database}", self.place),
        }
    }
}

impl RedisServer {
    /// Reads [`KEYS`]; all of them are asked for. None if it is not said where the server is, or not rightly.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let base = section.report.base;
        let url = section.value("url").map(|url| {
            let secret = Secret::read(&url, base)?;
            address(secret.expose(), base).map_err(|fault| url.fault(fault)).ok()
        });
        let is_plain = matches!(&url, Some(Some(server)) if !server.place.is_tls());
        let ca = section.value("ca").map(|ca| match is_plain {
            true => {
                ca.fault(
                    Fault::new("is for a Redis at rediss://…, and this one is not")
                        .hint("write url = \"rediss://…\""),
                );
                None
            }
            false => ca.parse(|path| authorities(&base.join(path))),
        });
        let username = section.value("username").map(|username| Secret::read(&username, base));
        let password = section.value("password").map(|password| Secret::read(&password, base));
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
        let mut server = match (url, sentinels) {
            (Some(url), _) => url?,
            (None, at) => {
                let place = RedisPlace::Sentinels { at: at?, master: master?, tls: ca.is_some() };
                Self { place, database: 0, username: None, password: None, ca: None }
            }
        };
        for (key, is_there) in
            [("username", server.username.is_some()), ("password", server.password.is_some())]
        {
            if is_there && section.has(key) {
                let problem = Problem::new(format!("`{key}` is in the `url` already"));
                section.report.add(problem.at(section.key_span(key)));
            }
        }
        // One that could not be read has been told of.
        if let Some(username) = username.flatten() {
            server.username = Some(username.expose().to_owned());
        }
        if let Some(password) = password.flatten() {
            server.password = Some(password);
        }
        server.ca = ca.flatten();
        Some(server)
    }

    /// Reports what is missing or does not go together in a section that is to have one.
    pub(super) fn check(server: Option<&Self>, section: &Section<'_>) {
        let mistake = |key: &'static str, message: &str, help: &str| {
            let problem = Problem::new(message).at(section.key_span(key));
            section.report.add(problem.help(help));
        };
        match (section.has("url"), section.has("sentinels")) {
            (false, false) if !section.misspells(&["url", "sentinels"]) => mistake(
                "kind",
                "a Redis needs a `url`, or `sentinels` and a `master`",
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
        let (is_named, is_proven) = match server {
            Some(server) => (server.username.is_some(), server.password.is_some()),
            // What a wrong address says of them is not known.
            None => (section.has("username"), section.has("url")),
        };
        if is_named && !is_proven && !section.has("password") {
            let key = if section.has("username") { "username" } else { "url" };
            mistake(key, "there is a user for Redis, and no password", "password = \"env:REDIS_PASSWORD\"");
        }
    }
}

/// Reads an address. It may hold a password, so no fault repeats any of it.
fn address(text: &str, base: &Path) -> Result<RedisServer, Fault> {
    let wrong = || Fault::new("is no address of a Redis").hint(EXAMPLE);
    let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
    let nobody = |place, database| RedisServer { place, database, username: None, password: None, ca: None };
    match scheme {
        "unix" | "redis+unix" => {
            let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
            let path = unix_path(path.strip_prefix("//").unwrap_or(path), base)?;
            let database = match query.split_once('=') {
                None if query.is_empty() => 0,
                Some(("db", number)) => {
                    number.parse().map_err(|_| Fault::new("has no number behind `db=`"))?
                }
                _ => return Err(Fault::new("has a query other than `?db=NUMBER`")),
            };
            Ok(nobody(RedisPlace::Unix(path), database))
        }
        "redis" | "rediss" | "valkey" | "valkeys" => {
            if text.contains(['#', '?']) {
                return Err(Fault::new("has something behind `#` or `?`, which is not known here")
                    .hint("a password is percent-encoded in an address; or give it as `password`"));
            }
            let info = text.into_connection_info().map_err(|_| wrong())?;
            let place = match info.addr() {
                ConnectionAddr::Tcp(host, port) => {
                    RedisPlace::Tcp { host: host.clone(), port: *port, tls: false }
                }
                ConnectionAddr::TcpTls { host, port, .. } => {
                    RedisPlace::Tcp { host: host.clone(), port: *port, tls: true }
                }
                _ => return Err(wrong()),
            };
            let redis = info.redis_settings();
            Ok(RedisServer {
                username: redis.username().map(str::to_owned),
                password: redis.password().and_then(Secret::literal),
                ..nobody(place, u32::try_from(redis.db()).map_err(|_| wrong())?)
            })
        }
        _ => Err(wrong()),
    }
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
        // Something behind the host that is no port.
        None if text != authority.host() => return Err(wrong()),
        None => SENTINEL_PORT,
    };
    Ok((host.to_owned(), port))
}

/// Reads the certificates of authorities, as PEM.
fn authorities(path: &Path) -> Result<Arc<[u8]>, Fault> {
    let unreadable = |error: std::io::Error| Fault::new(format!("cannot be read: {error}"));
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_CA {
        return Err(Fault::new("is larger than 1MiB, which no file of authorities is"));
    }
    let pem = fs::read(path).map_err(unreadable)?;
    let mut certificates = CertificateDer::pem_slice_iter(&pem).peekable();
    if certificates.peek().is_none() {
        return Err(Fault::new("holds no certificate").hint("name the PEM file of the authority"));
    }
    if certificates.any(|certificate| certificate.is_err()) {
        return Err(Fault::new("is not valid PEM"));
    }
    Ok(pem.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_secrets() {
        let base = Path::new("/srv");
        for (text, expected) in [
            ("redis://127.0.0.1:6379", "127.0.0.1:6379"),
            ("redis://app:s3cret@cache/2", "cache:6379, database 2"),
            ("rediss://:s3cret@[::1]:7000", "[::1]:7000"),
            ("valkey://cache", "cache:6379"),
            ("unix:/run/redis.sock", "unix:/run/redis.sock"),
            ("unix:redis.sock?db=3", "unix:/srv/redis.sock, database 3"),
            ("redis+unix:///run/redis.sock", "unix:/run/redis.sock"),
        ] {
            let server = address(text, base).unwrap();
            assert_eq!(server.to_string(), expected, "{text}");
            assert!(!format!("{server:?}").contains("s3cret"), "{text}");
        }
        for text in [
            "",
            "cache",
            "http://cache",
            "rediss://cache/#insecure",
            "redis://cache/x",
            "unix:",
            "unix:/a?b=1",
        ] {
            assert!(address(text, base).is_err(), "{text}");
        }
    }

    #[test]
    fn sentinels_have_a_host_and_maybe_a_port() {
        for (text, expected) in
            [("10.0.0.5", ("10.0.0.5", 26379)), ("ten:1", ("ten", 1)), ("[::1]:7", ("::1", 7))]
        {
            let (host, port) = sentinel(text).unwrap();
            assert_eq!((&*host, port), expected);
        }
        for text in ["", ":1", "ten:", "ten:0", "ten:x", "a@ten:1", "ten:70000"] {
            assert!(sentinel(text).is_err(), "{text}");
        }
    }
}
