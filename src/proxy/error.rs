//! Why the app's answer is not there, or not whole.

use std::fmt;
use std::io;

use super::request::BodyError;
use super::spool::SpoolError;
use crate::http::HopByHopError;
use crate::metrics::FAILURES;

/// Why a request could not be forwarded or has no answer.
#[derive(Debug)]
pub enum ProxyError {
    /// The configuration names an upstream that is not there; it was checked, so this does not happen.
    NoUpstream,
    /// The request would have fields removed that the app needs.
    Request(HopByHopError),
    /// The target cannot be forwarded.
    Target,
    /// The body is larger than allowed.
    TooLarge {
        /// The bound, in bytes.
        max: u64,
    },
    /// The client stopped sending its body, or sends it too slowly.
    BodyStalled,
    /// The body cannot be kept until all of it has come.
    Spool(SpoolError),
    /// The client went away within its body.
    ClientGone,
    /// The app is at fault.
    App(Box<AppError>),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUpstream => f.write_str("there is no such upstream"),
            Self::Request(error) => error.fmt(f),
            Self::Target => f.write_str("the request target cannot be forwarded"),
            Self::TooLarge { max } => write!(f, "the body is larger than {max} bytes"),
            Self::BodyStalled => f.write_str("the client stopped sending its body, or sends it too slowly"),
            Self::Spool(error) => error.fmt(f),
            Self::ClientGone => f.write_str("the client went away within its body"),
            Self::App(error) => error.fmt(f),
        }
    }
}

impl ProxyError {
    /// What went wrong, in a word that is the same for all of its kind.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoUpstream | Self::Request(_) | Self::Target => "request",
            Self::TooLarge { .. } => "body_too_large",
            Self::BodyStalled => "body_stalled",
            Self::Spool(_) => "spool",
            Self::ClientGone => "client_gone",
            Self::App(error) => FAILURES[error.fault.place()],
        }
    }
}

impl std::error::Error for ProxyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Request(error) => Some(error),
            Self::App(error) => Some(error),
            Self::Spool(error) => Some(error),
            _ => None,
        }
    }
}

/// Which app gave no answer, and why.
#[derive(Debug)]
pub struct AppError {
    /// The upstream's name in the file.
    pub upstream: String,
    /// The server that was tried; of several, the last.
    pub server: String,
    /// What went wrong there.
    pub fault: AppFault,
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream {:?} at {}: {}", self.upstream, self.server, self.fault)
    }
}

impl std::error::Error for AppError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.fault)
    }
}

/// Why an app gave no answer.
#[derive(Debug)]
pub enum AppFault {
    /// It could not be connected to.
    Connect(io::Error),
    /// The name of its host cannot be found.
    Resolve(io::Error),
    /// Connecting took too long.
    ConnectTimeout,
    /// It has as much to do as it may (`max_connections`), and too many requests wait already.
    QueueFull,
    /// It has as much to do as it may, and the request's turn did not come in time.
    QueueTimeout,
    /// The head of the answer took too long.
    ResponseTimeout,
    /// The connection broke, or what came was not HTTP.
    Broken(AnswerFault),
    /// The app switched protocols without being asked, or to another one.
    UnaskedUpgrade,
}

impl fmt::Display for AppFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) if error.kind() == io::ErrorKind::AddrNotAvailable => write!(
                f,
                "cannot connect: {error}; every local port towards it is taken: let the app listen on a Unix \
                 socket, or widen net.ipv4.ip_local_port_range"
            ),
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Resolve(error) => write!(f, "the name of its host cannot be found: {error}"),
            Self::ConnectTimeout => f.write_str("connecting took too long (connect_timeout)"),
            Self::QueueFull => {
                f.write_str("it is busy (max_connections), and too many requests wait already")
            }
            Self::QueueTimeout => f.write_str("it was busy for too long (max_connections, queue_timeout)"),
            Self::ResponseTimeout => f.write_str("it took too long to answer (response_timeout)"),
            Self::Broken(fault) => write!(f, "it gave no usable answer: {fault}"),
            Self::UnaskedUpgrade => f.write_str("it switched to a protocol that it was not asked for"),
        }
    }
}

impl std::error::Error for AppFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(error) | Self::Resolve(error) => Some(error),
            Self::Broken(fault) => Some(fault),
            _ => None,
        }
    }
}

impl AppFault {
    /// Its place among [`FAILURES`].
    pub(super) fn place(&self) -> usize {
        match self {
            Self::Connect(_) => 0,
            Self::Resolve(_) => 1,
            Self::ConnectTimeout => 2,
            Self::QueueFull => 3,
            Self::QueueTimeout => 4,
            Self::ResponseTimeout => 5,
            Self::Broken(_) => 6,
            Self::UnaskedUpgrade => 7,
        }
    }

    /// Whether nobody is there at the moment: an app that is being restarted looks like this.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::Connect(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::ConnectionReset
            ),
            Self::Resolve(_) => true,
            _ => false,
        }
    }

    /// Whether there was no connection at all.
    pub(super) fn is_of_connecting(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Resolve(_) | Self::ConnectTimeout)
    }
}

/// What is wrong with an answer, or with the connection that it came over.
#[derive(Debug)]
pub enum AnswerFault {
    /// The connection broke.
    Io(io::Error),
    /// The connection ended before the answer did.
    Truncated,
    /// The head is not one of HTTP/1.
    Head(httparse::Error),
    /// The head is larger than is taken.
    HeadTooLarge,
    /// More interim answers came than are taken.
    Interim,
    /// The length is no number, or several that differ.
    Length,
    /// The transfer codings are none that can be passed on.
    Coding,
    /// The line of a chunk is malformed or too long.
    Chunk,
    /// The trailers are malformed.
    Trailers(httparse::Error),
    /// The trailers are larger than is taken.
    TrailersTooLarge,
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection broke: {error}"),
            Self::Truncated => f.write_str("the connection ended before the answer did"),
            Self::Head(error) => write!(f, "its head is not HTTP/1: {error}"),
            Self::HeadTooLarge => write!(f, "its head is larger than {} bytes", super::head::MAX_HEAD),
            Self::Interim => f.write_str("too many interim answers came before it"),
            Self::Length => f.write_str("its Content-Length is no number, or several that differ"),
            Self::Coding => f.write_str("its Transfer-Encoding cannot be passed on"),
            Self::Chunk => f.write_str("the size of a chunk is malformed"),
            Self::Trailers(error) => write!(f, "its trailers are malformed: {error}"),
            Self::TrailersTooLarge => f.write_str("its trailers are too large"),
        }
    }
}

impl std::error::Error for AnswerFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Head(error) | Self::Trailers(error) => Some(error),
            _ => None,
        }
    }
}

/// Why an answer ended before its end.
#[derive(Debug)]
pub enum AnswerError {
    /// The app stopped sending it.
    Stalled,
    /// What was read ahead of it cannot be read again.
    Spool(SpoolError),
    /// The app's connection broke, or what came was not HTTP.
    Broken(AnswerFault),
    /// The request that it answers was broken off.
    Request(BodyError),
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled => f.write_str("the app stopped sending its answer"),
            Self::Spool(error) => write!(f, "what was read ahead of the answer is lost: {error}"),
            Self::Broken(fault) => write!(f, "the app broke off its answer: {fault}"),
            Self::Request(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AnswerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Stalled => None,
            Self::Spool(error) => Some(error),
            Self::Broken(fault) => Some(fault),
            Self::Request(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_which_app_it_is_and_what_to_do() {
        let told = |error: io::Error| {
            let fault = AppFault::Connect(error);
            let (upstream, server) = ("shop".to_owned(), "http://127.0.0.1:8000".to_owned());
            ProxyError::App(Box::new(AppError { upstream, server, fault })).to_string()
        };
        assert_eq!(
            told(io::ErrorKind::ConnectionRefused.into()),
            "upstream \"shop\" at http://127.0.0.1:8000: cannot connect: connection refused"
        );
        assert!(told(rustix::io::Errno::ADDRNOTAVAIL.into()).contains("on a Unix socket, or widen"));
    }
}
