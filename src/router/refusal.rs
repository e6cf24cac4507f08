//! The one table from what went wrong to a status, a sentence and when to come back.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_RANGE, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use super::front::Stopped;
use crate::auth::AuthError;
use crate::files::FilesError;
use crate::http::{HandedFile, Reply, RequestError, reply};
use crate::proxy::{AppFault, ProxyError};
use crate::stream::StreamError;

/// Seconds after which an app that does not answer is worth another try.
const RETRY_UPSTREAM: u32 = 2;

/// Seconds after which maintenance may be over.
const RETRY_MAINTENANCE: u32 = 30;

/// What a client is told of an answer that is none.
const NO_ANSWER: &str = "The app gave no usable answer.";

/// Why a request is not served.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is not one that can be looked at.
    Request(RequestError),
    /// Its host is not one of this connection's.
    Misdirected,
    /// No route is for it.
    NoRoute,
    /// It came in cleartext, and there is where it should have come.
    Cleartext(HeaderValue),
    /// It did not come past what stands before its route.
    Stopped(Box<Stopped>),
    /// A mistake of ours ended it.
    Ours,
    /// A stream is asked for with a request that has a body.
    StreamWithBody,
    /// There is no stream for it.
    Stream(StreamError),
    /// There is no file for it.
    Files(FilesError),
    /// The app did not answer it.
    Proxy(ProxyError),
    /// The app hands in a file that lies beneath no internal route.
    HandedNowhere(HandedFile),
}

impl From<Stopped> for Refusal {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(Box::new(stopped))
    }
}

impl From<FilesError> for Refusal {
    fn from(error: FilesError) -> Self {
        Self::Files(error)
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<ProxyError> for Refusal {
    fn from(error: ProxyError) -> Self {
        Self::Proxy(error)
    }
}

impl Refusal {
    /// The status, and the sentence that a client is told. What only the operator should know is not in it.
    fn said(&self) -> (StatusCode, String) {
        match self {
            Self::Request(error) => (error.status(), sentence(error)),
            Self::Misdirected => {
                (StatusCode::MISDIRECTED_REQUEST, "This host is not served on this connection.".to_owned())
            }
            Self::NoRoute => (StatusCode::NOT_FOUND, "There is nothing here.".to_owned()),
            Self::Cleartext(_) => {
                (StatusCode::PERMANENT_REDIRECT, "This site is served over https.".to_owned())
            }
            Self::Stopped(stopped) => stopped_said(stopped),
            Self::Ours => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here.".to_owned()),
            Self::StreamWithBody => {
                (StatusCode::BAD_REQUEST, "A request for a stream has no body.".to_owned())
            }
            Self::Stream(error) => (stream_status(error), sentence(error)),
            Self::Files(error) => (files_status(error), sentence(error)),
            Self::Proxy(error) => proxy_said(error),
            Self::HandedNowhere(_) => (StatusCode::BAD_GATEWAY, NO_ANSWER.to_owned()),
        }
    }

    /// Why, in a word for the log.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Misdirected => "host",
            Self::NoRoute => "route",
            Self::Cleartext(_) => "cleartext",
            Self::Stopped(stopped) => match &**stopped {
                Stopped::Denied => "denied",
                Stopped::Maintenance(_) => "maintenance",
                Stopped::Rate(_) => "rate",
                Stopped::Password(_) | Stopped::Busy => "password",
            },
            Self::Ours => "panic",
            Self::StreamWithBody => "body",
            Self::Stream(error) => stream_word(error),
            Self::Files(_) => "file",
            Self::Proxy(_) if self.is_upstreams() => "upstream",
            Self::Proxy(_) => "request",
            Self::HandedNowhere(_) => "upstream",
        }
    }

    /// Whether a page of the operator's may stand for it. What scripts read on the path of a stream is a part of the
    /// subscriber's contract, and a redirect is not seen.
    pub(super) fn takes_page(&self) -> bool {
        !matches!(self, Self::Stream(_) | Self::StreamWithBody | Self::Cleartext(_))
    }

    /// Whether the app is at fault, not the client.
    pub(super) fn is_upstreams(&self) -> bool {
        matches!(self, Self::Proxy(_) | Self::HandedNowhere(_))
            && self.said().0.is_server_error()
            && !self.is_of_spool()
    }

    /// Whether the body of the request could not be kept.
    pub(super) fn is_of_spool(&self) -> bool {
        matches!(self, Self::Proxy(ProxyError::Spool(_)))
    }

    /// Answers the request.
    pub(super) fn respond(&self, json: bool) -> Response<Bytes> {
        let (status, message) = self.said();
        let retry_after = match self {
            Self::Stream(StreamError::Limited(limited)) => Some(rounded_up(limited.wait)),
            Self::Stopped(stopped) => match &**stopped {
                Stopped::Rate(wait) => Some(rounded_up(*wait)),
                Stopped::Maintenance(_) => Some(RETRY_MAINTENANCE),
                Stopped::Busy => Some(RETRY_UPSTREAM),
                Stopped::Denied | Stopped::Password(_) => None,
            },
            _ => matches!(status.as_u16(), 502..=504).then_some(RETRY_UPSTREAM),
        };
        // A stream is opened by a script, which has more use for JSON.
        let json = json || matches!(self, Self::Stream(_) | Self::StreamWithBody);
        let code = match self {
            Self::Stream(StreamError::Ticket(error)) => error.code(),
            _ => None,
        };
        let mut response = reply(&Reply { status, code, message: &message, retry_after }, json);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let allow = match self {
                Self::Stream(_) => "GET, POST",
                Self::Files(_) => "GET, HEAD",
                _ => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            };
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Self::Stopped(stopped) = self
            && let Stopped::Password(challenge) = &**stopped
        {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge.clone());
        }
        if let Self::Cleartext(location) = self {
            response.headers_mut().insert(LOCATION, location.clone());
        }
        if let Self::Files(FilesError::Range { size }) = self
            && let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}"))
        {
            response.headers_mut().insert(CONTENT_RANGE, range);
        }
        let is_cut = matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT);
        if is_cut || self.is_of_spool() || matches!(self, Self::Request(_)) {
            // What is left of the body would be read as the next request, or the client and we do not agree on where
            // this one ends.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy(error) => error.fmt(f),
            Self::HandedNowhere(HandedFile::Target(target)) => {
                write!(f, "no route with `internal` is for X-Accel-Redirect: {target:?}")
            }
            Self::HandedNowhere(HandedFile::Path(path)) => {
                write!(f, "no route with `internal` has a root above X-Sendfile: {path:?}")
            }
            other => f.write_str(&other.said().1),
        }
    }
}

/// Seconds to wait. Rounded up: a second too early would be one refusal more.
fn rounded_up(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).map_or(u32::MAX, |whole| whole.saturating_add(1))
}

fn stopped_said(stopped: &Stopped) -> (StatusCode, String) {
    let (status, message) = match stopped {
        Stopped::Denied => (StatusCode::FORBIDDEN, "This is not open to your address."),
        Stopped::Maintenance(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "This site is being worked on and will be back soon.")
        }
        Stopped::Rate(_) => (StatusCode::TOO_MANY_REQUESTS, "Too many requests come from you at the moment."),
        Stopped::Password(_) => (StatusCode::UNAUTHORIZED, "This needs a name and a password."),
        Stopped::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Too many passwords are being checked."),
    };
    (status, message.to_owned())
}

pub(super) fn stream_word(error: &StreamError) -> &'static str {
    match error {
        StreamError::Unauthorized(AuthError::Unavailable) => "upstream",
        StreamError::Unauthorized(_) => "unauthorized",
        StreamError::ForeignOrigin => "origin",
        StreamError::Limited(_) => "limit",
        StreamError::NotReady(_) => "store",
        StreamError::Channels(_) => "channels",
        StreamError::Ticket(_) => "ticket",
        StreamError::Method | StreamError::OtherUser | StreamError::Inbox(_) => "request",
    }
}

fn stream_status(error: &StreamError) -> StatusCode {
    match error {
        StreamError::Method => StatusCode::METHOD_NOT_ALLOWED,
        StreamError::Unauthorized(AuthError::Unavailable) => StatusCode::BAD_GATEWAY,
        StreamError::Unauthorized(_) => StatusCode::UNAUTHORIZED,
        StreamError::ForeignOrigin | StreamError::OtherUser => StatusCode::FORBIDDEN,
        StreamError::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
        StreamError::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
        StreamError::Channels(error) => error.status(),
        StreamError::Ticket(error) => error.status(),
        StreamError::Inbox(error) => error.status(),
    }
}

fn files_status(error: &FilesError) -> StatusCode {
    match error {
        FilesError::Method => StatusCode::METHOD_NOT_ALLOWED,
        FilesError::Missing => StatusCode::NOT_FOUND,
        FilesError::Denied => StatusCode::FORBIDDEN,
        FilesError::Precondition => StatusCode::PRECONDITION_FAILED,
        FilesError::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        FilesError::Busy | FilesError::Io(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn proxy_said(error: &ProxyError) -> (StatusCode, String) {
    let (status, message) = match error {
        ProxyError::Request(_) | ProxyError::Target | ProxyError::ClientGone => {
            return (StatusCode::BAD_REQUEST, sentence(error));
        }
        ProxyError::TooLarge { .. } => return (StatusCode::PAYLOAD_TOO_LARGE, sentence(error)),
        ProxyError::BodyStalled => return (StatusCode::REQUEST_TIMEOUT, sentence(error)),
        ProxyError::NoUpstream => (StatusCode::BAD_GATEWAY, NO_ANSWER),
        ProxyError::Spool(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "There is no room for the body at the moment.")
        }
        ProxyError::App(error) => match error.fault {
            AppFault::Connect(_) | AppFault::Resolve(_) => {
                (StatusCode::BAD_GATEWAY, "The app cannot be reached at the moment.")
            }
            AppFault::Broken(_) | AppFault::UnaskedUpgrade => (StatusCode::BAD_GATEWAY, NO_ANSWER),
            AppFault::QueueFull | AppFault::QueueTimeout => {
                (StatusCode::SERVICE_UNAVAILABLE, "The app is busy at the moment.")
            }
            AppFault::ConnectTimeout | AppFault::ResponseTimeout => {
                (StatusCode::GATEWAY_TIMEOUT, "The app takes too long to answer.")
            }
        },
    };
    (status, message.to_owned())
}

/// An error as a sentence: with a capital and a full stop.
fn sentence(error: &dyn fmt::Display) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return text };
    format!("{}{}.", first.to_uppercase(), chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::AppError;

    fn app(server: &str, fault: AppFault) -> Refusal {
        let (upstream, server) = ("app".to_owned(), server.to_owned());
        Refusal::Proxy(ProxyError::App(Box::new(AppError { upstream, server, fault })))
    }

    #[test]
    fn every_fault_has_its_status() {
        for (refusal, status, retry) in [
            (Refusal::Request(RequestError::Host), 400, false),
            (Refusal::Request(RequestError::Method), 405, false),
            (Refusal::Misdirected, 421, false),
            (Refusal::NoRoute, 404, false),
            (Refusal::Stream(StreamError::Unauthorized(AuthError::Missing)), 401, false),
            (Refusal::Stream(StreamError::ForeignOrigin), 403, false),
            (Refusal::Stream(StreamError::OtherUser), 403, false),
            (app("", AppFault::Connect(std::io::ErrorKind::ConnectionRefused.into())), 502, true),
            (app("", AppFault::UnaskedUpgrade), 502, true),
            (app("", AppFault::Resolve(std::io::ErrorKind::NotFound.into())), 502, true),
            (app("", AppFault::QueueFull), 503, true),
            (app("", AppFault::QueueTimeout), 503, true),
            (app("", AppFault::ConnectTimeout), 504, true),
            (app("", AppFault::ResponseTimeout), 504, true),
            (Refusal::Proxy(ProxyError::TooLarge { max: 1 }), 413, false),
            (Refusal::Proxy(ProxyError::BodyStalled), 408, false),
        ] {
            let response = refusal.respond(true);
            assert_eq!(response.status().as_u16(), status, "{refusal:?}");
            assert_eq!(response.headers().contains_key("retry-after"), retry, "{refusal:?}");
            assert_eq!(refusal.is_upstreams(), retry, "{refusal:?}");
        }
    }

    #[test]
    fn where_the_app_is_stays_with_the_operator() {
        let refusal = app("unix:/run/secret.sock", AppFault::ConnectTimeout);
        assert!(refusal.to_string().contains("/run/secret.sock"));
        let page = refusal.respond(false);
        assert!(!String::from_utf8_lossy(page.body()).contains("secret"));
    }
}
