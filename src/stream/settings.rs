//! What a stream route says, encoded once for all its streams.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::{HeartbeatForm, OnGap, Said, StreamRoute, Unauthorized};
use crate::event::{self, Event, EventId, EventName, Frame};
use crate::hub::Gap;
use crate::limits::RouteLimit;

/// A stream route, ready for use. One a worker.
#[derive(Debug)]
pub struct StreamSettings {
    /// What the operator wrote.
    pub route: StreamRoute,
    /// What the route is told from all others by, for tickets.
    pub(super) name: String,
    /// The response's fields, but for framing.
    pub(super) fields: HeaderMap,
    /// What counts by itself for the route.
    pub(super) own_limit: Option<RouteLimit>,
    /// Whether HTTP/1.1 is told that the connection stays, as the operator wishes.
    keep_alive: bool,
    hello: Option<Event>,
    heartbeat: Option<Beat>,
    on_gap: Told,
}

#[derive(Debug)]
struct Beat {
    every: Duration,
    form: BeatForm,
}

#[derive(Debug)]
enum BeatForm {
    /// The same for every stream.
    Shared(Frame),
    /// With the subscriber's own cursor.
    WithCursor(Event),
}

#[derive(Debug)]
enum Told {
    Reset,
    Nothing,
    Own(Event),
}

impl StreamSettings {
    /// Encodes what can be. `name` tells the route from all others, and is the same in the next process.
    pub fn new(name: String, route: &StreamRoute) -> Self {
        let heartbeat = route.heartbeat.as_ref().map(|heartbeat| Beat {
            every: heartbeat.every,
            form: match &heartbeat.form {
                HeartbeatForm::Comment(text) => BeatForm::Shared(event::comment(text)),
                HeartbeatForm::Event { said, id: true } => BeatForm::WithCursor(own_event(said)),
                HeartbeatForm::Event { said, id: false } => {
                    BeatForm::Shared(own_event(said).frame_without_id())
                }
            },
        });
        Self {
            fields: fields(route),
            own_limit: route
                .max_per_user
                .map(|max_per_user| RouteLimit { route: RouteLimit::number(&name), max_per_user }),
            keep_alive: route.headers.iter().any(|(name, _)| name == header::CONNECTION),
            hello: route.hello.as_ref().map(own_event),
            heartbeat,
            on_gap: match &route.on_gap {
                OnGap::Reset => Told::Reset,
                OnGap::Ignore => Told::Nothing,
                OnGap::Event(said) => Told::Own(own_event(said)),
            },
            route: route.clone(),
            name,
        }
    }

    /// Whether refusals are told in a stream instead of by status.
    pub fn refuses_by_event(&self) -> bool {
        self.route.unauthorized == Unauthorized::Event
    }

    /// Whether a response that is a stream has a field already.
    pub fn sets(&self, name: &HeaderName) -> bool {
        self.fields.contains_key(name)
    }

    /// Sets the fields of a response that is a stream.
    pub fn set_fields(&self, fields: &mut HeaderMap) {
        fields.extend(self.fields.clone());
    }

    /// The head of an HTTP/1 response, with fields that this one has besides. HTTP/1.0 knows no chunks and reads until
    /// the end.
    pub(super) fn head(&self, is_http_10: bool, more: Option<&HeaderMap>, date: &str) -> Bytes {
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(if is_http_10 { b"HTTP/1.0 200 OK\r\n" } else { b"HTTP/1.1 200 OK\r\n" });
        let framing = if is_http_10 { ("connection", "close") } else { ("transfer-encoding", "chunked") };
        let stays = (self.keep_alive && !is_http_10).then_some(("connection", &b"keep-alive"[..]));
        let own = self
            .fields
            .iter()
            .chain(more.into_iter().flatten())
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        for (name, value) in
            own.chain(stays).chain([(framing.0, framing.1.as_bytes()), ("date", date.as_bytes())])
        {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head.into()
    }

    /// What a stream opens with; without a cursor where the client's is to move with what it is told next.
    pub(super) fn opening(&self, cursor: Option<EventId>) -> Frame {
        let retry = u64::try_from(self.route.retry.as_millis()).unwrap_or(u64::MAX);
        event::opening(retry, cursor, self.hello.as_ref())
    }

    /// What a subscriber is told of a gap.
    pub(super) fn gap(&self, gap: Gap, head: EventId) -> Option<Frame> {
        match &self.on_gap {
            Told::Nothing => None,
            Told::Own(event) => Some(event.frame(head)),
            Told::Reset => Some(protocol_event("reset", format!("{{\"reason\": \"{gap}\"}}")).frame(head)),
        }
    }

    /// The time between two heartbeats.
    pub(super) fn heartbeat_every(&self) -> Option<Duration> {
        self.heartbeat.as_ref().map(|heartbeat| heartbeat.every)
    }

    /// The next heartbeat of a subscriber.
    pub(super) fn heartbeat(&self, cursor: EventId) -> Option<Frame> {
        self.heartbeat.as_ref().map(|heartbeat| match &heartbeat.form {
            BeatForm::Shared(frame) => frame.clone(),
            BeatForm::WithCursor(event) => event.frame(cursor),
        })
    }
}

/// An event of the protocol itself. The names are ours and the data holds no NUL.
pub(super) fn protocol_event(name: &str, data: String) -> Event {
    Event { name: EventName::configured(name).ok(), data: data.into(), retry: None }
}

/// What a client is told when history cannot be read.
pub(super) fn failed() -> Event {
    protocol_event("error", r#"{"error":"Internal Server Error","code":500}"#.to_owned())
}

fn own_event(said: &Said) -> Event {
    let name = said.event.as_deref().and_then(|name| EventName::configured(name).ok());
    Event { name, data: said.data.clone().into(), retry: None }
}

fn fields(route: &StreamRoute) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Said to proxies in front of us that are nginx, which would hold events back.
    fields.insert("x-accel-buffering", HeaderValue::from_static("no"));
    // The address may hold a token; it must not go on to other sites.
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // A word on the connection is for the head of HTTP/1.1 only.
    for (name, value) in route.headers.iter().filter(|(name, _)| name != header::CONNECTION) {
        fields.insert(name.clone(), value.clone());
    }
    fields
}
