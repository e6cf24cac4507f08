//! What pages of other origins are told, and may see.
//!
//! Invariants: an origin is only ever named back when the route lists it; every answer of a route that lists some says
//! `Vary: Origin`, so that a cache in between does not give one page another one's leave.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::config::{Cors, Origins};

/// How long a browser may remember the answer to a preflight, in seconds: what Chromium takes at most.
const MAX_AGE: u32 = 7200;

/// Fields that a request may have, besides those of webhooks.
const FIELDS: [HeaderName; 5] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_TYPE,
    HeaderName::from_static("last-event-id"),
];

/// What the fields of a webhook begin with.
const WEBHOOK: &str = "webhook-";

/// The most of the fields a preflight asks for that are looked at.
const MAX_ASKED: usize = 32;

/// What is said to one request because of the origin it comes from.
#[derive(Debug, Default)]
pub(super) struct Leave {
    /// The fields of every answer to it.
    pub(super) fields: HeaderMap,
    /// Whether a page of its origin may use cookies.
    pub(super) with_credentials: bool,
}

impl Leave {
    /// Judges the origin of a request.
    pub(super) fn of(cors: &Cors, request: &HeaderMap) -> Self {
        let mut leave = Self::default();
        let listed = match &cors.origins {
            Origins::Any => {
                let any = HeaderValue::from_static("*");
                leave.fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
                return leave;
            }
            Origins::Listed(listed) => listed,
        };
        leave.fields.insert(header::VARY, HeaderValue::from_static("Origin"));
        let mut origins = request.get_all(header::ORIGIN).iter();
        if let (Some(origin), None) = (origins.next(), origins.next())
            && listed.contains(origin)
        {
            leave.fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            if cors.credentials {
                let yes = HeaderValue::from_static("true");
                leave.fields.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            }
            leave.with_credentials = cors.credentials;
        }
        leave
    }

    /// Says it in an answer, besides what the answer says already.
    fn put(&self, fields: &mut HeaderMap) {
        for (name, value) in &self.fields {
            fields.append(name, value.clone());
        }
    }

    /// The answer to a preflight: no credential comes with it, and none is needed.
    pub(super) fn preflight(&self, request: &HeaderMap) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let fields = response.headers_mut();
        self.put(fields);
        fields.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
        if !fields.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            return response;
        }
        fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        fields.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(MAX_AGE));
        let asked = request.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
        let names = asked.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
        let allowed: Vec<_> = names.take(MAX_ASKED).filter_map(allowed).collect();
        if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", "))
            && !allowed.is_empty()
        {
            fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        }
        response
    }
}

/// Says in an answer what is said because of the origin, if anything is.
pub(super) fn put<B>(leave: Option<&Leave>, response: &mut Response<B>) {
    if let Some(leave) = leave {
        leave.put(response.headers_mut());
    }
}

/// Whether a request asks for leave, for another one that is to follow.
pub(super) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The name of a field, if a request may have it.
fn allowed(name: &str) -> Option<String> {
    let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
    (FIELDS.contains(&name) || name.as_str().starts_with(WEBHOOK)).then(|| name.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(credentials: bool) -> Cors {
        let origins = Origins::Listed(vec![HeaderValue::from_static("https://app.example")]);
        Cors { origins, credentials }
    }

    fn request(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        fields
    }

    #[test]
    fn only_a_listed_origin_is_named() {
        for origin in
            ["https://app.example.evil", "https://APP.example", "http://app.example", "null", "*", ""]
        {
            let leave = Leave::of(&listed(true), &request(&[("origin", origin)]));
            assert_eq!(leave.fields, request(&[("vary", "Origin")]), "{origin}");
            assert!(!leave.with_credentials);
        }
        let leave = Leave::of(&listed(true), &request(&[("origin", "https://app.example")]));
        assert_eq!(leave.fields["access-control-allow-origin"], "https://app.example");
        assert_eq!(leave.fields["access-control-allow-credentials"], "true");
        assert!(leave.with_credentials);
        let leave = Leave::of(&listed(false), &request(&[("origin", "https://app.example")]));
        assert!(!leave.with_credentials && !leave.fields.contains_key("access-control-allow-credentials"));
        let twice = [("origin", "https://app.example"), ("origin", "https://evil.example")];
        assert!(!Leave::of(&listed(true), &request(&twice)).with_credentials);
        let any = Leave::of(&Cors { origins: Origins::Any, credentials: false }, &request(&twice));
        assert_eq!(any.fields, request(&[("access-control-allow-origin", "*")]));
    }

    #[test]
    fn of_what_a_preflight_asks_only_what_is_read_here_is_allowed() {
        let asks = request(&[
            ("origin", "https://app.example"),
            ("access-control-request-headers", "Authorization, x-evil, webhook-id,,last-event-id"),
            ("access-control-request-private-network", "true"),
        ]);
        let answer = Leave::of(&listed(true), &asks).preflight(&asks);
        let allowed = &answer.headers()["access-control-allow-headers"];
        assert_eq!(allowed, "authorization, webhook-id, last-event-id");
        assert!(!answer.headers().keys().any(|name| name.as_str().contains("private")));
    }
}
