//! Where a server of an upstream listens: `http://`, `https://` or `unix:`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::problem::Fault;
use crate::config::unix_path;

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
    /// The same, under TLS.
    Tls {
        /// The host, which is also the name that its certificate must have.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Origin {
    /// Reads `http://HOST[:PORT]`, `https://HOST[:PORT]` or `unix:PATH`; a relative path is taken from `base`.
    pub(in crate::config) fn parse(text: &str, base: &Path) -> Result<Self, Fault> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path, base).map(Self::Unix);
        }
        let (rest, scheme) = if let Some(rest) = text.strip_prefix("https://") {
            (rest, Scheme::Https)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (rest, Scheme::Http)
        } else {
            let fault = Fault::new("is neither http://HOST:PORT, https://HOST nor unix:PATH");
            return Err(if text.starts_with('/') {
                fault.hint(format!("write \"unix:{text}\""))
            } else if !text.contains("://") && authority(text, Scheme::Http).is_ok() {
                fault.hint(format!("write \"http://{text}\""))
            } else {
                fault
            });
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if end < rest.len() {
            return Err(Fault::new("has a path, but requests keep the path they came with").hint(format!(
                "write \"{}{}\"",
                scheme.written(),
                &rest[..end]
            )));
        }
        authority(rest, scheme)
    }

    /// Whether it is spoken to under TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            Self::Tls { host, port } if host.contains(':') => write!(f, "https://[{host}]:{port}"),
            Self::Tls { host, port } => write!(f, "https://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[derive(Clone, Copy)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn written(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::Https => "https://",
        }
    }
}

/// Reads `HOST[:PORT]`.
fn authority(text: &str, scheme: Scheme) -> Result<Origin, Fault> {
    if text.contains('@') {
        return Err(Fault::new("holds a user, which an upstream does not take"));
    }
    let wrong = || Fault::new("is not a host and a port").hint("write \"http://127.0.0.1:8000\"");
    let authority: http::uri::Authority = text.parse().map_err(|_| wrong())?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = match authority.port() {
        Some(port) => port.as_str().parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
        None if text.ends_with(':') => return Err(wrong()),
        None => match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        },
    };
    if host.is_empty() || (authority.host().starts_with('[') && host.parse::<std::net::Ipv6Addr>().is_err()) {
        return Err(wrong());
    }
    let host = host.to_ascii_lowercase();
    Ok(match scheme {
        Scheme::Http => Origin::Tcp { host, port },
        Scheme::Https => Origin::Tls { host, port },
    })
}
