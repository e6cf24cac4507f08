//! Where a Redis server is and how it is spoken to.
//!
//! Invariant: a [`RedisServer`] that exists can be connected to without asking anything again, speaks RESP3, and never prints
//! its password: what is shown of it is the address alone.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use ::redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    TlsCertificates,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::problem::{Fault, Problem};
use crate::config::reader::Section;
use crate::config::{Secret, unix_path};

/// The largest file of authorities, in bytes; that of a whole system is a quarter of it.
const MAX_CA: u64 = 1 << 20;
/// What to write.
const EXAMPLE: &str = "write \"redis://127.0.0.1:6379\", \"rediss://…\" or \"unix:PATH\"";

/// A Redis server.
#[derive(Clone)]
pub struct RedisServer {
    client: Client,
    shown: String,
    /// The authorities of its certificate, as PEM.
    ca: Option<Vec<u8>>,
}

impl RedisServer {
    /// Reads `url`, `ca`, `username` and `password` of a section.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let base = section.report.base;
        let url = section.required("url", "url = \"redis://127.0.0.1:6379\"");
        let ca = section.value("ca");
        let username = section.value("username");
        let username = username.map(|value| Secret::read(&value, base));
        let password = section.value("password").map(|value| Secret::read(&value, base));
        let mut info = url.as_ref()?.parse(|text| {
            let url = Secret::resolve_in(text, base).map_err(|error| error.fault())?;
            address(url.expose(), base)
        })?;
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let ca = match ca {
            None => None,
            Some(ca) if !is_tls => {
                ca.fault(Fault::new("is for a server at rediss://…, and this one is not"));
                None
            }
            Some(ca) => Some(ca.parse(|path| authorities(&base.join(path)))?),
        };
        let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        // One right less that a user of ours needs.
        settings = settings.set_skip_set_lib_name();
        for (key, given, is_there) in [
            ("username", username.is_some(), settings.username().is_some()),
            ("password", password.is_some(), settings.password().is_some()),
        ] {
            if given && is_there {
                let problem = Problem::new(format!("`{key}` is in the `url` already"));
                section.report.add(problem.at(section.key_span(key)));
            }
        }
        if let Some(username) = username {
            settings = settings.set_username(username?.expose());
        }
        if let Some(password) = password {
            settings = settings.set_password(password?.expose());
        }
        if settings.username().is_some() && settings.password().is_none() {
            let problem = section.problem("there is a user for Redis, and no password");
            section.report.add(problem.help("password = \"env:NAME\""));
        }
        info = info.set_redis_settings(settings);
        let shown = shown(&info);
        let client = match (is_tls, &ca) {
            (true, Some(pem)) => Client::build_with_tls(
                info,
                TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) },
            ),
            _ => Client::open(info),
        };
        client
            .map_err(|error| {
                section.report.add(section.problem(format!("this Redis cannot be used: {error}")));
            })
            .ok()
            .map(|client| Self { client, shown, ca })
    }

    /// What makes connections to it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The number of the database.
    pub fn database(&self) -> i64 {
        self.client.get_connection_info().redis_settings().db()
    }
}

impl PartialEq for RedisServer {
    /// Whether both are the same server, spoken to as the same user.
    fn eq(&self, other: &Self) -> bool {
        let said = |server: &Self| {
            let redis = server.client.get_connection_info().redis_settings().clone();
            (redis.username().map(str::to_owned), redis.password().map(str::to_owned))
        };
        self.shown == other.shown && self.ca == other.ca && said(self) == said(other)
    }
}

impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisServer({})", self.shown)
    }
}

/// Reads an address. No fault repeats it, since a password may be in it.
fn address(text: &str, base: &Path) -> Result<ConnectionInfo, Fault> {
    let (scheme, rest) =
        text.split_once(':').ok_or_else(|| Fault::new("is no address of a Redis").hint(EXAMPLE))?;
    match scheme {
        "unix" | "redis+unix" => {
            let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
            let path: PathBuf = unix_path(path.strip_prefix("//").unwrap_or(path), base)?;
            let database = match query.split_once('=') {
                None if query.is_empty() => 0,
                Some(("db", number)) => {
                    number.parse().map_err(|_| Fault::new("has no number behind `db=`"))?
                }
                _ => return Err(Fault::new("has a query other than `?db=NUMBER`")),
            };
            let info = ConnectionAddr::Unix(path).into_connection_info();
            let info = info.map_err(|_| Fault::new("is no path of a socket"))?;
            Ok(info.set_redis_settings(RedisConnectionInfo::default().set_db(database)))
        }
        "redis" | "rediss" | "valkey" | "valkeys" => {
            if text.contains(['#', '?']) {
                return Err(Fault::new("has something behind `#` or `?`, which is not known here")
                    .hint("a password is percent-encoded in an address; or give it as `password`"));
            }
            text.into_connection_info().map_err(|_| Fault::new("is no address of a Redis").hint(EXAMPLE))
        }
        _ => Err(Fault::new("is no address of a Redis").hint(EXAMPLE)),
    }
}

/// Reads the certificates of authorities, as PEM.
fn authorities(path: &Path) -> Result<Vec<u8>, Fault> {
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
    Ok(pem)
}

fn shown(info: &ConnectionInfo) -> String {
    let database = info.redis_settings().db();
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{database}"),
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}/{database}"),
        ConnectionAddr::Unix(path) => format!("unix:{} db {database}", path.display()),
        _ => "redis".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_secrets() {
        let base = Path::new("/srv");
        for (text, expected) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379/0"),
            ("redis://app:s3cret@cache/2", "redis://cache:6379/2"),
            ("rediss://:s3cret@cache:7000", "rediss://cache:7000/0"),
            ("unix:/run/redis.sock", "unix:/run/redis.sock db 0"),
            ("unix:redis.sock?db=3", "unix:/srv/redis.sock db 3"),
            ("redis+unix:///run/redis.sock", "unix:/run/redis.sock db 0"),
        ] {
            assert_eq!(shown(&address(text, base).unwrap()), expected, "{text}");
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
}
