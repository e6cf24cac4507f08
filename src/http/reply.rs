//! Small answers of our own: a plain page for a person, JSON for a program.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

/// What a small answer says.
#[derive(Debug, Clone)]
pub struct Reply<'a> {
    /// The status.
    pub status: StatusCode,
    /// What went wrong as a word for programs; none is the status as a word.
    pub code: Option<&'static str>,
    /// One sentence for whoever reads it. Holds nothing that a client sent.
    pub message: &'a str,
    /// Seconds after which it makes sense to ask again.
    pub retry_after: Option<u32>,
}

/// Whether a client would rather have JSON: its `Accept` names a JSON type and does not name HTML. Of several lines,
/// which nobody sends, the first counts.
pub fn accepts_json(accept: Option<&HeaderValue>) -> bool {
    let names =
        |kind: &[u8]| accept.is_some_and(|line| memchr::memmem::find(line.as_bytes(), kind).is_some());
    names(b"json") && !names(b"text/html")
}

/// Builds the answer. Never cached: it speaks of this moment.
pub fn reply(said: &Reply<'_>, json: bool) -> Response<Bytes> {
    let (kind, body) = if json {
        let word = said.code.map_or_else(|| code(said.status), str::to_owned);
        let body = serde_json::json!({ "error": word, "message": said.message });
        ("application/json", body.to_string())
    } else {
        ("text/html; charset=utf-8", page(said))
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = said.status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The address may hold a token; a page's icon would be asked for with it.
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(seconds) = said.retry_after {
        fields.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if said.status == StatusCode::UNAUTHORIZED {
        fields.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn page(said: &Reply<'_>) -> String {
    let status = said.status.as_u16();
    let reason = said.status.canonical_reason().unwrap_or("Error");
    let message = said.message;
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{status} {reason}</title>\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto 0;padding:0 1.5rem;\
         color-scheme:light dark}}h1{{font-size:1.4rem;margin:0 0 .5rem}}p{{margin:0;opacity:.75}}</style>\
         <h1>{status} {reason}</h1><p>{message}</p></html>\n"
    )
}

/// The status as a word for programs: `bad_gateway`.
fn code(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("error").to_ascii_lowercase().replace(' ', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_for_those_who_ask() {
        for (accept, json) in [
            ("application/json", true),
            ("application/problem+json, */*", true),
            ("text/html,application/json", false),
            ("*/*", false),
            ("text/event-stream", false),
        ] {
            assert_eq!(accepts_json(Some(&accept.parse().unwrap())), json, "{accept}");
        }
        assert!(!accepts_json(None));
    }

    #[test]
    fn a_code_of_its_own_is_told() {
        let said =
            Reply { status: StatusCode::BAD_REQUEST, code: Some("own"), message: "m", retry_after: None };
        let json = reply(&said, true);
        assert_eq!(json.body(), r#"{"error":"own","message":"m"}"#);
        assert_eq!(json.headers()["referrer-policy"], "no-referrer");
    }

    #[test]
    fn says_the_same_both_ways() {
        let said = Reply {
            status: StatusCode::BAD_GATEWAY,
            code: None,
            message: "the app does not answer",
            retry_after: Some(2),
        };
        let json = reply(&said, true);
        assert_eq!(json.body(), r#"{"error":"bad_gateway","message":"the app does not answer"}"#);
        assert_eq!(json.headers()["retry-after"], "2");
        let page = reply(&said, false);
        assert_eq!(page.status(), 502);
        assert!(std::str::from_utf8(page.body()).unwrap().contains("the app does not answer"));
    }
}
