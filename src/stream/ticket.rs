//! `POST ?ticket=1`: a credential is handed in where no log sees it, and a ticket for the stream's address comes back.
//!
//! Invariant: a ticket is given for a credential that would open the stream itself, never for another ticket, and to
//! no page of another site.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use super::StreamSettings;
use super::grant::{Context, StreamError, check_user_id, recognise};
use crate::auth::{CHANNELS_CLAIM, CredentialSource, SealError, TICKET_PARAMETER};
use crate::config::StreamRoute;
use crate::http::{is_media_type, query_values};

/// Whether a `POST` on a stream route is for a ticket: always where there is nothing to mark as read, else if it says
/// anything but a ticket that it was given.
pub fn asks_for_ticket(settings: &StreamSettings, query: Option<&str>) -> bool {
    let mut asked = query_values(query, TICKET_PARAMETER);
    settings.route.replay.unread().is_none() || asked.any(|value| value == "1")
}

/// Answers a `POST` on a stream route that is for a ticket.
pub async fn give_ticket(
    settings: &StreamSettings,
    context: &Context<'_>,
) -> Result<Response<Bytes>, StreamError> {
    context.admit_request()?;
    let fields = &context.parts.headers;
    let mut asked = query_values(context.parts.uri.query(), TICKET_PARAMETER);
    match (asked.next().as_deref(), asked.next()) {
        (None, _) => return Err(StreamError::Method),
        (Some("1"), None) => {}
        _ => return Err(TicketError::Parameter.into()),
    }
    if settings.route.auth.is_empty() {
        return Err(TicketError::Anonymous.into());
    }
    let presented = context.presented();
    let admission = context
        .auth
        .authenticate(&settings.route.auth, presented, context.now)
        .await
        .map_err(StreamError::Unauthorized)?;
    let admission = recognise(admission, context)?;
    check_user_id(context.parts.uri.query(), Some(&admission.identity.user))?;
    // No form of another site can say this.
    if admission.source == CredentialSource::Ambient && !is_media_type(fields, "application/json") {
        return Err(TicketError::NotJson.into());
    }
    context.limits.admit_ticket(Instant::now()).map_err(StreamError::Limited)?;
    let claims = claims_of(&settings.route);
    let ticket = context
        .auth
        .give_ticket(&settings.name, &admission, claims, context.now)
        .map_err(TicketError::Seal)?;
    let said = serde_json::json!({ "ticket": ticket.text, "expires_in": ticket.expires_in.as_secs() });
    let mut response = Response::new(Bytes::from(said.to_string()));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The address of the request may hold a token.
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// The claims that the route's channels are made of, and the one that widens what may be asked for.
fn claims_of(route: &StreamRoute) -> impl Iterator<Item = &str> {
    let patterns = route.channels.iter().chain(&route.allow);
    // What follows a brace up to the next one: `{a}.{b}` is `a` and `b`.
    let named =
        patterns.flat_map(|pattern| pattern.split('{').skip(1).filter_map(|rest| rest.split('}').next()));
    named.chain([CHANNELS_CLAIM])
}

/// Why there is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketError {
    /// The parameter is not exactly one `ticket=1`.
    Parameter,
    /// The stream is open to anybody.
    Anonymous,
    /// The credential is one that browsers send unasked, and the request could be a form's.
    NotJson,
    /// It could not be made.
    Seal(SealError),
}

impl TicketError {
    /// The status of the refusal.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Parameter | Self::Anonymous | Self::Seal(SealError::TooLarge) => StatusCode::BAD_REQUEST,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Seal(SealError::Random) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What a program is told, if its status does not say it.
    pub fn code(self) -> Option<&'static str> {
        (self == Self::Seal(SealError::TooLarge)).then_some("ticket_too_large")
    }
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter => {
                f.write_str("ask for a ticket with one ?ticket=1, and with a credential that is none")
            }
            Self::Anonymous => f.write_str("this stream is open to anybody and needs no ticket"),
            Self::NotJson => {
                f.write_str("with a cookie, a ticket is asked for with Content-Type: application/json")
            }
            Self::Seal(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TicketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Seal(error) => Some(error),
            Self::Parameter | Self::Anonymous | Self::NotJson => None,
        }
    }
}

impl From<TicketError> for StreamError {
    fn from(error: TicketError) -> Self {
        Self::Ticket(error)
    }
}
