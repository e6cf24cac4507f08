//! An address to listen on, as it is written.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::problem::Fault;
use crate::config::unix_path;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The name of a socket that the service manager has opened.
    Inherited(String),
}

impl Endpoint {
    /// Reads `0.0.0.0:443`, `[::]:80`, `:8080` (all IPv4 addresses), `localhost:8080`, `unix:PATH` or `fd:NAME`; a relative
    /// path is taken from `base`.
    pub(in crate::config) fn parse(text: &str, base: &Path) -> Result<Self, Fault> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path, base).map(Self::Unix);
        }
        if let Some(name) = text.strip_prefix("fd:") {
            return inherited(name).map(Self::Inherited);
        }
        if let Some((_, rest)) = text.split_once("://") {
            return Err(Fault::new("is a URL, not an address")
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
            Self::Inherited(name) => write!(f, "fd:{name}"),
        }
    }
}

/// Reads the name of a socket that the service manager has opened.
pub(in crate::config) fn inherited(name: &str) -> Result<String, Fault> {
    let hint = "write the FileDescriptorName= of its .socket unit, as in \"fd:web\"";
    match name {
        "" => Err(Fault::new("has no name").hint(hint)),
        _ if name.contains(|c: char| c == ':' || !c.is_ascii_graphic()) => {
            Err(Fault::new("has a name that no socket can have").hint(hint))
        }
        _ => Ok(name.to_owned()),
    }
}

/// Reads a TCP address to bind.
pub(in crate::config) fn tcp(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::new("is a port without an address").hint(format!("write \"0.0.0.0:{text}\"")));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text.parse::<IpAddr>() {
            Ok(ip) if ip.is_ipv6() => Fault::new("has no port").hint(format!("write \"[{ip}]:8080\"")),
            Ok(ip) => Fault::new("has no port").hint(format!("write \"{ip}:8080\"")),
            Err(_) if text == "localhost" => Fault::new("has no port").hint("write \"localhost:8080\""),
            Err(_) => Fault::new("is not an address").hint("write \"0.0.0.0:8080\" or \"unix:PATH\""),
        });
    };
    if let Ok(IpAddr::V6(ip)) = text.parse() {
        return Err(Fault::new("has no port").hint(format!("write \"[{ip}]:8080\"")));
    }
    let Ok(port) = port.parse::<u16>() else {
        return Err(Fault::new("has a port that is not a number from 0 to 65535"));
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
