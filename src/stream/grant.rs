//! From a request to the right to a stream.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use http::header::HeaderMap;
use http::request::Parts;
use http::{HeaderValue, Method};

use super::settings::protocol_event;
use super::ticket::TicketError;
use super::{InboxError, StreamSettings};
use crate::auth::{
    self, Admission, AuthError, Authenticator, CredentialSource, Forwarding, GrantError, Identity, Presented,
    Recheck, Voucher,
};
use crate::config::StreamRoute;
use crate::event::{ChannelName, Event, Frame};
use crate::http::{Peer, from_same_origin, query_values};
use crate::hub::{Held, Hub, NotReady};
use crate::limits::{Asking, Limited, Limits, Permit};
use crate::trace::{Kind, Span};

/// The ways in which clients say their last id, besides the header of the standard.
const LAST_ID_PARAMETERS: [&str; 5] =
    ["lastEventId", "lastEventID", "last_event_id", "Last-Event-ID", "evs_last_event_id"];

/// Where a front end says which user it is for. It decides nothing.
const USER_ID: &str = "userId";

/// A client that is refused in a stream is told to come back after this long, in milliseconds: it has nothing to come
/// back with.
const REFUSED_RETRY: u32 = 3_600_000;

/// A `retry` that many clients are told at once is shortened by up to this share at random.
const RETRY_JITTER: f64 = 0.2;

/// The right to a stream, and all that is needed to open it.
#[derive(Debug)]
pub struct Grant {
    pub(super) settings: Rc<StreamSettings>,
    pub(super) user: Option<String>,
    pub(super) channels: Vec<ChannelName>,
    pub(super) last_id: Option<String>,
    pub(super) expires: Option<SystemTime>,
    pub(super) again: Option<Box<Again>>,
    /// What stands behind the user; none is an anonymous route's.
    pub(super) voucher: Option<Voucher>,
    pub(super) client: String,
    pub(super) target: String,
    /// Fields that the answer has besides those of its route.
    pub(super) fields: Option<Box<HeaderMap>>,
    pub(super) permit: Option<Box<Permit>>,
    /// Whether the limits had no room to count it.
    pub(super) is_uncounted: bool,
    /// Its channels, ready.
    pub(super) held: Held,
    /// The stream's span, if it is recorded.
    pub(super) span: Option<Box<Span>>,
}

/// What it takes to find out whether a stream that is open may stay so.
#[derive(Debug)]
pub(super) struct Again {
    /// How to ask who it is.
    pub(super) recheck: Recheck,
    /// The channels that were asked for, as the request has them.
    asked: Option<Box<str>>,
    /// All that were given.
    granted: Box<[ChannelName]>,
}

impl Again {
    /// Whether it is still the same user, who would still be given every one of the channels.
    pub(super) fn is_good_for(&self, identity: &Identity, route: &StreamRoute) -> bool {
        let given = || auth::grant(Some(identity), &route.channels, &route.allow, self.asked.as_deref());
        self.recheck.is_same(identity) && given().is_ok_and(|given| *given == *self.granted)
    }
}

/// What a request is judged by.
#[derive(Debug)]
pub struct Context<'a> {
    /// Its head.
    pub parts: &'a Parts,
    /// The host it is for.
    pub host: Option<&'a HeaderValue>,
    /// The other end of its connection.
    pub peer: &'a Peer,
    /// The client's address, for the access log.
    pub client: String,
    /// The client's address; none if it came by Unix socket.
    pub address: Option<IpAddr>,
    /// Fields that any answer has because of the origin of the request.
    pub fields: Option<Box<HeaderMap>>,
    /// Whether pages of its origin may use cookies here.
    pub is_listed: bool,
    /// How many streams there may be.
    pub limits: &'a Limits,
    /// Whether the client came by TLS, to us or to a trusted proxy in front of us.
    pub secure: bool,
    /// Who knows credentials.
    pub auth: &'a Authenticator,
    /// Who knows which users are blocked.
    pub hub: &'a Hub,
    /// The time.
    pub now: SystemTime,
}

impl<'a> Context<'a> {
    /// What a provider looks at.
    pub(super) fn presented(&self) -> Presented<'a> {
        let headers = &self.parts.headers;
        let forwarding = Some(Forwarding { peer: self.peer, host: self.host });
        Presented { headers, query: self.parts.uri.query(), secure: self.secure, forwarding }
    }

    /// Whether the address of the request may ask for anything now; and if so, whether that is counted.
    pub(super) fn admit_request(&self) -> Result<bool, StreamError> {
        self.limits.admit_request(self.address, Instant::now()).map_err(StreamError::Limited)
    }
}

/// Why there is no stream.
#[derive(Debug)]
pub enum StreamError {
    /// Streams are read by GET; a POST asks for a ticket, or marks events as read where that is kept.
    Method,
    /// There is no credential, or a wrong one.
    Unauthorized(AuthError),
    /// The credential is one that browsers send unasked, and the page that makes them is another site's.
    ForeignOrigin,
    /// `userId` names somebody else than the credential.
    OtherUser,
    /// There are too many streams.
    Limited(Limited),
    /// A channel was asked for that is not granted, or that cannot be one.
    Channels(GrantError),
    /// There is no ticket to be had in this way.
    Ticket(TicketError),
    /// There is no inbox to be had in this way.
    Inbox(InboxError),
    /// History cannot be read now.
    NotReady(NotReady),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method => f.write_str("a stream is read by GET"),
            Self::Unauthorized(error) => error.fmt(f),
            Self::ForeignOrigin => f.write_str("this origin may not open streams with a cookie"),
            Self::OtherUser => f.write_str(
                "the query's userId is not the user of the credential, and it decides nothing: leave it out",
            ),
            Self::Limited(limited) => limited.fmt(f),
            Self::Channels(error) => error.fmt(f),
            Self::Ticket(error) => error.fmt(f),
            Self::Inbox(error) => error.fmt(f),
            Self::NotReady(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unauthorized(error) => Some(error),
            Self::Channels(error) => Some(error),
            Self::Ticket(error) => Some(error),
            Self::Inbox(error) => Some(error),
            Self::NotReady(error) => Some(error),
            Self::Limited(limited) => Some(limited),
            Self::Method | Self::ForeignOrigin | Self::OtherUser => None,
        }
    }
}

impl Grant {
    /// Judges a request for a stream. The limits come last, so that nothing is taken of them for one that is refused,
    /// but for the rate of its address, which comes first: finding out who it is may cost the app a question.
    pub async fn of(settings: &Rc<StreamSettings>, context: Context<'_>) -> Result<Self, StreamError> {
        let parts = context.parts;
        if parts.method != Method::GET {
            return Err(StreamError::Method);
        }
        let is_counted = context.admit_request()?;
        let route = &settings.route;
        let query = parts.uri.query();
        let (identity, recheck, voucher) = if route.auth.is_empty() {
            (None, None, None)
        } else {
            let presented = context.presented();
            let admission = context
                .auth
                .authenticate_stream(&settings.name, &route.auth, presented, context.now)
                .await
                .map_err(StreamError::Unauthorized)?;
            let admission = recognise(admission, &context)?;
            (Some(admission.identity), admission.recheck, Some(admission.voucher))
        };
        let user = identity.as_ref().map(|identity| &*identity.user);
        check_user_id(query, user)?;
        let asked: Vec<_> = query_values(query, "channels").collect();
        let asked = (!asked.is_empty()).then(|| asked.join(","));
        let channels = auth::grant(identity.as_ref(), &route.channels, &route.allow, asked.as_deref())
            .map_err(StreamError::Channels)?;
        let again = recheck.map(|recheck| {
            let asked = asked.map(String::into_boxed_str);
            Box::new(Again { recheck: *recheck, asked, granted: channels.clone().into() })
        });
        let asking = Asking { user, address: context.address, route: settings.own_limit };
        let admitted = context.limits.admit(asking, Instant::now()).map_err(StreamError::Limited)?;
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let last_id = last_id(&parts.headers, query);
        let held = context.hub.prepare(&channels, last_id.as_deref()).await.map_err(StreamError::NotReady)?;
        Ok(Self {
            held,
            settings: settings.clone(),
            expires: identity.as_ref().and_then(|identity| identity.expires),
            again,
            voucher,
            user: identity.map(|identity| identity.user),
            channels,
            last_id,
            client: context.client,
            target: target.to_owned(),
            fields: context.fields,
            is_uncounted: admitted.uncounted || !is_counted,
            permit: admitted.permit,
            span: None,
        })
    }

    /// Has the stream recorded within the span of its request, if that has one.
    #[must_use]
    pub fn within(self, span: Option<&Span>) -> Self {
        Self { span: span.map(|span| Box::new(span.child(Kind::Internal))), ..self }
    }
}

/// Judges somebody whose credential is good, whatever it was: this is the one way from a provider or a ticket to a
/// stream, or to a ticket.
pub(super) fn recognise(admission: Admission, context: &Context<'_>) -> Result<Admission, StreamError> {
    let is_own = context.is_listed
        || from_same_origin(&context.parts.headers, context.host, context.secure) != Some(false);
    if admission.source == CredentialSource::Ambient && !is_own {
        return Err(StreamError::ForeignOrigin);
    }
    // Looked at again when the stream is registered; here the refusal can still be a status.
    if context.hub.is_blocked(&admission.identity.user, context.now.into()) {
        return Err(StreamError::Unauthorized(AuthError::Blocked));
    }
    Ok(admission)
}

/// Refuses a request whose query names another user than its credential, or any user where there is none.
pub(super) fn check_user_id(query: Option<&str>, user: Option<&str>) -> Result<(), StreamError> {
    if query_values(query, USER_ID).any(|said| Some(&*said) != user) {
        return Err(StreamError::OtherUser);
    }
    Ok(())
}

fn last_id(fields: &HeaderMap, query: Option<&str>) -> Option<String> {
    let said = match fields.get("last-event-id") {
        // What is not text is no id of ours, and is answered as such.
        Some(value) => Some(String::from_utf8_lossy(value.as_bytes()).into_owned()),
        None => LAST_ID_PARAMETERS
            .iter()
            .find_map(|name| query_values(query, name).next())
            .map(std::borrow::Cow::into_owned),
    };
    said.filter(|id| !id.is_empty())
}

/// What a client is told whose credential is not good, or no longer.
pub(super) fn unauthorized() -> Event {
    protocol_event("error", r#"{"error":"Unauthorized","code":401}"#.to_owned())
}

/// What a client is told that is refused in a stream: not to come back soon.
pub fn unauthorized_event() -> Frame {
    Event { retry: Some(REFUSED_RETRY), ..unauthorized() }.frame_without_id()
}

/// What a client is told in a stream when it cannot be found out who it is: to come back as after any break, less a
/// random part of `retry`, so that not all come back at once.
pub fn unavailable_event(retry: Duration) -> Frame {
    let retry = retry.mul_f64(1.0 - RETRY_JITTER * fastrand::f64()).as_millis();
    let mut event = protocol_event("error", r#"{"error":"Unavailable","code":502}"#.to_owned());
    event.retry = Some(u32::try_from(retry).unwrap_or(u32::MAX));
    event.frame_without_id()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn the_last_id_is_found_however_it_is_spelled() {
        for name in LAST_ID_PARAMETERS {
            let query = format!("a=b&{name}=x-1");
            assert_eq!(last_id(&fields(&[]), Some(&query)).unwrap(), "x-1");
        }
        let both = last_id(&fields(&[("last-event-id", "x-2")]), Some("lastEventId=x-1"));
        assert_eq!(both.unwrap(), "x-2");
        assert_eq!(last_id(&fields(&[("last-event-id", "")]), None), None);
        assert_eq!(last_id(&fields(&[]), None), None);
    }

    #[test]
    fn a_refusal_in_a_stream_says_when_to_come_back() {
        let text = unauthorized_event().text();
        let text = std::str::from_utf8(&text).unwrap();
        assert_eq!(text, "event: error\nretry: 3600000\ndata: {\"error\":\"Unauthorized\",\"code\":401}\n\n");
    }
}
