//! The proxy: a request to the app and its answer back, nothing held and nothing added that was not asked for.
//!
//! One [`Proxy`] a worker; its connections to the app are its own, so nothing here is locked. HTTP/1.1 is spoken by
//! what is in this folder: `head` and `framing` are pure, `connection` and `request` read and write, `exchange` puts
//! them together in the request's own task. Invariants: what a client may not say to an app is never written to it
//! (`http::request_fields`); a body is passed on as it comes, with back-pressure both ways, unless the app serves one
//! request at a time: then nobody but us waits for the client (`spool`, `ahead`); whatever ends early on one
//! side ends early on the other: a truncated answer is never ended as if it were whole.

mod address;
mod ahead;
mod balance;
mod body;
mod connection;
mod error;
mod exchange;
mod framing;
mod head;
mod health;
mod link;
mod pool;
mod request;
mod server;
mod spool;
mod stall;
mod standing;
mod tunnel;
mod upload;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use tokio::sync::Notify;

use crate::config::{self, HeaderRules, UpstreamKind};
use crate::http::{
    Peer, RequestId, Told, clean_response_fields, is_upgrade, names_websocket, request_fields,
};
use crate::metrics::Counters;

pub use ahead::{ReadAhead, ReadsAhead};
pub use body::UpstreamBody;
pub use error::{AnswerError, AnswerFault, AppError, AppFault, ProxyError};
pub use health::HealthChecks;
pub use request::BodyError;
pub use spool::{SpoolError, Spools};
pub use stall::Stall;
pub use standing::Standings;
pub use tunnel::{Switched, tunnel};

use exchange::{Answered, Question, exchange};
use head::MAX_FIELDS;
use pool::Upstream;
use request::{Body, Framing, Outgoing, Pace};

/// The upstreams of one worker.
#[derive(Debug)]
pub struct Proxy {
    upstreams: Vec<Rc<Upstream>>,
    kept: Rc<Notify>,
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
    pub request_id: RequestId,
    /// How long the client may pause within its body.
    pub body_stall: Duration,
    /// What is taken off the beginning of its path; the route's path begins with it.
    pub prefix: Option<&'a str>,
    /// What is changed last in its fields.
    pub rules: &'a HeaderRules,
    /// How many bytes a second the client has to send of its body; 0 is no bound.
    pub body_min_rate: u64,
}

/// A request that can be sent.
#[derive(Debug)]
struct Ready {
    upstream: Rc<Upstream>,
    question: Question,
    /// Whether it asks for a tunnel.
    upgrade: bool,
}

/// What the app answered.
#[derive(Debug)]
pub enum Answer {
    /// A response. With a [`HandedFile`](crate::http::HandedFile) among its extensions, it is that file that the app wants
    /// sent.
    Response(Response<UpstreamBody>),
    /// A response after which the connection is the app's and the client's alone.
    Upgrade(Response<UpstreamBody>, Box<Switched>),
}

impl Proxy {
    /// Makes the pools; nothing is connected yet. `standings` are of the same upstreams, for all workers. Of the proxy
    /// that was there `before` it takes over what did not change: upstreams as they are, and connections to servers.
    pub fn new(
        upstreams: &[config::Upstream],
        standings: &Standings,
        spools: &Arc<Spools>,
        counters: &Arc<Counters>,
        before: Option<&Self>,
    ) -> Self {
        let kept = before.map(|before| before.kept.clone()).unwrap_or_default();
        let upstreams = upstreams.iter().zip(&standings.0).map(|(upstream, shared)| {
            let known = before.and_then(|before| before.upstreams.iter().find(|known| known.is_of(upstream)));
            if let Some(known) = known.filter(|known| known.is_still(upstream, shared, spools)) {
                return known.clone();
            }
            let (spools, counters) = (spools.clone(), counters.clone());
            let new = Upstream::new(upstream, shared.clone(), spools, counters, kept.clone());
            if let Some(known) = known {
                new.take_connections(known);
            }
            Rc::new(new)
        });
        let upstreams: Vec<_> = upstreams.collect();
        for old in before.into_iter().flat_map(|before| &before.upstreams) {
            if !upstreams.iter().any(|new| Rc::ptr_eq(new, old)) {
                old.retire();
            }
        }
        Self { upstreams, kept }
    }

    /// Makes ready a request, whose target and Host have been checked, and takes the fields out of its head. What it gives
    /// sends it and waits for the head of the answer, or says at once why it cannot be sent.
    pub fn forward(
        &self,
        parts: &mut Parts,
        body: Incoming,
        to: Forward<'_>,
    ) -> impl Future<Output = Result<Answer, ProxyError>> + use<> {
        // What has been made ready stays in the place that it takes in the future.
        let mut made = self.make_ready(parts, body, to);
        async move {
            match made {
                Ok(Ready { ref upstream, ref mut question, upgrade }) => {
                    answer(exchange(upstream, question).await?, upstream, upgrade)
                }
                Err(error) => Err(error),
            }
        }
    }

    fn make_ready(&self, parts: &mut Parts, body: Incoming, to: Forward<'_>) -> Result<Ready, ProxyError> {
        let upstream = self.upstreams.get(to.upstream).ok_or(ProxyError::NoUpstream)?.clone();
        // With a body, nobody could say where it ends and the tunnel begins.
        let upgrade = is_upgrade(parts) && body.is_end_stream();
        let request = prepare(parts, body, &upstream, &to, upgrade)?;
        // For the fields of the answer.
        let mut fields = std::mem::take(&mut parts.headers);
        fields.clear();
        let question = Question { request, is_head: parts.method == Method::HEAD, fields };
        Ok(Ready { upstream, question, upgrade })
    }

    /// Closes connections to apps that have been idle for too long. To be called every second or so.
    /// Says whether any go on waiting.
    pub fn sweep(&self) -> bool {
        // All of them, whatever the first says.
        self.upstreams.iter().fold(false, |waiting, upstream| upstream.sweep() | waiting)
    }

    /// Waits until a connection waits for its next request, where none did.
    pub fn kept(&self) -> impl Future<Output = ()> + use<> {
        let kept = self.kept.clone();
        async move { kept.notified().await }
    }
}

/// Makes of the app's answer the one that the client gets.
fn answer(answered: Answered, upstream: &Upstream, upgrade: bool) -> Result<Answer, ProxyError> {
    match answered {
        Answered::Response(mut response) => {
            if let Some(handed) = clean_response_fields(response.headers_mut()) {
                response.extensions_mut().insert(handed);
            }
            if response.status() == StatusCode::NO_CONTENT {
                response.headers_mut().remove(CONTENT_LENGTH);
            }
            Ok(Answer::Response(response))
        }
        Answered::Switched(response, connection) => {
            let server = connection.server;
            let unasked = || upstream.failed(server, AppFault::UnaskedUpgrade);
            if !(upgrade && names_websocket(response.headers())) {
                return Err(unasked());
            }
            let (link, early, lease) = connection.into_link().ok_or_else(unasked)?;
            let mut response = response.map(|()| UpstreamBody::empty());
            // What is handed over is the connection.
            let _ = clean_response_fields(response.headers_mut());
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            Ok(Answer::Upgrade(response, Box::new(Switched::new(link, early, lease))))
        }
    }
}

/// Makes of the client's request the one that the app gets.
fn prepare(
    parts: &Parts,
    body: Incoming,
    upstream: &Upstream,
    to: &Forward<'_>,
    upgrade: bool,
) -> Result<Outgoing, ProxyError> {
    let target = parts.uri.path_and_query().ok_or(ProxyError::Target)?;
    let has_body = !body.is_end_stream();
    let length = body.size_hint().exact();
    if length.is_some_and(|length| length > to.max_body) {
        return Err(ProxyError::TooLarge { max: to.max_body });
    }

    let mut out = upstream.take_buffer();
    head::write_request_line(&mut out, &parts.method, target, to.prefix.unwrap_or_default());
    let told = Told { peer: to.peer, host: to.host, request_id: to.request_id.as_str(), prefix: to.prefix };
    // Most routes have none, and every field would ask.
    let rules = Some(to.rules).filter(|rules| !rules.is_empty());
    let fields = request_fields(&parts.headers, &told, |name, value| {
        if rules.is_none_or(|rules| !rules.hides(name)) {
            head::write_field(&mut out, name, value);
        }
    });
    fields.map_err(ProxyError::Request)?;
    for (name, value) in to.rules.lines() {
        head::write_field(&mut out, name, value.as_bytes());
    }
    if upgrade {
        head::write_field(&mut out, &CONNECTION, b"upgrade");
        head::write_field(&mut out, &UPGRADE, b"websocket");
    }
    // A worker that serves one request at a time is not to wait for a client.
    let is_gathered = upstream.kind == UpstreamKind::Wsgi;
    // How the body ends is said once: by its length or by its chunks (RFC 9112, section 6.3).
    let framing = match length {
        _ if !has_body => {
            if parts.headers.contains_key(CONTENT_LENGTH) {
                head::write_field(&mut out, &CONTENT_LENGTH, b"0");
            }
            None
        }
        Some(length) => {
            head::write_field(&mut out, &CONTENT_LENGTH, itoa::Buffer::new().format(length).as_bytes());
            Some(Framing::Length(length))
        }
        // A WSGI app takes a body without a length for no body at all.
        None if is_gathered => Some(Framing::Measured),
        None => {
            head::write_field(&mut out, &TRANSFER_ENCODING, b"chunked");
            Some(Framing::Chunked(announced(&parts.headers, to.rules)))
        }
    };
    if !matches!(framing, Some(Framing::Measured)) {
        out.extend_from_slice(b"\r\n");
    }
    let pace = Pace::new(to.body_stall, to.body_min_rate);
    let body =
        framing.map(|framing| Box::new(Body::new(body, to.max_body, pace, framing, &upstream.counters)));
    let request = Outgoing::new(out, body, parts.method.is_idempotent());
    Ok(if is_gathered { request.gathered_first() } else { request })
}

/// The trailers that a head announces; others are left out (RFC 9110, section 6.5.1). What a rule speaks of is not a
/// client's to say behind its body either.
fn announced(fields: &HeaderMap, rules: &HeaderRules) -> Vec<HeaderName> {
    let lines = fields.get_all(TRAILER).iter().filter_map(|line| line.to_str().ok());
    let names = lines.flat_map(|line| line.split(','));
    let names = names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok());
    // No more of them could come.
    names.take(MAX_FIELDS).filter(|name| !rules.hides(name)).collect()
}
