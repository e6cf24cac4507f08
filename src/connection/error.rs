//! How a connection can end before its time.

use std::fmt;

use super::proxy_protocol::HeaderError;

/// How a connection ended, for the log.
#[derive(Debug)]
pub enum ConnectionError {
    /// It did not begin with a header of the PROXY protocol.
    Header(HeaderError),
    /// It came from a peer whose word on its client is not believed.
    Untrusted,
    /// Its address has too many already.
    TooMany,
    /// The host that was named in the handshake is not served.
    UnknownName,
    /// The TLS handshake failed.
    Handshake(std::io::Error),
    /// A deadline passed.
    TimedOut(&'static str),
    /// hyper says what was wrong.
    Http(hyper::Error),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(error) => error.fmt(f),
            Self::Untrusted => {
                f.write_str("the peer is not in trusted_proxies, and this listener is for those")
            }
            Self::TooMany => f.write_str("its address has as many connections as it may have"),
            Self::UnknownName => {
                f.write_str("the host that was named in the handshake is not in server_names")
            }
            Self::Handshake(error) => write!(f, "the TLS handshake failed: {error}"),
            Self::TimedOut(what) => write!(f, "the client took too long: {what}"),
            Self::Http(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ConnectionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Handshake(error) => Some(error),
            Self::Http(error) => Some(error),
            Self::Header(error) => Some(error),
            Self::TimedOut(_) | Self::Untrusted | Self::TooMany | Self::UnknownName => None,
        }
    }
}
