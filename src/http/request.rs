//! The fields of a request as the app gets them: what the client says, without what it may not say, and what we know
//! of the client.
//!
//! They are handed over line by line and written as they come, since this is done for every request: no map is
//! changed, and nothing is copied but what has to be joined.

use http::HeaderValue;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::fields::{HopByHopError, is_dropped, removed_by_connection};
use super::forwarded::{
    Peer, X_FORWARDED_FOR, X_FORWARDED_PREFIX, is_forwarding, is_of_certificate, say_forwarded,
};

/// The host of a request that named none: HTTP/1.0 may leave it out, but the app is spoken to in HTTP/1.1.
const NO_HOST: HeaderValue = HeaderValue::from_static("localhost");

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the app is told besides what the client says.
#[derive(Debug)]
pub struct Told<'a> {
    /// Who sends the request.
    pub peer: &'a Peer,
    /// The host it is for.
    pub host: Option<&'a HeaderValue>,
    /// What it is called in the app's log and in ours.
    pub request_id: &'a str,
    /// What was taken off the beginning of its path, without a `/` at its end.
    pub prefix: Option<&'a str>,
}

/// Hands every field that goes to the app to `line`: the client's but for those that concern its connection only, that
/// an app would take for another field (a name with an underscore), or that it must not see; `Cookie` in one line;
/// then Host and what is told.
pub fn request_fields(
    fields: &HeaderMap,
    told: &Told<'_>,
    mut line: impl FnMut(&HeaderName, &[u8]),
) -> Result<(), HopByHopError> {
    let removed = removed_by_connection(fields)?;
    let mut cookies: SmallVec<[&HeaderValue; 1]> = SmallVec::new();
    for (name, value) in fields {
        let text = name.as_str();
        if is_dropped(text) || *name == HOST || *name == X_REQUEST_ID || removed.contains(name) {
            continue;
        }
        if is_of_certificate(text) {
            continue;
        }
        let is_said_anew =
            || *name == X_FORWARDED_FOR || *name == X_FORWARDED_PREFIX && told.prefix.is_some();
        if is_forwarding(text) && (!told.peer.trusted || is_said_anew()) {
            continue;
        }
        match *name {
            COOKIE => cookies.push(value),
            // Said anew, by who sends the body.
            CONTENT_LENGTH => {}
            _ => line(name, value.as_bytes()),
        }
    }
    match cookies.as_slice() {
        [] => {}
        [cookie] => line(&COOKIE, cookie.as_bytes()),
        cookies => line(&COOKIE, &join(cookies, b"; ")),
    }
    line(&HOST, told.host.unwrap_or(&NO_HOST).as_bytes());
    let kept = |name: &HeaderName| told.peer.trusted && fields.contains_key(name) && !removed.contains(name);
    say_forwarded(told.peer, told.host, kept, &mut line);
    if let Some(prefix) = told.prefix {
        let outer = fields.get(X_FORWARDED_PREFIX).filter(|_| kept(&X_FORWARDED_PREFIX));
        line(&X_FORWARDED_PREFIX, &below(outer, prefix));
    }
    let mut chain: SmallVec<[&HeaderValue; 2]> = SmallVec::new();
    if kept(&X_FORWARDED_FOR) {
        chain.extend(fields.get_all(X_FORWARDED_FOR));
    }
    chain.push(&told.peer.text);
    match chain.as_slice() {
        [peer] => line(&X_FORWARDED_FOR, peer.as_bytes()),
        chain => line(&X_FORWARDED_FOR, &join(chain, b", ")),
    }
    line(&X_REQUEST_ID, told.request_id.as_bytes());
    Ok(())
}

/// A prefix below the one that a trusted proxy in front of us has taken off before, if that is a path.
fn below(outer: Option<&HeaderValue>, prefix: &str) -> Vec<u8> {
    let outer = outer.and_then(|outer| outer.to_str().ok()).filter(|outer| outer.starts_with('/'));
    let outer = outer.filter(|outer| !outer.contains([',', ' '])).unwrap_or_default();
    [outer.trim_end_matches('/'), prefix].concat().into_bytes()
}

/// What the app is told in a question that is our own: of a client's fields only who it is and where it comes from, as a
/// request of that client would tell it. `Cookie` and `Authorization` are the caller's to add.
pub fn forwarded(fields: &HeaderMap, peer: &Peer, host: Option<&HeaderValue>) -> HeaderMap {
    let said = fields.iter().filter(|(name, _)| is_forwarding(name.as_str()));
    let said: HeaderMap = said.fold(HeaderMap::new(), |mut map, (name, value)| {
        map.append(name.clone(), value.clone());
        map
    });
    let told = Told { peer, host, request_id: "", prefix: None };
    let mut out = HeaderMap::new();
    // Without a `Connection` field there is nothing that could be refused.
    let _ = request_fields(&said, &told, |name, value| {
        if *name != X_REQUEST_ID
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            out.append(name.clone(), value);
        }
    });
    out
}

/// The `Cookie` lines as one; none if there is none.
pub fn cookie_line(fields: &HeaderMap) -> Option<HeaderValue> {
    let lines: SmallVec<[&HeaderValue; 1]> = fields.get_all(COOKIE).iter().collect();
    // Valid lines make a valid line.
    if lines.is_empty() { None } else { HeaderValue::from_bytes(&join(&lines, b"; ")).ok() }
}

/// Makes one line of several. HTTP/2 clients split `Cookie` for compression, and apps join lines with a comma, which
/// breaks every cookie after the first (RFC 9113, section 8.2.3).
fn join(lines: &[&HeaderValue], between: &[u8]) -> Vec<u8> {
    lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::super::fields::{END_TO_END, MAX_NAMED};
    use super::super::forwarded::PeerAddress;
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        map
    }

    fn told(
        trusted: bool,
        host: Option<&str>,
        lines: &[(&'static str, &str)],
    ) -> Result<HeaderMap, HopByHopError> {
        told_below(None, trusted, host, lines)
    }

    fn told_below(
        prefix: Option<&str>,
        trusted: bool,
        host: Option<&str>,
        lines: &[(&'static str, &str)],
    ) -> Result<HeaderMap, HopByHopError> {
        let peer = Peer::new(PeerAddress::Ip("10.0.0.1:5000".parse().unwrap()), true, trusted);
        let host = host.map(|host| HeaderValue::from_str(host).unwrap());
        let told = Told { peer: &peer, host: host.as_ref(), request_id: "id", prefix };
        let mut out = HeaderMap::new();
        request_fields(&map(lines), &told, |name, value| {
            out.append(name, HeaderValue::from_bytes(value).unwrap());
        })?;
        Ok(out)
    }

    /// The names that go to the app from a client that is not trusted, without those that we add.
    fn names(lines: &[(&'static str, &str)]) -> Vec<String> {
        let added = told(false, None, &[]).unwrap();
        let out = told(false, None, lines).unwrap();
        let mut names: Vec<_> =
            out.keys().filter(|name| !added.contains_key(*name)).map(ToString::to_string).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn every_connection_line_counts() {
        let names = names(&[
            ("connection", "close, x-one"),
            ("connection", "X-Two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-two", "3"),
            ("x-three", "3"),
            ("te", "trailers"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
        ]);
        assert_eq!(names, ["x-three"]);
    }

    #[test]
    fn the_length_is_not_the_clients_to_say() {
        let lines = [("content-length", "0"), ("content-length", "5"), ("content-type", "a/b")];
        assert_eq!(names(&lines), ["content-type"]);
    }

    #[test]
    fn a_connection_line_names_few_fields() {
        let line = |count: usize| (0..count).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(",");
        assert!(told(false, None, &[("connection", &line(MAX_NAMED))]).is_ok());
        assert_eq!(told(false, None, &[("connection", &line(MAX_NAMED + 1))]), Err(HopByHopError));
        // However often the same.
        assert_eq!(told(false, None, &[("connection", &"a,".repeat(30_000))]), Err(HopByHopError));
    }

    #[test]
    fn a_client_cannot_have_the_apps_fields_removed() {
        for name in END_TO_END {
            assert_eq!(told(false, None, &[("connection", name)]), Err(HopByHopError), "{name}");
        }
        let lines = [
            ("connection", "x-forwarded-for, x-real-ip"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-real-ip", "x"),
        ];
        for trusted in [false, true] {
            let out = told(trusted, None, &lines).unwrap();
            assert_eq!(
                (&out["x-forwarded-for"], &out["x-real-ip"]),
                (&"10.0.0.1".parse().unwrap(), &"10.0.0.1".parse().unwrap())
            );
        }
    }

    #[test]
    fn names_that_fold_onto_others_are_dropped() {
        let lines =
            [("x_forwarded_for", "1"), ("script_name", "/x"), ("proxy", "x"), ("expect", "y"), ("a-b", "z")];
        assert_eq!(names(&lines), ["a-b"]);
    }

    #[test]
    fn an_untrusted_peers_word_is_replaced() {
        let lines = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7"),
            ("x-forwarded-prefix", "/admin"),
            ("x-real-ip", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("x-request-id", "mine"),
            ("host", "other"),
        ];
        let expected = map(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example:8443"),
            ("x-forwarded-port", "8443"),
            ("host", "shop.example:8443"),
            ("x-request-id", "id"),
        ]);
        assert_eq!(told(false, Some("shop.example:8443"), &lines).unwrap(), expected);
    }

    #[test]
    fn a_trusted_peers_word_is_kept() {
        let lines = [
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-for", "5.6.7.8"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-prefix", "/shop"),
        ];
        let expected = map(&[
            ("x-forwarded-for", "1.2.3.4, 5.6.7.8, 10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-prefix", "/shop"),
            ("x-forwarded-host", "a"),
            ("x-forwarded-port", "443"),
            ("host", "a"),
            ("x-request-id", "id"),
        ]);
        assert_eq!(told(true, Some("a"), &lines).unwrap(), expected);
    }

    #[test]
    fn a_prefix_is_ours_to_say_and_goes_below_a_trusted_peers() {
        for (trusted, said, expected) in [
            (false, &["/evil"][..], "/app"),
            (false, &[], "/app"),
            (true, &["/shop"], "/shop/app"),
            (true, &["/shop/"], "/shop/app"),
            (true, &["/"], "/app"),
            (true, &["shop"], "/app"),
            (true, &["/a, /b"], "/app"),
            (true, &[], "/app"),
        ] {
            let lines: Vec<_> = said.iter().map(|said| ("x-forwarded-prefix", *said)).collect();
            let out = told_below(Some("/app"), trusted, None, &lines).unwrap();
            let told: Vec<_> = out.get_all("x-forwarded-prefix").iter().collect();
            assert_eq!(told, [expected], "{trusted} {said:?}");
        }
    }

    #[test]
    fn crumbs_become_one_line() {
        let out =
            told(false, None, &[("cookie", "a=1"), ("cookie", "b=2; c=3"), ("cookie", "d=\"x=y\"")]).unwrap();
        let lines: Vec<_> = out.get_all(COOKIE).iter().collect();
        assert_eq!(lines, ["a=1; b=2; c=3; d=\"x=y\""]);
        assert_eq!(out[HOST], "localhost");
    }
}
