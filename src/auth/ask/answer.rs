//! What an app's answer says: somebody is signed in, nobody is, or nothing that can be used.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value};

use super::super::{CHANNELS_CLAIM, Identity, Reason, identity};
use crate::config::AskProvider;
use crate::event::is_user_id;
use crate::fetch::{Answer, FetchError};

/// A clear answer.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// This is who it is.
    Known(Arc<Identity>),
    /// It is nobody.
    Refused(Reason),
}

impl Verdict {
    /// About how many bytes of memory its claims take: many times those of the JSON where that is a list of digits.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Known(identity) => {
                identity.claims.iter().map(|(name, value)| entry_weight(name, value)).sum()
            }
            Self::Refused(_) => 0,
        }
    }
}

fn entry_weight(name: &str, value: &Value) -> usize {
    size_of::<String>() + name.len() + weight(value)
}

/// The parser of JSON bounds the depth.
fn weight(value: &Value) -> usize {
    let inside = match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Object(entries) => entries.iter().map(|(name, value)| entry_weight(name, value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size_of::<Value>() + inside
}

/// Why there is no clear answer.
#[derive(Debug)]
pub(super) enum Unclear {
    /// The app could not be asked.
    Fetch(FetchError),
    /// A status that says nothing of who it is.
    Status(StatusCode),
    /// The user is looked for in JSON, and there is none.
    NotJson(serde_json::Error),
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(error) => error.fmt(f),
            Self::Status(status) => write!(f, "it answered {status}"),
            Self::NotJson(error) => write!(f, "its answer is not JSON: {error}"),
        }
    }
}

impl std::error::Error for Unclear {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Fetch(error) => Some(error),
            Self::NotJson(error) => Some(error),
            Self::Status(_) => None,
        }
    }
}

/// Reads an answer. 401, 403 and redirects, which are to a page to sign in at, say that nobody is signed in; so does
/// 2xx without a user.
pub(super) fn judge(provider: &AskProvider, answer: &Answer) -> Result<Verdict, Unclear> {
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(Verdict::Refused(Reason::SignedOut)),
        status if status.is_redirection() => return Ok(Verdict::Refused(Reason::SignedOut)),
        status if !status.is_success() => return Err(Unclear::Status(status)),
        _ => {}
    }
    let body = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(body) => body,
        // 204, or an answer that says all in its header.
        Err(_) if answer.body.is_empty() || provider.user.is_empty() => Value::Null,
        Err(error) => return Err(Unclear::NotJson(error)),
    };
    let user = match user(provider, answer, &body) {
        Ok(Some(user)) => user,
        Ok(None) => return Ok(Verdict::Refused(Reason::SignedOut)),
        Err(place) => return Ok(Verdict::Refused(Reason::Claim(place))),
    };
    let channels = provider.channels.as_ref().and_then(|pointer| body.pointer(pointer)).cloned();
    let mut claims = match body {
        Value::Object(claims) => claims,
        _ => Map::new(),
    };
    // Only what the operator points at may widen what this subscriber gets.
    claims.remove(CHANNELS_CLAIM);
    claims.extend(channels.map(|channels| (CHANNELS_CLAIM.to_owned(), channels)));
    Ok(Verdict::Known(Arc::new(Identity { user, expires: None, claims })))
}

/// The user's id; none when there is none, and the place of one that is there and cannot be used.
fn user(provider: &AskProvider, answer: &Answer, body: &Value) -> Result<Option<String>, String> {
    if let Some(name) = &provider.user_header
        && let Some(value) = answer.fields.get(name).filter(|value| !value.is_empty())
    {
        let text = value.to_str().ok().filter(|text| is_user_id(text));
        return text.map(|text| Some(text.to_owned())).ok_or_else(|| name.to_string());
    }
    let found = provider.user.iter().find_map(|pointer| {
        let value = body.pointer(pointer)?;
        let is_nobody = matches!(value, Value::Null | Value::Bool(false)) || value == "";
        (!is_nobody).then_some((pointer, value))
    });
    match found {
        None => Ok(None),
        Some((pointer, value)) => match identity::id(value) {
            Some(id) => Ok(Some(id.into_owned())),
            None => Err(pointer.clone()),
        },
    }
}
