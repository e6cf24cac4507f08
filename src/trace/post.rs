//! Handing a batch to the collector.
//!
//! Invariant: each wait has an end, and what is tried again is tried once.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, Request, StatusCode, Uri};

use crate::config::Traces;
use crate::fetch::{FetchError, Place, send};

/// How long the collector may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How much of its answer is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// When a batch is tried again, unless the collector says otherwise; and the longest that it may say.
const RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(10);

/// Where batches are handed in.
#[derive(Debug)]
pub(super) struct Collector {
    place: Place,
    target: Uri,
}

/// Why a batch was not taken.
#[derive(Debug)]
pub(super) enum PostError {
    /// There was no answer.
    Fetch(FetchError),
    /// There was, and it was not a good one.
    Status {
        status: StatusCode,
        /// When it is worth another try, if it is.
        retry: Option<Duration>,
    },
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(error) => error.fmt(f),
            Self::Status { status, .. } => write!(f, "it answers {}", status.as_u16()),
        }
    }
}

impl std::error::Error for PostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Fetch(error) => Some(error),
            Self::Status { .. } => None,
        }
    }
}

impl PostError {
    /// When to try again, if that is of use.
    pub(super) fn retry(&self) -> Option<Duration> {
        match self {
            Self::Fetch(FetchError::Connect(_) | FetchError::Broken(_)) => Some(RETRY),
            Self::Fetch(_) => None,
            Self::Status { retry, .. } => *retry,
        }
    }
}

impl Collector {
    pub(super) fn new(traces: &Traces) -> Self {
        Self { place: Place::new(traces.origin.clone()), target: traces.target.clone() }
    }

    /// Hands in a batch. Says how many of its spans were turned down.
    pub(super) async fn post(&self, body: Bytes) -> Result<u64, PostError> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = send(&self.place, request, MAX_ANSWER, ANSWER).await.map_err(PostError::Fetch)?;
        match answer.status.as_u16() {
            200..=299 => Ok(rejected(&answer.body)),
            429 | 502..=504 => {
                let retry = retry_after(&answer.fields).unwrap_or(RETRY);
                Err(PostError::Status { status: answer.status, retry: Some(retry.min(MAX_RETRY)) })
            }
            _ => Err(PostError::Status { status: answer.status, retry: None }),
        }
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.target)
    }
}

/// A whole number of seconds; a date is none.
fn retry_after(fields: &HeaderMap) -> Option<Duration> {
    let seconds = fields.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// How many spans a collector says that it has not taken, in an answer that is good otherwise.
fn rejected(answer: &[u8]) -> u64 {
    let said: Option<serde_json::Value> = serde_json::from_slice(answer).ok();
    let said = said.as_ref().map(|said| &said["partialSuccess"]["rejectedSpans"]);
    // A number of 64 bits is a string; some write it as a number.
    said.and_then(|said| said.as_u64().or_else(|| said.as_str()?.parse().ok())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_turn_spans_down() {
        for (answer, count) in [
            ("", 0),
            ("{}", 0),
            ("no json", 0),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":{"rejectedSpans":"3"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":4,"errorMessage":"x"}}"#, 4),
        ] {
            assert_eq!(rejected(answer.as_bytes()), count, "{answer}");
        }
    }

    #[test]
    fn a_collector_may_say_when() {
        for (said, seconds) in [("7", Some(7)), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)] {
            let fields = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(said))]);
            assert_eq!(retry_after(&fields), seconds.map(Duration::from_secs));
        }
    }
}
