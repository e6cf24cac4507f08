//! The status page at `/`: one document with its style and its scripts within, so that nothing else has to be fetched.
//!
//! Invariant: a browser runs and applies what is written here and nothing else. The policy names our style and scripts by
//! their digests, and lets the page speak to this address only.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderName, HeaderValue};

const DOCUMENT: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");

/// In the order in which they are run; what the ones before have defined is there.
const SCRIPTS: [&str; 4] = [
    include_str!("page/plots.js"),
    include_str!("page/now.js"),
    include_str!("page/token.js"),
    include_str!("page/streams.js"),
];

/// What stands in the document for the style, and for the scripts.
const PLACES: [&str; 2] = ["{style}", "{scripts}"];

/// Besides the policy: who comes from here is not told on, and no other page holds on to this one.
const FIELDS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// The page and its policy, made once.
static PAGE: LazyLock<(Bytes, Option<HeaderValue>)> = LazyLock::new(|| {
    let scripts: String = SCRIPTS.iter().map(|script| format!("<script>{script}</script>\n")).collect();
    let page = DOCUMENT.replace(PLACES[0], &format!("<style>{STYLE}</style>")).replace(PLACES[1], &scripts);
    let named = |text: &str| format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        named(STYLE),
        SCRIPTS.map(named).join(" "),
    );
    // Base 64 and our own words: always a header's value.
    (page.into(), HeaderValue::try_from(policy).ok())
});

/// Answers with it.
pub(super) fn answer() -> Response<Bytes> {
    let (page, policy) = &*PAGE;
    let mut response = Response::new(page.clone());
    response.headers_mut().extend(FIELDS);
    response
        .headers_mut()
        .extend(policy.iter().map(|policy| (header::CONTENT_SECURITY_POLICY, policy.clone())));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_fetches_nothing() {
        let response = answer();
        let text = String::from_utf8(response.body().to_vec()).unwrap();
        assert!(PLACES.iter().all(|place| DOCUMENT.matches(place).count() == 1 && !text.contains(place)));
        for outside in ["src=", "href=\"http", "@import", "url(", " style=", " onclick="] {
            assert!(!text.contains(outside), "{outside}");
        }
        // What would end an element early.
        assert!(!STYLE.contains("</") && SCRIPTS.iter().all(|script| !script.contains("</script")));
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert_eq!(policy.matches("'sha256-").count(), 1 + SCRIPTS.len());
        assert!(!policy.contains("unsafe"));
    }
}
