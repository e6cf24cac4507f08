//! Why the app's answer is not there.

use std::fmt;
use std::io;

use crate::http::HopByHopError;

/// Why a request could not be forwarded or has no answer.
#[derive(Debug)]
pub enum ProxyError {
    /// The configuration names an upstream that is not there; it was checked, so this does not happen.
    NoUpstream,
    /// The request would have fields removed that the app needs.
    Request(HopByHopError),
    /// The target cannot be forwarded.
    Target,
    /// The app needs to know the length of a body, and the client did not say it.
    LengthRequired,
    /// The body is larger than allowed.
    TooLarge {
        /// The bound, in bytes.
        max: u64,
    },
    /// The client stopped sending its body.
    BodyStalled,
    /// The client went away within its body.
    ClientGone,
    /// No server of the upstream could be connected to.
    Connect(io::Error),
    /// Connecting took too long.
    ConnectTimeout,
    /// The head of the answer took too long.
    ResponseTimeout,
    /// The connection broke, or what came was not HTTP.
    Broken(hyper::Error),
    /// The app switched protocols without being asked, or to another one.
    UnaskedUpgrade,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUpstream => f.write_str("there is no such upstream"),
            Self::Request(error) => error.fmt(f),
            Self::Target => f.write_str("the request target cannot be forwarded"),
            Self::LengthRequired => f.write_str("the app needs the length of the body, by Content-Length"),
            Self::TooLarge { max } => write!(f, "the body is larger than {max} bytes"),
            Self::BodyStalled => f.write_str("the client stopped sending its body"),
            Self::ClientGone => f.write_str("the client went away within its body"),
            Self::Connect(error) => write!(f, "cannot connect to the app: {error}"),
            Self::ConnectTimeout => f.write_str("connecting to the app took too long"),
            Self::ResponseTimeout => f.write_str("the app took too long to answer"),
            Self::Broken(error) => write!(f, "the app broke off its answer: {error}"),
            Self::UnaskedUpgrade => f.write_str("the app switched to a protocol that it was not asked for"),
        }
    }
}

impl std::error::Error for ProxyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Request(error) => Some(error),
            Self::Connect(error) => Some(error),
            Self::Broken(error) => Some(error),
            _ => None,
        }
    }
}
