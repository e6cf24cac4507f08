//! `[[listen]]`: where clients come in, and how long they may take.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Certificate;
use super::problem::Fault;

/// Room for the head of a request, all its lines together.
const MAX_HEADERS: usize = 64 * 1024;

/// One listening socket.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The address it is bound to.
    pub endpoint: Endpoint,
    /// The hosts it answers for, in lower case; empty is any. `*.example.com` covers one or more labels.
    pub server_names: Vec<String>,
    /// The certificates, chosen by SNI; empty is cleartext.
    pub tls: Vec<Certificate>,
    /// Whether HTTP/2 is offered (under TLS only).
    pub http2: bool,
    /// How long a client may take for each step.
    pub deadlines: Deadlines,
    /// The most bytes of a request head.
    pub max_headers: usize,
}

impl Listen {
    /// A cleartext listener with the defaults of the file.
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            server_names: Vec::new(),
            tls: Vec::new(),
            http2: true,
            deadlines: Deadlines::default(),
            max_headers: MAX_HEADERS,
        }
    }
}

/// How long a client may take. Every one is above zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlines {
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request's head to its last.
    pub header_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// Between two reads of a request body.
    pub body_stall: Duration,
    /// Between two writes that the client takes.
    pub write_stall: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(75),
            body_stall: Duration::from_secs(30),
            write_stall: Duration::from_secs(60),
        }
    }
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `0.0.0.0:443`, `[::]:80`, `:8080` (all IPv4 addresses), `localhost:8080` or `unix:PATH`; a relative path
    /// is taken from `base`.
    pub(super) fn parse(text: &str, base: &Path) -> Result<Self, Fault> {
        if let Some(path) = text.strip_prefix("unix:") {
            return super::unix_path(path, base).map(Self::Unix);
        }
        if text.starts_with("fd:") {
            return Err(Fault::new("names an inherited socket, which is not in this version"));
        }
        if let Some((_, rest)) = text.split_once("://") {
            return Err(Fault::new("is an URL, not an address")
                .hint(format!("write \"{}\"", rest.trim_end_matches('/'))));
        }
        tcp(text).map(Self::Tcp)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Reads a TCP address to bind.
pub(super) fn tcp(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::new("is a port without an address").hint(format!("write \"0.0.0.0:{text}\"")));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text.parse::<IpAddr>() {
            Ok(_) => Fault::new("has no port").hint(format!("write \"{text}:8080\"")),
            Err(_) => Fault::new("is not an address").hint("write \"0.0.0.0:8080\" or \"unix:PATH\""),
        });
    };
    if let Ok(IpAddr::V6(ip)) = text.parse() {
        return Err(Fault::new("has no port").hint(format!("write \"[{ip}]:8080\"")));
    }
    let Ok(port) = port.parse::<u16>() else {
        return Err(Fault::new("has no port from 0 to 65535"));
    };
    match host {
        "" | "*" => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        "localhost" => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => match host.parse::<IpAddr>() {
            Ok(ip) => Err(Fault::new("is not an address").hint(format!("write \"[{ip}]:{port}\""))),
            Err(_) => Err(Fault::new("has a name where an IP address belongs")
                .hint(format!("write \"0.0.0.0:{port}\"; of names only localhost is known here"))),
        },
    }
}
