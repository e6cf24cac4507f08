//! Refusals: why a publisher's request was turned down, in the words it is told.
//!
//! Invariant: the codes are the publisher's interface (design, section 5) and never change; messages are for people
//! and may. A message holds nothing of the event's data and no secret.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

/// The longest field name that is repeated to the publisher, in bytes; the rest of it is cut off.
const MAX_FIELD: usize = 80;

/// What kind of refusal it is; each has one code and one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The body is not JSON.
    InvalidJson,
    /// The JSON is not a publication.
    InvalidPublication,
    /// No proof of the publisher, or a wrong one.
    Unauthorized,
    /// The publisher is known and may not do this.
    Forbidden,
    /// Nothing is at that path.
    NotFound,
    /// The path takes another method.
    MethodNotAllowed,
    /// The idempotency key was used for another publication.
    KeyReused,
    /// More bytes or more publications than allowed.
    TooLarge,
    /// The body's media type is not one that is read.
    UnsupportedMediaType,
    /// Too many requests for now.
    TooMany,
    /// It could not be stored; trying again may help.
    Unavailable,
}

impl RefusalKind {
    /// The code that programs read.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidPublication => "invalid_publication",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::KeyReused => "key_reused",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::TooMany => "too_many",
            Self::Unavailable => "unavailable",
        }
    }

    /// The kind that has this code.
    pub(super) fn of_code(code: &str) -> Option<Self> {
        const ALL: [RefusalKind; 11] = [
            RefusalKind::InvalidJson,
            RefusalKind::InvalidPublication,
            RefusalKind::Unauthorized,
            RefusalKind::Forbidden,
            RefusalKind::NotFound,
            RefusalKind::MethodNotAllowed,
            RefusalKind::KeyReused,
            RefusalKind::TooLarge,
            RefusalKind::UnsupportedMediaType,
            RefusalKind::TooMany,
            RefusalKind::Unavailable,
        ];
        ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson | Self::InvalidPublication => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::KeyReused => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// One refusal: its kind, the field it is about if there is one, and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    kind: RefusalKind,
    field: Option<Box<str>>,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal of the whole request.
    pub fn new(kind: RefusalKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, field: None, message: message.into(), retry_after: None }
    }

    /// A refusal of one field. The publisher may have chosen the field's name: it is cut to a bounded length.
    pub fn of_field(kind: RefusalKind, field: &str, message: impl Into<Cow<'static, str>>) -> Self {
        let field = Some(cut(field, MAX_FIELD).into());
        Self { kind, field, message: message.into(), retry_after: None }
    }

    /// The same refusal, said of an element of a batch: `user` becomes `[3].user`. The first element is 0.
    #[must_use]
    pub fn in_element(mut self, index: usize) -> Self {
        self.field = Some(match self.field {
            Some(field) => format!("[{index}].{field}").into(),
            None => format!("[{index}]").into(),
        });
        self
    }

    /// The same refusal, with the time after which trying again may help.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The time after which trying again may help, in whole seconds, if it may help at all.
    pub fn retry_after(&self) -> Option<u64> {
        let overload = matches!(self.kind, RefusalKind::Unavailable | RefusalKind::TooMany);
        let seconds = |wait: Duration| wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        overload.then(|| self.retry_after.map_or(1, seconds).max(1))
    }

    /// What kind of refusal it is.
    pub fn kind(&self) -> RefusalKind {
        self.kind
    }

    /// The field it is about.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The sentence for a person.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The answer's body: one JSON object on one line, without a line break at its end.
    pub fn to_json(&self) -> Bytes {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            field: Option<&'a str>,
            message: &'a str,
        }
        let body = Body { error: self.kind.code(), field: self.field(), message: self.message() };
        // Strings into a Vec: nothing here can fail, and an empty body would still be a refusal by its status.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            // A publisher's field name can hold anything; escaped, it stays on its line of a log.
            Some(field) => write!(f, "{}: {}", field.escape_debug(), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Refusal {}

fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_code_field_and_message() {
        let refusal = Refusal::of_field(RefusalKind::InvalidPublication, "user", "must not be empty");
        assert_eq!(refusal.status(), StatusCode::BAD_REQUEST);
        assert_eq!(
            refusal.to_json(),
            r#"{"error":"invalid_publication","field":"user","message":"must not be empty"}"#
        );
        assert_eq!(
            refusal.in_element(3).to_json(),
            r#"{"error":"invalid_publication","field":"[3].user","message":"must not be empty"}"#
        );
        let whole = Refusal::new(RefusalKind::TooMany, "slow down");
        assert_eq!(whole.to_json(), r#"{"error":"too_many","message":"slow down"}"#);
        assert_eq!(whole.in_element(0).field(), Some("[0]"));
    }

    #[test]
    fn a_hostile_field_name_is_cut_and_escaped() {
        let refusal = Refusal::of_field(
            RefusalKind::InvalidPublication,
            &format!("a\"\n{}", "ü".repeat(200)),
            "is unknown",
        );
        assert!(refusal.field().unwrap().len() <= MAX_FIELD);
        let json = refusal.to_json();
        assert!(!json.contains(&b'\n'));
        assert!(!refusal.to_string().contains('\n'));
        let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(read["field"], refusal.field().unwrap());
    }

    #[test]
    fn every_kind_has_its_own_code() {
        let kinds = [
            (RefusalKind::InvalidJson, "invalid_json", 400),
            (RefusalKind::InvalidPublication, "invalid_publication", 400),
            (RefusalKind::Unauthorized, "unauthorized", 401),
            (RefusalKind::Forbidden, "forbidden", 403),
            (RefusalKind::NotFound, "not_found", 404),
            (RefusalKind::MethodNotAllowed, "method_not_allowed", 405),
            (RefusalKind::KeyReused, "key_reused", 409),
            (RefusalKind::TooLarge, "too_large", 413),
            (RefusalKind::UnsupportedMediaType, "unsupported_media_type", 415),
            (RefusalKind::TooMany, "too_many", 429),
            (RefusalKind::Unavailable, "unavailable", 503),
        ];
        for (kind, code, status) in kinds {
            assert_eq!((kind.code(), kind.status().as_u16()), (code, status));
            assert_eq!(RefusalKind::of_code(code), Some(kind));
        }
    }
}
