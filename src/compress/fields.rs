//! The fields of a compressed answer (RFC 9110, sections 8.4 and 8.8; RFC 9111, section 5.2). Pure.

use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, HeaderValue, TRAILER, VARY,
};

use crate::http::Coding;

/// Fields that were reckoned from the bytes of the body, and of which no other bytes come out. Trailers may be such.
const OF_THE_BYTES: [HeaderName; 5] = [
    TRAILER,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Whether the answer has a body, and all of it.
pub(super) fn has_whole_body(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        )
}

/// Whether nothing but the rules of caches speaks against other bytes.
pub(super) fn may_change(fields: &HeaderMap) -> bool {
    !fields.contains_key(CONTENT_ENCODING)
        && !fields.contains_key(CONTENT_RANGE)
        && !OF_THE_BYTES.iter().any(|name| fields.contains_key(name))
}

/// Whether a request or an answer wants the body as it is: `no-transform`.
pub(super) fn forbids(fields: &HeaderMap) -> bool {
    entries(fields, &CACHE_CONTROL).any(|entry| entry.eq_ignore_ascii_case(b"no-transform"))
}

/// Whether the body is of one of these types: whole, "text/*" or "*+json". Never an event stream: its events would
/// wait for each other.
pub(super) fn is_one_of(fields: &HeaderMap, types: &[String]) -> bool {
    let said = fields.get(CONTENT_TYPE).and_then(|line| line.as_bytes().split(|byte| *byte == b';').next());
    let Some(said) = said.map(|said| said.trim_ascii().to_ascii_lowercase()) else { return false };
    said != b"text/event-stream"
        && types.iter().any(|wanted| match (wanted.strip_suffix('*'), wanted.strip_prefix('*')) {
            (Some(family), _) => said.starts_with(family.as_bytes()),
            (_, Some(syntax)) => said.ends_with(syntax.as_bytes()),
            (None, None) => said == wanted.as_bytes(),
        })
}

/// Says that another `Accept-Encoding` would have had another answer.
pub(super) fn vary(fields: &mut HeaderMap) {
    let is_said = |entry: &[u8]| entry == b"*" || entry.eq_ignore_ascii_case(b"accept-encoding");
    if !entries(fields, &VARY).any(is_said) {
        fields.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Makes the fields those of a coded body.
pub(super) fn code(fields: &mut HeaderMap, coding: Coding) {
    fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    // It is not known yet, and no part of what comes out could be asked for.
    fields.remove(CONTENT_LENGTH);
    fields.remove(ACCEPT_RANGES);
    weaken(fields);
}

/// Makes the name of the body a weak one: other bytes have it too.
pub(super) fn weaken(fields: &mut HeaderMap) {
    let Some(tag) = fields.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else { return };
    let weak = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat());
    match weak {
        Ok(weak) if tag.as_bytes().starts_with(b"\"") => {
            fields.insert(ETAG, weak);
        }
        // It was no name.
        _ => {
            fields.remove(ETAG);
        }
    }
}

fn entries<'f>(fields: &'f HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'f [u8]> {
    let lines = fields.get_all(name).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_weak() {
        for (tag, expected) in
            [("\"x\"", Some("W/\"x\"")), ("W/\"x\"", Some("W/\"x\"")), ("x", None), ("", None)]
        {
            let mut fields = HeaderMap::from_iter([(ETAG, HeaderValue::from_static(tag))]);
            weaken(&mut fields);
            assert_eq!(fields.get(ETAG).map(|tag| tag.to_str().unwrap()), expected, "{tag}");
        }
    }

    #[test]
    fn what_varies_is_said_once() {
        for (said, expected) in [
            (&[][..], &["accept-encoding"][..]),
            (&["Cookie"], &["Cookie", "accept-encoding"]),
            (&["Cookie, Accept-Encoding"], &["Cookie, Accept-Encoding"]),
            (&["*"], &["*"]),
        ] {
            let mut fields: HeaderMap =
                said.iter().map(|said| (VARY, HeaderValue::from_static(said))).collect();
            vary(&mut fields);
            assert_eq!(fields.get_all(VARY).iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn types_are_whole_or_have_one_star() {
        let types = ["text/*", "*+json", "application/json"].map(str::to_owned);
        for (said, is_one) in [
            ("text/html", true),
            ("TEXT/HTML ; charset=utf-8", true),
            ("application/ld+json", true),
            ("application/json", true),
            ("application/json5", false),
            ("application/x-text/html", false),
            ("text/event-stream;charset=utf-8", false),
            ("json", false),
        ] {
            let fields = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(said))]);
            assert_eq!(is_one_of(&fields, &types), is_one, "{said}");
        }
    }
}
