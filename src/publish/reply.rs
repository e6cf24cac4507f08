//! Replies: the bytes of a receipt and the HTTP responses around receipts and refusals. Pure.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use crate::event::EventId;
use crate::publish::refusal::{Refusal, RefusalKind};

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Writes `{"id":"k3f9q0-118","delivered":3}`. By hand, since it is done for every publication and nothing in it
/// needs escaping.
pub(super) fn put_receipt(out: &mut Vec<u8>, id: EventId, delivered: usize) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"{\"id\":\"");
    out.extend_from_slice(id.epoch.as_str().as_bytes());
    out.push(b'-');
    out.extend_from_slice(digits.format(id.seq).as_bytes());
    out.extend_from_slice(b"\",\"delivered\":");
    out.extend_from_slice(digits.format(delivered).as_bytes());
    out.push(b'}');
}

/// A good answer.
pub(super) fn ok(kind: HeaderValue, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The answer to what is refused.
pub(super) fn refusal(refusal: &Refusal) -> Response<Bytes> {
    let mut response = ok(JSON, refusal.to_json());
    *response.status_mut() = refusal.status();
    // For who writes the log.
    response.extensions_mut().insert(refusal.kind());
    let fields = response.headers_mut();
    if refusal.status() == StatusCode::UNAUTHORIZED {
        fields.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = refusal.retry_after() {
        fields.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The answer to a method that a path does not take.
pub(super) fn method_not_allowed(allowed: &'static str) -> Response<Bytes> {
    let message = format!("this path takes {allowed} only");
    let mut response = refusal(&Refusal::new(RefusalKind::MethodNotAllowed, message));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Epoch;

    #[test]
    fn a_receipt_is_the_json_of_the_contract() {
        for (seq, delivered) in [(0, 0), (118, 3), (u64::MAX, usize::MAX)] {
            let id = EventId { epoch: Epoch::from_bits(77), seq };
            let mut text = Vec::new();
            put_receipt(&mut text, id, delivered);
            let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(read, serde_json::json!({"id": id.to_string(), "delivered": delivered}));
        }
    }

    #[test]
    fn an_overload_says_when_to_try_again() {
        let response = refusal(&Refusal::new(RefusalKind::Unavailable, "later"));
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let wait = std::time::Duration::from_millis(1001);
        let response = refusal(&Refusal::new(RefusalKind::TooMany, "later").after(wait));
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }
}
