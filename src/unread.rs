//! The unread inbox in JSON, the same for a browser on the stream's path and for the app on the publish socket.
//!
//! Invariant: what a request says is either understood as a whole or refused; no text of it is repeated.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::event::{EventId, Timestamp};
use crate::hub::{Hub, MarkError, Read, UnreadableError};

/// The most ids in one request.
pub const MAX_IDS: usize = 1000;

/// The longest request, in bytes: room for so many ids, with white space.
pub const MAX_BODY: usize = 64 * 1024;

/// The most events of one page.
const PAGE: usize = 100;

/// The most bytes of one page, as far as more than one event is in it.
const PAGE_BYTES: usize = 1024 * 1024;

/// Marks what a request names, as `{"read": ["id", …]}` or `{"read_up_to": "id"}`, and writes the answer.
///
/// # Errors
/// What is wrong with the request; or why it cannot be done now. Then nothing is marked.
pub async fn mark(hub: &Hub, user: &str, json: &[u8], now: Timestamp) -> Result<Bytes, UnreadError> {
    let left = hub.mark_read(user, &wish(json)?, now).await.map_err(UnreadError::NotMarked)?;
    Ok(format!("{{\"unread\":{left}}}").into())
}

/// Writes a page of what a user has not read: how much it is in all, the events past the id `after`, oldest first, and
/// under `next` what to give as `after` for the next page, if there is one.
///
/// # Errors
/// If `after` is no id, or the disk cannot be read.
pub async fn page(hub: &Hub, user: &str, after: Option<&str>, now: Timestamp) -> Result<Bytes, UnreadError> {
    let after = after.map(str::parse).transpose().map_err(|_| UnreadError::Id)?;
    let found = hub.unread(user, after, (PAGE, PAGE_BYTES), now).await.map_err(UnreadError::Store)?;
    let events: Vec<_> = found
        .records
        .iter()
        .map(|record| {
            let parsed = record.frame.parsed();
            Entry {
                id: EventId { epoch: hub.epoch(), seq: record.seq }.to_string(),
                event: parsed.name.unwrap_or_else(|| "message".to_owned()),
                data: value_of(&parsed.data),
                at: record.at.0,
            }
        })
        .collect();
    let next = events.last().filter(|_| found.more).map(|last| last.id.clone());
    let page = Page { unread: found.count, events, next };
    // There is nothing in it that JSON cannot say.
    Ok(serde_json::to_vec(&page).unwrap_or_default().into())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish<'a> {
    #[serde(borrow, default)]
    read: Option<Vec<&'a str>>,
    #[serde(borrow, default)]
    read_up_to: Option<&'a str>,
}

#[derive(Serialize)]
struct Page {
    unread: usize,
    events: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    id: String,
    event: String,
    data: Option<Box<RawValue>>,
    /// Milliseconds since 1970, as JavaScript counts.
    at: u64,
}

/// Reads what is to be marked.
fn wish(json: &[u8]) -> Result<Read, UnreadError> {
    // An array of the values would be read as the object, too.
    if json.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(UnreadError::NotObject);
    }
    let wish: Wish<'_> = serde_json::from_slice(json).map_err(UnreadError::Json)?;
    let id = |text: &str| text.parse::<EventId>().map_err(|_| UnreadError::Id);
    match (wish.read, wish.read_up_to) {
        (Some(ids), None) if ids.len() > MAX_IDS => Err(UnreadError::TooMany),
        (Some(ids), None) => ids.into_iter().map(id).collect::<Result<_, _>>().map(Read::Events),
        (None, Some(up_to)) => id(up_to).map(Read::UpTo),
        _ => Err(UnreadError::OneOf),
    }
}

/// Data as a value: JSON as it was written, anything else as a string.
fn value_of(data: &str) -> Option<Box<RawValue>> {
    serde_json::from_str(data).or_else(|_| to_raw_value(data)).ok()
}

/// Why an inbox is not shown or marked.
#[derive(Debug)]
pub enum UnreadError {
    /// The body is not such a JSON object.
    Json(serde_json::Error),
    /// The body is something else than an object.
    NotObject,
    /// It names both, or neither.
    OneOf,
    /// An id is none of ours.
    Id,
    /// There are more than [`MAX_IDS`] ids.
    TooMany,
    /// It cannot be marked now.
    NotMarked(MarkError),
    /// What is unread cannot be read from disk.
    Store(UnreadableError),
}

impl UnreadError {
    /// Whether there is nothing wrong with the request, which may be tried again.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::NotMarked(_) | Self::Store(_))
    }
}

impl fmt::Display for UnreadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(_) | Self::NotObject => {
                f.write_str("send JSON: {\"read\": [\"id\", …]} or {\"read_up_to\": \"id\"}")
            }
            Self::OneOf => f.write_str("say exactly one of `read` and `read_up_to`"),
            Self::Id => f.write_str("an id is not one that an event had"),
            Self::TooMany => {
                write!(f, "a request marks at most {MAX_IDS} ids; send several, or `read_up_to`")
            }
            Self::NotMarked(error) => error.fmt(f),
            Self::Store(_) => f.write_str("what is unread cannot be read now; try again"),
        }
    }
}

impl std::error::Error for UnreadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            Self::NotMarked(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::NotObject | Self::OneOf | Self::Id | Self::TooMany => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Epoch;

    #[test]
    fn a_request_says_one_thing_in_ids() {
        let id = |seq| EventId { epoch: Epoch::from_bits(0), seq };
        let good = |json: &str| wish(json.as_bytes()).unwrap();
        assert_eq!(good(r#"{"read": ["000000-1", "000000-2"]}"#), Read::Events(vec![id(1), id(2)]));
        assert_eq!(good(r#"{"read": []}"#), Read::Events(vec![]));
        assert_eq!(good(r#"{"read_up_to": "000000-7"}"#), Read::UpTo(id(7)));
        let many = format!("{{\"read\": [{}\"000000-1\"]}}", "\"000000-1\",".repeat(MAX_IDS));
        for (bad, is) in [
            ("", "Json"),
            ("[]", "NotObject"),
            (r#"[["000000-1"]]"#, "NotObject"),
            (r#"{"read": "000000-1"}"#, "Json"),
            (r#"{"read": [1]}"#, "Json"),
            (r#"{"raed": []}"#, "Json"),
            (r"{}", "OneOf"),
            (r#"{"read": [], "read_up_to": "000000-1"}"#, "OneOf"),
            (r#"{"read": ["1"]}"#, "Id"),
            (r#"{"read_up_to": ""}"#, "Id"),
            (&many, "TooMany"),
        ] {
            let error = format!("{:?}", wish(bad.as_bytes()).unwrap_err());
            assert!(error.starts_with(is), "{bad}: {error}");
        }
        assert!(many.len() < MAX_BODY);
    }

    #[test]
    fn data_that_is_json_is_a_value() {
        for (data, value) in [
            (r#"{"a": 1}"#, r#"{"a": 1}"#),
            ("42", "42"),
            ("null", "null"),
            ("hello", r#""hello""#),
            ("a\nb", r#""a\nb""#),
            ("", r#""""#),
            (r#"{"a": 1"#, r#""{\"a\": 1""#),
        ] {
            assert_eq!(value_of(data).unwrap().get(), value, "{data}");
        }
    }
}
