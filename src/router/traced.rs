//! The spans of a request: of the request itself, of what the app was asked for, and of the stream that it became.
//!
//! Names and attributes are those of OpenTelemetry's conventions for HTTP. Invariant: nothing of a query, a cookie or a
//! credential is in them, and nothing here is done or allocated for a request that is not recorded.

use http::header::{HOST, HeaderMap, USER_AGENT};
use http::request::Parts;
use http::{Method, Version};

use crate::access_log::without_userinfo;
use crate::config::{Origin, Upstream};
use crate::http::{RequestId, host_without_port};
use crate::proxy::{Answer, ProxyError};
use crate::trace::{Kind, Span, Tracer};

/// The longest names of a program, of a host and of a method that are told, in bytes.
const MAX_AGENT: usize = 256;
const MAX_HOST: usize = 255;
const MAX_METHOD: usize = 32;

/// What is said of a method that a client has made up; and what its span is called.
const OTHER: &str = "_OTHER";
const HTTP: &str = "HTTP";

/// What is said of a client that went away.
const GONE: &str = "client_gone";

/// What spans say of an app.
#[derive(Debug)]
pub(super) struct App {
    name: String,
    /// Where it listens, unless it has several servers.
    server: Option<(String, Option<u16>)>,
}

impl App {
    pub(super) fn of(upstream: &Upstream) -> Self {
        let server = match &*upstream.servers {
            [Origin::Tcp { host, port } | Origin::Tls { host, port }] => Some((host.clone(), Some(*port))),
            [Origin::Unix(path)] => Some((path.display().to_string(), None)),
            _ => None,
        };
        Self { name: upstream.name.clone(), server }
    }
}

/// A request that is recorded.
#[derive(Debug)]
pub(super) struct Traced {
    span: Span,
    method: &'static str,
    /// What the app is asked for, until it has answered.
    asked: Option<Span>,
    refused: Option<&'static str>,
    /// Whether its answer broke off.
    is_broken: bool,
}

impl Traced {
    /// Begins the span of a request, if it is recorded; its fields are left with what an app is to be told of its trace.
    pub(super) fn begin(
        tracer: &Tracer,
        parts: &mut Parts,
        origin: &super::Origin<'_>,
        id: &RequestId,
    ) -> Option<Box<Self>> {
        let span = tracer.begin(&mut parts.headers, origin.peer.trusted, Kind::Server)?;
        Some(Self::of(span, parts, origin, id))
    }

    fn of(mut span: Span, parts: &Parts, origin: &super::Origin<'_>, id: &RequestId) -> Box<Self> {
        let method = known(&parts.method);
        span.put("http.request.method", method);
        if method == OTHER {
            let said = start(parts.method.as_str().as_bytes(), MAX_METHOD);
            span.put("http.request.method_original", said);
        }
        span.put("url.path", parts.uri.path().to_owned());
        span.put("url.scheme", if origin.peer.is_secure(&parts.headers) { "https" } else { "http" });
        span.put("network.protocol.version", version(parts.version));
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        if let Some(host) = host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str)) {
            put_server(&mut span, &without_userinfo(host));
        }
        if let Some(address) = origin.address(parts) {
            span.put("client.address", address.to_string());
        }
        if let Some(agent) = parts.headers.get(USER_AGENT) {
            span.put("user_agent.original", start(agent.as_bytes(), MAX_AGENT));
        }
        span.put("sidestream.request_id", id.as_str().to_owned());
        Box::new(Self { span, method, asked: None, refused: None, is_broken: false })
    }

    /// Its span.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// The number of its trace, for its line in the access log.
    pub(super) fn trace(&self) -> String {
        self.span.trace()
    }

    /// An app is going to be asked, and told that it is within our span.
    pub(super) fn asks(&mut self, app: Option<&App>, fields: &mut HeaderMap) {
        let mut span = self.span.child(Kind::Client);
        span.pass_on(fields);
        span.put("http.request.method", self.method);
        if let Some(App { name, server }) = app {
            span.put("sidestream.upstream", name.clone());
            if let Some((address, port)) = server {
                span.put("server.address", address.clone());
                if let Some(port) = port {
                    span.put("server.port", u64::from(*port));
                }
            }
        }
        self.asked = Some(span);
    }

    /// The app has answered, or has not.
    pub(super) fn heard(&mut self, answer: &Result<Answer, ProxyError>) {
        let Some(mut span) = self.asked.take() else { return };
        match answer {
            Ok(Answer::Response(response) | Answer::Upgrade(response, _)) => {
                let status = response.status();
                span.put("http.response.status_code", u64::from(status.as_u16()));
                if status.is_client_error() || status.is_server_error() {
                    span.fail(status.as_u16().to_string());
                }
            }
            Err(error) => span.fail(error.word()),
        }
        span.name(if self.method == OTHER { HTTP } else { self.method });
        span.end();
    }

    /// It is refused, for the reason that this word is for.
    pub(super) fn because(&mut self, refused: Option<&'static str>) {
        self.refused = refused;
    }

    /// Its answer breaks off.
    pub(super) fn breaks(&mut self) {
        self.is_broken = true;
    }

    /// It is over, with so many bytes of an answer's body. Without a status, its client went away before there was one.
    pub(super) fn end(self, route: &str, status: u16, bytes: Option<u64>) {
        let Self { mut span, method, asked, refused, is_broken } = self;
        let method = if method == OTHER { HTTP } else { method };
        if let Some(mut asked) = asked {
            asked.fail(GONE);
            asked.name(method);
            asked.end();
        }
        if let Some(refused) = refused {
            span.put("sidestream.refused", refused);
        }
        if status > 0 {
            span.put("http.response.status_code", u64::from(status));
        }
        if let Some(bytes) = bytes {
            span.put("http.response.body.size", bytes);
        }
        match status {
            0 => span.put("error.type", GONE),
            500.. => span.fail(status.to_string()),
            _ if is_broken => span.fail("broken"),
            _ => {}
        }
        if route.is_empty() {
            span.name(method);
        } else {
            span.put("http.route", route.to_owned());
            span.name(format!("{method} {route}"));
        }
        span.end();
    }
}

/// A method by its name; what anybody may make up has none.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => OTHER,
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

fn put_server(span: &mut Span, host: &str) {
    let name = host_without_port(host);
    let port = host.get(name.len()..).and_then(|rest| rest.strip_prefix(':')?.parse::<u16>().ok());
    if name.len() <= MAX_HOST && !name.is_empty() {
        span.put("server.address", name.trim_matches(['[', ']']).to_owned());
        if let Some(port) = port {
            span.put("server.port", u64::from(port));
        }
    }
}

fn start(text: &[u8], most: usize) -> String {
    String::from_utf8_lossy(text.get(..text.len().min(most)).unwrap_or_default()).into_owned()
}
