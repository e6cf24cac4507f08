//! The proxy: a request to the app and its answer back, nothing held and nothing added that was not asked for.
//!
//! One [`Proxy`] a worker; its connections to the app are its own, so nothing here is locked. Invariants: what a
//! client may not say to an app is taken out before anything is sent (`http::clean_request_fields`, then the
//! forwarding fields); a body is passed on as it comes, with back-pressure both ways; whatever ends early on one side
//! ends early on the other: a truncated answer is never ended as if it were whole.

mod body;
mod error;
mod exchange;
mod heard;
mod pool;
mod stall;
mod tunnel;

use std::rc::Rc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;

use crate::config::{self, UpstreamKind};
use crate::http::{
    Peer, clean_request_fields, clean_response_fields, is_upgrade, join_cookies, names_websocket,
    set_forwarded,
};

pub use body::{AnswerError, BodyError, UpstreamBody};
pub use error::ProxyError;
pub use stall::Stall;
pub use tunnel::tunnel;

use body::RequestBody;
use pool::Upstream;

/// The host of a request that named none.
const NO_HOST: &str = "localhost";

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The upstreams of one worker.
#[derive(Debug)]
pub struct Proxy {
    upstreams: Vec<Rc<Upstream>>,
}

/// What a request brings with it from its connection.
#[derive(Debug)]
pub struct Forward<'a> {
    /// The place of the upstream in the configuration.
    pub upstream: usize,
    /// The largest body, in bytes.
    pub max_body: u64,
    /// Who sends it.
    pub peer: &'a Peer,
    /// The host it is for.
    pub host: Option<&'a HeaderValue>,
    /// What the request is called in the app's log and in ours.
    pub request_id: HeaderValue,
    /// How long the client may pause within its body.
    pub body_stall: Duration,
}

/// What the app answered.
#[derive(Debug)]
pub enum Answer {
    /// A response.
    Response(Response<UpstreamBody>),
    /// A response after which the connection is the app's and the client's alone.
    Upgrade(Response<UpstreamBody>, OnUpgrade),
}

impl Proxy {
    /// Makes the pools; nothing is connected yet.
    pub fn new(upstreams: &[config::Upstream]) -> Self {
        Self { upstreams: upstreams.iter().map(|upstream| Rc::new(Upstream::new(upstream))).collect() }
    }

    /// Makes ready a request, whose target and Host have been checked. What it gives sends it and waits for the head
    /// of the answer.
    pub fn forward(
        &self,
        mut parts: Parts,
        body: Incoming,
        to: Forward<'_>,
    ) -> Result<impl Future<Output = Result<Answer, ProxyError>> + use<>, ProxyError> {
        let upstream = self.upstreams.get(to.upstream).ok_or(ProxyError::NoUpstream)?.clone();
        // With a body, nobody could say where it ends and the tunnel begins.
        let upgrade = is_upgrade(&parts) && body.is_end_stream();
        let body = prepare(&mut parts, body, upstream.kind, &to)?;
        if upgrade {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        let request = Request::from_parts(parts, body);
        Ok(async move { answer(exchange::exchange(&upstream, request).await?, upgrade) })
    }

    /// Closes connections to apps that have been idle for too long. To be called every second or so.
    pub fn sweep(&self) {
        for upstream in &self.upstreams {
            upstream.sweep();
        }
    }
}

/// Makes of the app's answer the one that the client gets.
fn answer(mut response: Response<UpstreamBody>, upgrade: bool) -> Result<Answer, ProxyError> {
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switched && !(upgrade && names_websocket(response.headers())) {
        return Err(ProxyError::UnaskedUpgrade);
    }
    let tunnel = switched.then(|| hyper::upgrade::on(&mut response));
    clean_response_fields(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    if response.status() == StatusCode::NO_CONTENT {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    Ok(match tunnel {
        None => Answer::Response(response),
        Some(tunnel) => {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            Answer::Upgrade(response, tunnel)
        }
    })
}

/// Makes of the client's request the one that the app gets.
fn prepare(
    parts: &mut Parts,
    body: Incoming,
    kind: UpstreamKind,
    to: &Forward<'_>,
) -> Result<RequestBody, ProxyError> {
    let fields = &mut parts.headers;
    clean_request_fields(fields).map_err(ProxyError::Request)?;
    join_cookies(fields);
    set_forwarded(fields, to.peer, to.host);
    if to.host.is_none() {
        // HTTP/1.0 may leave it out, but the app is spoken to in HTTP/1.1.
        fields.insert(HOST, HeaderValue::from_static(NO_HOST));
    }
    fields.insert(X_REQUEST_ID, to.request_id.clone());
    parts.version = Version::HTTP_11;
    let mut target = http::uri::Parts::default();
    target.path_and_query = parts.uri.path_and_query().cloned();
    // A path alone is a valid target, and there is one: the request was checked.
    parts.uri = Uri::from_parts(target).map_err(|_| ProxyError::Target)?;

    if body.is_end_stream() {
        return Ok(RequestBody::empty());
    }
    match body.size_hint().exact() {
        Some(length) if length > to.max_body => return Err(ProxyError::TooLarge { max: to.max_body }),
        Some(_) => {}
        // A WSGI app takes a body without a length for no body at all.
        None if kind == UpstreamKind::Wsgi => return Err(ProxyError::LengthRequired),
        // For these methods a body of unknown length would be left out unless it is framed by hand.
        None if matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) => {
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        None => {}
    }
    Ok(RequestBody::streamed(body, to.max_body, to.body_stall))
}
