//! What must not pass a proxy: hop-by-hop fields, and fields that would mean something else to the app.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Method};
use smallvec::SmallVec;

use super::handed::HandedFile;

/// Whether a field concerns one connection only (RFC 9110, section 7.6.1, and those of old). Asked of every field, so it is
/// no list to be gone through.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Fields that a client must not have removed by naming them in `Connection`.
pub(super) const END_TO_END: [&str; 6] =
    ["host", "cookie", "authorization", "content-length", "content-type", "content-encoding"];

/// Whether a request's field never goes to an app, whatever its value: `Proxy` becomes `HTTP_PROXY` in a CGI environment, `Expect` is answered
/// by us, and the last would skip the middleware of a Next.js app.
pub(super) fn is_kept_back(name: &str) -> bool {
    matches!(name, "proxy" | "expect" | "x-middleware-subrequest")
}

/// The most names that a request's `Connection` may hold. Every field is held against every one of them.
pub(super) const MAX_NAMED: usize = 32;

/// A `Connection` field names a field that is not the connection's, or more of them than a connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HopByHopError;

impl fmt::Display for HopByHopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the Connection field names a field that belongs to the message, or too many fields")
    }
}

impl std::error::Error for HopByHopError {}

/// The fields that a request's `Connection` names, which end here.
pub(super) fn removed_by_connection(fields: &HeaderMap) -> Result<Named, HopByHopError> {
    let named = named_by_connection(fields);
    if named.len() > MAX_NAMED || named.iter().any(|name| END_TO_END.contains(&name.as_str())) {
        return Err(HopByHopError);
    }
    Ok(named)
}

/// Whether a request's field never goes to an app, whoever sends it.
pub(super) fn is_dropped(name: &str) -> bool {
    is_hop_by_hop(name) || is_kept_back(name) || name.as_bytes().contains(&b'_')
}

/// Takes out what concerns the upstream's connection only, and what an app says to its proxy. Gives the file that the
/// app wants sent in the place of its answer's body, if it names one.
pub fn clean_response_fields(fields: &mut HeaderMap) -> Option<HandedFile> {
    // Most have nothing of the kind, and then nothing that names more of it: one look instead of many.
    if !fields.keys().any(ends_here) {
        return None;
    }
    let named = named_by_connection(fields);
    // Of a response without a length both forms of framing would contradict each other (RFC 9112, section 6.3).
    if fields.contains_key(header::TRANSFER_ENCODING) {
        fields.remove(header::CONTENT_LENGTH);
    }
    let mut handed = None;
    for name in to_remove(fields, &named) {
        if is_for_proxy(name.as_str()) && handed.is_none() {
            handed = HandedFile::named(fields);
        }
        // Removes every line of the field; what is returned is the first of them.
        fields.remove(name);
    }
    handed
}

/// Whether an app says this to its proxy and not to the client.
pub(super) fn is_for_proxy(name: &str) -> bool {
    name.starts_with("x-accel-") || name == "x-sendfile"
}

/// Whether this is a WebSocket handshake (RFC 6455, section 4.1) on a connection that can be handed over.
pub fn is_upgrade(request: &Parts) -> bool {
    let fields = &request.headers;
    names_websocket(fields)
        && request.method == Method::GET
        && request.version == http::Version::HTTP_11
        && fields.contains_key(header::SEC_WEBSOCKET_KEY)
        && fields.contains_key(header::SEC_WEBSOCKET_VERSION)
        && tokens(fields.get_all(header::CONNECTION)).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// Whether `Upgrade` names WebSocket and nothing else, in a request or in the answer to it.
pub fn names_websocket(fields: &HeaderMap) -> bool {
    let mut lines = fields.get_all(header::UPGRADE).iter();
    lines.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && lines.next().is_none()
}

/// Names of fields; seldom any.
pub(super) type Named = SmallVec<[HeaderName; 4]>;

fn named_by_connection(fields: &HeaderMap) -> Named {
    let lines = fields.get_all(header::CONNECTION);
    // What nearly all say, and it names nothing that is not removed anyway.
    let usual = |line: &HeaderValue| matches!(line.as_bytes(), b"keep-alive" | b"close");
    if lines.iter().all(usual) {
        return SmallVec::new();
    }
    // Every line counts, not only the first (RFC 9110, section 5.3). One more than are taken shows that there are more.
    let names = tokens(lines).filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok());
    names.take(MAX_NAMED + 1).collect()
}

fn tokens<'f>(lines: header::GetAll<'f, HeaderValue>) -> impl Iterator<Item = &'f str> {
    lines
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// The names of what does not go to the client; seldom any.
fn to_remove(fields: &HeaderMap, named: &[HeaderName]) -> Vec<HeaderName> {
    fields.keys().filter(|name| ends_here(name) || named.contains(name)).cloned().collect()
}

/// Whether an app's field never goes to the client, whatever its value.
fn ends_here(name: &HeaderName) -> bool {
    is_hop_by_hop(name.as_str()) || is_for_proxy(name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map
    }

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn responses_lose_framing_and_words_to_the_proxy() {
        let mut fields = map(&[
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("x-accel-redirect", "/secret"),
            ("x-sendfile", "/etc/passwd"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("set-cookie", "a=b"),
        ]);
        let handed = clean_response_fields(&mut fields);
        assert_eq!(names(&fields), ["set-cookie"]);
        assert_eq!(handed, Some(HandedFile::Target("/secret".parse().unwrap())));
        let mut fields = map(&[("x-accel-buffering", "no"), ("x-sendfile", "/etc/passwd")]);
        assert_eq!(
            clean_response_fields(&mut fields),
            Some(HandedFile::Path("/etc/passwd".parse().unwrap()))
        );
        assert_eq!(clean_response_fields(&mut map(&[("x-accel-buffering", "no"), ("x-sendfile", "")])), None);
    }

    #[test]
    fn only_a_whole_websocket_handshake_is_an_upgrade() {
        let handshake = || {
            Request::get("/ws")
                .header("connection", "keep-alive, Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-key", "x")
                .header("sec-websocket-version", "13")
        };
        let is_upgrade =
            |request: http::request::Builder| super::is_upgrade(&request.body(()).unwrap().into_parts().0);
        assert!(is_upgrade(handshake()));
        assert!(!is_upgrade(handshake().method("POST")));
        assert!(!is_upgrade(Request::get("/").header("upgrade", "websocket")));
        assert!(!is_upgrade(Request::get("/").header("connection", "upgrade").header("upgrade", "h2c")));
    }
}
