//! The unread inbox on a stream's own path: `GET ?inbox=1` shows it, and a `POST` marks events as read.
//!
//! Invariant: what marks anything needs the credential of the stream, and with a cookie a page of its own origin that
//! says JSON, which no form can.

use std::fmt;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use super::StreamSettings;
use super::grant::{Context, StreamError, check_user_id, recognise};
use crate::auth::{Admission, CredentialSource};
use crate::http::{is_media_type, query_values};
use crate::unread::{self, MAX_BODY, UnreadError};

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

/// What asks for the inbox in place of the stream.
const PARAMETER: &str = "inbox";

/// Whether a `GET` is for the inbox and not for the stream; never on a route without one.
pub fn asks_for_inbox(settings: &StreamSettings, query: Option<&str>) -> bool {
    settings.route.replay.unread().is_some() && query_values(query, PARAMETER).any(|value| value == "1")
}

/// Answers a `GET` for the inbox.
pub async fn show_inbox(
    settings: &StreamSettings,
    context: &Context<'_>,
) -> Result<Response<Bytes>, StreamError> {
    let admission = admit(settings, context).await?;
    let after = query_values(context.parts.uri.query(), "after").next();
    let user = &admission.identity.user;
    let page = unread::page(context.hub, user, after.as_deref(), context.now.into()).await;
    Ok(json(page.map_err(InboxError::Unread)?))
}

/// Answers a `POST` that marks events as read.
pub async fn mark_read<B>(
    settings: &StreamSettings,
    context: &Context<'_>,
    body: B,
) -> Result<Response<Bytes>, StreamError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if settings.route.replay.unread().is_none() {
        return Err(StreamError::Method);
    }
    let admission = admit(settings, context).await?;
    if admission.source == CredentialSource::Ambient
        && !is_media_type(&context.parts.headers, "application/json")
    {
        return Err(InboxError::NotJson.into());
    }
    let body = read(body).await?;
    let user = &admission.identity.user;
    let said = unread::mark(context.hub, user, &body, context.now.into()).await;
    Ok(json(said.map_err(InboxError::Unread)?))
}

/// Who it is, by the same credentials as for the stream and within the same rates.
async fn admit(settings: &StreamSettings, context: &Context<'_>) -> Result<Admission, StreamError> {
    context.admit_request()?;
    let admission = context
        .auth
        .authenticate_stream(&settings.name, &settings.route.auth, context.presented(), context.now)
        .await
        .map_err(StreamError::Unauthorized)?;
    let admission = recognise(admission, context)?;
    check_user_id(context.parts.uri.query(), Some(&admission.identity.user))?;
    context.limits.admit_ticket(Instant::now()).map_err(StreamError::Limited)?;
    Ok(admission)
}

async fn read<B>(body: B) -> Result<Bytes, InboxError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large = u64::try_from(MAX_BODY).is_ok_and(|max| body.size_hint().lower() > max);
    if too_large {
        // Before a byte is asked for: a client that waits for `100 Continue` keeps its body.
        return Err(InboxError::TooLarge);
    }
    match timeout(BODY_TIME, pin!(Limited::new(body, MAX_BODY)).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(InboxError::TooLarge),
        Ok(Err(error)) => Err(InboxError::Broken(error)),
        Err(_) => Err(InboxError::Slow),
    }
}

fn json(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The address of the request may hold a token.
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Why an inbox is not shown or marked.
#[derive(Debug)]
pub enum InboxError {
    /// The credential is a cookie, and the request could be a form's.
    NotJson,
    /// The body is longer than any that is understood.
    TooLarge,
    /// The body does not come to its end.
    Slow,
    /// The body broke off.
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// What was asked for makes no sense, or cannot be done now.
    Unread(UnreadError),
}

impl InboxError {
    /// The status of the refusal.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Unread(error) if error.is_ours() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken(_) | Self::Unread(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<InboxError> for StreamError {
    fn from(error: InboxError) -> Self {
        Self::Inbox(error)
    }
}

impl fmt::Display for InboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => {
                f.write_str("with a cookie, events are marked as read with Content-Type: application/json")
            }
            Self::TooLarge => write!(f, "the body is longer than {MAX_BODY} bytes"),
            Self::Slow => write!(f, "the body did not end within {} seconds", BODY_TIME.as_secs()),
            Self::Broken(_) => f.write_str("the body broke off before its end"),
            Self::Unread(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for InboxError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken(error) => Some(&**error),
            Self::Unread(error) => Some(error),
            Self::NotJson | Self::TooLarge | Self::Slow => None,
        }
    }
}
