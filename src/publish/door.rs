//! The HTTP door: `POST /publish`, `POST /disconnect`, `GET /channels/NAME`, `GET /inbox/USER`, `POST /inbox/USER/read` and
//! `GET /healthz`, for the app and not for browsers.
//!
//! Invariant: with a token, nothing is said or read without it. A request that a browser made on its own is refused
//! even at a loopback address: a page that somebody visits must not reach what listens beside the app.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::config::Secret;
use crate::event::{ChannelName, Timestamp};
use crate::http::is_media_type;
use crate::hub::KeyCounts;
use crate::publish::inbox::{self, Asked};
use crate::publish::produced::Produced;
use crate::publish::publisher::Reading;
use crate::publish::refusal::{Refusal, RefusalKind};
use crate::publish::{Publisher, bearer, body, disconnect, ndjson, reply};
use crate::unread::MAX_BODY;

/// The most bytes of a request's head.
const MAX_HEAD: usize = 32 * 1024;

/// How long an answered peer is listened to, so that what it still sends does not reset the connection before it has
/// read the answer (RFC 9112, section 9.6).
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How many bytes of that are thrown away at most.
const LINGER_BYTES: u64 = 8 * 1024 * 1024;

/// Serves HTTP/1.1 on a connection until it ends. `asks_token` is for those from the network. `begun` was read from it before.
pub(super) async fn serve<S>(
    publisher: Publisher,
    asks_token: bool,
    stream: S,
    begun: Bytes,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head_time = publisher.bounds().head_time;
    let (reader, writer) = tokio::io::split(stream);
    let whole = tokio::io::join(io::Cursor::new(begun).chain(reader), writer);
    let service = service_fn(|request: Request<Incoming>| {
        let publisher = publisher.clone();
        async move {
            let response = answer(&publisher, asks_token, request).await;
            Ok::<_, Infallible>(response.map(Full::new))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_buf_size(MAX_HEAD)
        .half_close(true)
        .serve_connection(TokioIo::new(whole), service);
    let mut stream = connection.without_shutdown().await.map_err(io::Error::other)?.io.into_inner();
    stream.shutdown().await?;
    let mut rest = stream.take(LINGER_BYTES);
    let dropped = timeout(LINGER_TIME, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    // A peer that is too slow even to hang up is hung up on.
    dropped.map_or(Ok(()), |read| read.map(drop))
}

async fn answer(publisher: &Publisher, asks_token: bool, request: Request<Incoming>) -> Response<Bytes> {
    let mut response = route(publisher, asks_token, request).await.unwrap_or_else(|refusal| {
        publisher.tell(&refusal);
        reply::refusal(&refusal)
    });
    if publisher.way().is_left() {
        // With the next request the publisher is to come to the process that has taken over.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn route(
    publisher: &Publisher,
    asks_token: bool,
    request: Request<Incoming>,
) -> Result<Response<Bytes>, Refusal> {
    let (parts, body) = request.into_parts();
    let has_token = |token: &Secret| bearer(&parts.headers, token.expose());
    if asks_token && !publisher.terms().token.as_ref().is_some_and(has_token) {
        return Err(Refusal::new(RefusalKind::Unauthorized, "this address asks for the publish token"));
    }
    if from_browser(&parts.headers) {
        return Err(Refusal::new(RefusalKind::Forbidden, "browsers may not publish here; let the app do it"));
    }
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    match parts.uri.path() {
        "/publish" if parts.method == Method::POST => publish(publisher, &parts.headers, body).await,
        "/publish" => Ok(reply::method_not_allowed("POST")),
        "/disconnect" if parts.method == Method::POST => disconnect(publisher, &parts.headers, body).await,
        "/disconnect" => Ok(reply::method_not_allowed("POST")),
        "/healthz" if reads => Ok(health(publisher)),
        "/healthz" => Ok(reply::method_not_allowed("GET, HEAD")),
        path => match (path.strip_prefix("/channels/"), path.strip_prefix("/inbox/")) {
            (Some(name), _) if reads => channel(publisher, name).await,
            (Some(_), _) => Ok(reply::method_not_allowed("GET, HEAD")),
            (None, Some(asked)) => inbox(publisher, Asked::of(asked)?, &parts, body).await,
            (None, None) => Err(Refusal::new(
                RefusalKind::NotFound,
                "there are POST /publish, POST /disconnect, GET /channels/NAME, GET /inbox/USER, \
                 POST /inbox/USER/read and GET /healthz",
            )),
        },
    }
}

/// Whether a browser made the request for a page: it says so itself, and a page cannot keep it from that.
fn from_browser(fields: &HeaderMap) -> bool {
    fields.contains_key(header::ORIGIN) || fields.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
}

async fn publish(
    publisher: &Publisher,
    fields: &HeaderMap,
    body: Incoming,
) -> Result<Response<Bytes>, Refusal> {
    match Kind::of(fields)? {
        Kind::Json => {
            let mut produced = Produced::begin(publisher.tracer().as_ref(), fields);
            let receipts = publish_json(publisher, body, &mut produced).await;
            produced.end(receipts.as_ref().err());
            Ok(reply::ok(reply::JSON, receipts?))
        }
        Kind::Ndjson => Ok(reply::ok(reply::NDJSON, ndjson::answer(publisher, body).await)),
    }
}

async fn publish_json(
    publisher: &Publisher,
    body: Incoming,
    produced: &mut Produced,
) -> Result<Bytes, Refusal> {
    let json = body::read_json(body, &publisher.bounds(), usize::MAX).await?;
    let posted = publisher.read(&json, &Reading::PLAIN)?;
    publisher.answer(posted, Timestamp::now(), produced).await
}

async fn disconnect(
    publisher: &Publisher,
    fields: &HeaderMap,
    body: Incoming,
) -> Result<Response<Bytes>, Refusal> {
    Kind::of(fields)?.only_json()?;
    let bounds = publisher.bounds();
    let json = body::read_json(body, &bounds, bounds.max_object()).await?;
    let _hand = publisher.here().await?;
    Ok(reply::ok(reply::JSON, disconnect::disconnect(publisher, &json, Timestamp::now()).await?))
}

async fn inbox(
    publisher: &Publisher,
    asked: Asked,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Bytes>, Refusal> {
    let said = match asked {
        Asked::Unread(user) if matches!(parts.method, Method::GET | Method::HEAD) => {
            let _hand = publisher.here().await?;
            inbox::show(publisher, &user, &parts.uri, Timestamp::now()).await?
        }
        Asked::Mark(user) if parts.method == Method::POST => {
            Kind::of(&parts.headers)?.only_json()?;
            let json = body::read_json(body, &publisher.bounds(), MAX_BODY).await?;
            let _hand = publisher.here().await?;
            inbox::mark(publisher, &user, &json, Timestamp::now()).await?
        }
        Asked::Unread(_) => return Ok(reply::method_not_allowed("GET, HEAD")),
        Asked::Mark(_) => return Ok(reply::method_not_allowed("POST")),
    };
    Ok(reply::ok(reply::JSON, said))
}

/// What a body says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One publication or an array of them.
    Json,
    /// A publication a line.
    Ndjson,
}

impl Kind {
    /// Reads `Content-Type`. A body without one is JSON.
    pub(super) fn of(fields: &HeaderMap) -> Result<Self, Refusal> {
        if !fields.contains_key(header::CONTENT_TYPE) || is_media_type(fields, "application/json") {
            Ok(Self::Json)
        } else if is_media_type(fields, "application/x-ndjson") {
            Ok(Self::Ndjson)
        } else {
            Err(Refusal::new(
                RefusalKind::UnsupportedMediaType,
                "send Content-Type: application/json or application/x-ndjson",
            ))
        }
    }

    /// Refuses lines where there is one object or one array.
    pub(super) fn only_json(self) -> Result<(), Refusal> {
        match self {
            Self::Json => Ok(()),
            Self::Ndjson => {
                Err(Refusal::new(RefusalKind::UnsupportedMediaType, "send Content-Type: application/json"))
            }
        }
    }
}

async fn channel(publisher: &Publisher, name: &str) -> Result<Response<Bytes>, Refusal> {
    let invalid = |message: String| Refusal::of_field(RefusalKind::InvalidPublication, "channel", message);
    let name = percent_decode_str(name).decode_utf8().map_err(|_| invalid("must be UTF-8".to_owned()))?;
    let name = ChannelName::new(&name).map_err(|why| invalid(why.to_string()))?;
    let _hand = publisher.here().await?;
    let held = publisher.hub().prepare(std::slice::from_ref(&name), None).await;
    let _held = held.map_err(|error| Refusal::new(RefusalKind::Unavailable, error.to_string()))?;
    let info = publisher.hub().channel(&name);
    let body = serde_json::json!({
        "channel": name.as_str(),
        "streams": info.as_ref().map_or(0, |info| info.streams),
        "events": info.as_ref().map_or(0, |info| info.events),
        "last_id": info.and_then(|info| info.last_id).map(|id| id.to_string()),
    });
    Ok(reply::ok(reply::JSON, body.to_string()))
}

fn health(publisher: &Publisher) -> Response<Bytes> {
    let is_well = publisher.hub().is_well();
    let mut text = format!("{{\"status\":\"{}\"", if is_well { "ok" } else { "degraded" });
    let KeyCounts { remembered, refused } = publisher.hub().keys();
    let keys = [("keys", remembered as u64), ("keys_refused", refused)];
    for (name, value) in publisher.totals().entries().into_iter().chain(keys) {
        // The names are our own identifiers, which need no escaping.
        text.push_str(&format!(",\"{name}\":{value}"));
    }
    text.push('}');
    let mut response = reply::ok(reply::JSON, text);
    if !is_well {
        // What is published now would not be kept.
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
