//! The door: which page a request is for, and whether whoever sends it may have it.
//!
//! Invariants: a name in `Host` that an attacker's page could have (DNS rebinding) is answered nothing, unless the token
//! comes with it; whatever names users or is not a look needs the token, always; and a page of another origin gets nothing
//! done, whatever it knows.

use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;

use super::health::{self, Apps};
use super::patience::Patient;
use super::status::{Feed, Status};
use super::{View, acts, explain, exposition, page, reload, streams};
use crate::http::{from_same_origin, host_without_port};
use crate::publish::bearer;

/// The most bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// How long the head of a request may take, the idle time before it included: longer than scrapers keep a connection
/// between two scrapes.
const HEAD_TIME: Duration = Duration::from_secs(75);

/// The fields of every answer: nothing of it is kept, nor taken for what it is not.
const FIELDS: [(HeaderName, HeaderValue); 2] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];

/// What one is told who asks for more than there is without a token.
const NO_TOKEN: &str =
    "only looking is allowed, and not at users and their streams, since [admin] has no token";

/// How long one may take nothing of what is written to it.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// What there is.
const PAGES: [(&str, Page); 11] = [
    ("/", Page::Status),
    ("/status/events", Page::Feed),
    ("/status/streams", Page::Streams),
    ("/status/channels", Page::Channels),
    ("/status/publish", Page::Publish),
    ("/status/end", Page::End),
    ("/healthz", Page::Alive),
    ("/readyz", Page::Ready),
    ("/metrics", Page::Metrics),
    ("/reload", Page::Reload),
    ("/explain", Page::Explain),
];

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Status,
    Feed,
    Streams,
    Channels,
    Publish,
    End,
    Alive,
    Ready,
    Metrics,
    Reload,
    Explain,
}

impl Page {
    /// Whether it is to be looked at; else it does something.
    fn is_look(self) -> bool {
        !matches!(self, Self::Publish | Self::End | Self::Reload)
    }

    /// Whether one who only looks needs the token: users and their channels are in it.
    fn is_private(self) -> bool {
        matches!(self, Self::Streams | Self::Channels | Self::Explain)
    }

    /// Whether a page of another origin may make a browser ask for it.
    fn is_for_all(self) -> bool {
        matches!(self, Self::Status | Self::Alive | Self::Ready | Self::Metrics)
    }

    async fn answer<B>(self, door: &Door, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Door { view, apps, status, turn } = door;
        let fields = request.headers();
        let response = match self {
            Self::Feed => match status.watch(fields) {
                Ok(response) => return response.map(Either::Right),
                Err(refused) => *refused,
            },
            Self::Status => page::answer(),
            Self::Streams => streams::find(view, turn, request.uri().query()).await,
            Self::Channels => streams::channels(view),
            Self::Publish => acts::publish(view, request).await,
            Self::End => acts::end(view, request).await,
            Self::Alive => health::alive(view),
            Self::Ready => health::ready(view, apps).await,
            Self::Metrics => exposition::answer(view, fields),
            Self::Reload => reload::answer(view).await,
            Self::Explain => explain::answer(view, request.uri().query()).await,
        };
        response.map(whole)
    }
}

/// What is answered: at once, or as it comes.
type Answer = Response<Either<Full<Bytes>, Feed>>;

fn whole(text: Bytes) -> Either<Full<Bytes>, Feed> {
    Either::Left(Full::new(text))
}

/// What every connection is served with.
#[derive(Debug)]
pub(super) struct Door {
    view: View,
    apps: Apps,
    status: Status,
    /// Held by whoever has the workers look through their streams: one at a time.
    turn: Mutex<()>,
}

impl Door {
    pub(super) fn new(view: View) -> Self {
        let status = Status::new(&view);
        Self { view, apps: Apps::default(), status, turn: Mutex::default() }
    }

    /// Reads how things stand, for those who watch, for as long as it is polled.
    pub(super) async fn keep_status(&self) {
        self.status.keep(&self.view).await;
    }

    /// Serves HTTP/1.1 on a connection until it ends; `from_network` says that a browser could be at its other end.
    pub(super) async fn serve<S>(self: Rc<Self>, stream: S, from_network: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let service = service_fn(|request: Request<Incoming>| {
            let door = self.clone();
            async move {
                let mut response = door.answer(request, from_network).await;
                response.headers_mut().extend(FIELDS);
                Ok::<_, Infallible>(response)
            }
        });
        let ended = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MAX_HEAD)
            .half_close(true)
            .serve_connection(TokioIo::new(Patient::new(stream, WRITE_TIME)), service)
            .await;
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the admin address broke");
        }
    }

    async fn answer<B>(&self, request: Request<B>, from_network: bool) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        match self.page(&request, from_network) {
            Ok(page) => page.answer(self, request).await,
            Err(refused) => (*refused).map(whole),
        }
    }

    /// The page that a request is for, if whoever sends it may have it.
    fn page<B>(&self, request: &Request<B>, from_network: bool) -> Result<Page, Box<Response<Bytes>>> {
        let fields = request.headers();
        let shown = self.view.shown();
        let token = shown.config.admin.as_ref().and_then(|admin| admin.token.as_ref());
        let has_token = token.is_some_and(|token| bearer(fields, token.expose()));
        if from_network && !has_token && !is_own_host(request) {
            let message =
                "Host must be an IP address or localhost here, or the token must come with the request";
            return Err(Box::new(refusal(StatusCode::MISDIRECTED_REQUEST, "wrong_host", message)));
        }
        let looks = matches!(*request.method(), Method::GET | Method::HEAD);
        let page = PAGES.iter().find(|(path, _)| *path == request.uri().path()).map(|(_, page)| *page);
        let is_open = looks && !page.is_some_and(Page::is_private);
        if !is_open && !has_token {
            return Err(Box::new(match token {
                Some(_) => unauthorized(),
                None => refusal(StatusCode::FORBIDDEN, "no_token", NO_TOKEN),
            }));
        }
        let Some(page) = page else {
            let paths: Vec<_> = PAGES.iter().map(|(path, _)| *path).collect();
            let message = format!("there are {}", paths.join(", "));
            return Err(Box::new(refusal(StatusCode::NOT_FOUND, "not_found", &message)));
        };
        let (is_allowed, message, methods) = match page.is_look() {
            true => (looks, "this is only to be looked at", "GET, HEAD"),
            false => (*request.method() == Method::POST, "this does something, by POST", "POST"),
        };
        if !is_allowed {
            let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
            return Err(Box::new(response));
        }
        if !page.is_for_all() && from_same_origin(fields, None, false) == Some(false) {
            let message = "only the status page itself may ask for this in a browser";
            return Err(Box::new(refusal(StatusCode::FORBIDDEN, "foreign_origin", message)));
        }
        Ok(page)
    }
}

/// Whether a request is for a host that no stranger can make a browser take for his own: an address, which is not looked
/// up, or a name of this machine. Without a Host only HTTP/1.0 comes, which no browser speaks.
fn is_own_host<B>(request: &Request<B>) -> bool {
    let mut lines = request.headers().get_all(header::HOST).into_iter();
    let said = match (lines.next(), lines.next()) {
        (None, _) => return request.version() == Version::HTTP_10,
        (Some(line), None) => line.to_str().unwrap_or_default(),
        (Some(_), Some(_)) => return false,
    };
    // A target that names a host itself overrules the field (RFC 9112, section 3.2.2).
    let said = request.uri().authority().map_or(said, |authority| authority.as_str());
    let host = host_without_port(said);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

fn unauthorized() -> Response<Bytes> {
    let mut response = refusal(StatusCode::UNAUTHORIZED, "unauthorized", "this needs the token of [admin]");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// An answer that says what is wrong.
pub(super) fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    said(status, &json!({ "error": code, "message": message }))
}

/// An answer of JSON.
pub(super) fn said(status: StatusCode, json: &serde_json::Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{json}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own(version: Version, target: &str, hosts: &[&str]) -> bool {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        is_own_host(&request.body(()).unwrap())
    }

    #[test]
    fn only_hosts_that_nobody_else_can_have_are_ours() {
        for host in [
            "127.0.0.1:9090",
            "127.0.0.1",
            "10.1.2.3:80",
            "[::1]:9090",
            "[::1]",
            "localhost",
            "LocalHost:9090",
            "localhost.",
            "app.localhost:1",
        ] {
            assert!(is_own(Version::HTTP_11, "/", &[host]), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1@evil.example",
            "0x7f000001",
            "127.1",
        ] {
            assert!(!is_own(Version::HTTP_11, "/", &[host]), "{host}");
        }
        assert!(!is_own(Version::HTTP_11, "/", &[]) && is_own(Version::HTTP_10, "/", &[]));
        assert!(!is_own(Version::HTTP_11, "/", &["localhost", "localhost"]));
        assert!(!is_own(Version::HTTP_11, "http://evil.example/", &["localhost"]));
    }
}
