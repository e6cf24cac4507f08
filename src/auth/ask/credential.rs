//! What of a request the app is asked with.
//!
//! Invariant: the key of an answer covers everything of the request that the app may judge by, but for the client's
//! address. Nobody is given the answer to a question that would have been put differently for him.

use aws_lc_rs::digest::{Context, SHA256};
use http::header::{ACCEPT, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};

use super::super::{AuthError, CredentialSource, MAX_TOKEN, Presented, Reason};
use crate::http::{cookie_line, cookies, forwarded};

/// The longest credential that is passed on, in bytes: what a browser keeps of cookies for one site at most.
const MAX_CREDENTIAL: usize = 4 * MAX_TOKEN;

/// What says the client's address and nothing else: a phone that changes its network keeps its answer.
const CLIENT_ADDRESS: [&str; 3] = ["x-forwarded-for", "x-real-ip", "x-client-ip"];

/// The schemes of `Authorization` that browsers fill by themselves, for any page, once they know what with.
const AMBIENT: [&str; 4] = ["basic", "digest", "negotiate", "ntlm"];

/// The SHA-256 of a question.
pub(super) type Key = [u8; 32];

/// The fields of a question, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::auth) struct Credential {
    pub(super) key: Key,
    /// Copies: the request's own would keep the whole buffer alive that its head was read into.
    fields: Box<[(HeaderName, HeaderValue)]>,
}

impl Credential {
    /// The credential of a request; none when it has neither one of the cookies nor an `Authorization`.
    pub(super) fn of(
        presented: &Presented<'_>,
        names: &[String],
    ) -> Result<Option<(Self, CredentialSource)>, AuthError> {
        let headers = presented.headers;
        let has_cookie = cookies(headers).any(|(name, _)| names.iter().any(|known| is_of(name, known)));
        let mut authorizations = headers.get_all(AUTHORIZATION).iter();
        let authorization = authorizations.next();
        if authorizations.next().is_some() {
            return Err(Reason::Repeated.into());
        }
        if !has_cookie && authorization.is_none() {
            return Ok(None);
        }
        let mut fields = match &presented.forwarding {
            Some(forwarding) => forwarded(headers, forwarding.peer, forwarding.host),
            None => HeaderMap::new(),
        };
        fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
        fields.extend(authorization.map(|value| (AUTHORIZATION, value.clone())));
        if has_cookie {
            fields.extend(cookie_line(headers).map(|line| (COOKIE, line)));
        }
        let secret = |name| fields.get(name).map_or(0, HeaderValue::len);
        if secret(COOKIE) + secret(AUTHORIZATION) > MAX_CREDENTIAL {
            return Err(Reason::TooLong.into());
        }
        let key = key(&fields, presented.secure);
        let fields = fields.iter().map(|(name, value)| (name.clone(), copy(name, value))).collect();
        Ok(Some((Self { key, fields }, source(has_cookie, authorization))))
    }

    /// The fields, as they are sent.
    pub(super) fn fields(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.fields.len() + 2);
        for (name, value) in &self.fields {
            map.append(name.clone(), value.clone());
        }
        map
    }
}

/// Whether a cookie is the one of a name, or a chunk of it: `NAME.0`, `NAME.1`, ….
fn is_of(cookie: &[u8], name: &str) -> bool {
    cookie.strip_prefix(name.as_bytes()).is_some_and(|rest| match rest {
        [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        rest => rest.is_empty(),
    })
}

/// The hash of all that is sent, in the order of the fields' names: what the app sees it may judge by, the host and
/// whatever a trusted proxy says among it.
fn key(fields: &HeaderMap, secure: bool) -> Key {
    let mut lines: Vec<_> =
        fields.iter().filter(|(name, _)| !CLIENT_ADDRESS.contains(&name.as_str())).collect();
    // Stable: lines of one name keep their order, which an app may go by.
    lines.sort_by_key(|(name, _)| name.as_str());
    let mut digest = Context::new(&SHA256);
    digest.update(&[u8::from(secure)]);
    for part in lines.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]) {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut key = Key::default();
    key.copy_from_slice(digest.finish().as_ref());
    key
}

/// Where the credential stood. One that a browser may have sent unasked weighs more than what stands beside it.
fn source(has_cookie: bool, authorization: Option<&HeaderValue>) -> CredentialSource {
    if has_cookie || authorization.is_some_and(is_ambient) {
        CredentialSource::Ambient
    } else {
        CredentialSource::Header
    }
}

/// Whether a browser may have sent this `Authorization` by itself: it does so ever after, once a name and a password
/// have been typed in, or when it is signed in to the network.
pub(in crate::auth) fn is_ambient(authorization: &HeaderValue) -> bool {
    let scheme = authorization.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
    AMBIENT.iter().any(|ambient| scheme.eq_ignore_ascii_case(ambient.as_bytes()))
}

fn copy(name: &HeaderName, value: &HeaderValue) -> HeaderValue {
    // A valid value's bytes are a valid value.
    let mut copy = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    // Kept out of everything that is printed.
    copy.set_sensitive(*name == COOKIE || *name == AUTHORIZATION);
    copy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Forwarding;
    use crate::http::{Peer, PeerAddress};

    fn of(lines: &[(&'static str, &str)]) -> Result<Option<(Credential, CredentialSource)>, AuthError> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let presented = Presented { headers: &headers, query: None, secure: false, forwarding: None };
        Credential::of(&presented, &["sessionid".to_owned(), "a.b".to_owned()])
    }

    #[test]
    fn only_a_session_or_an_authorization_is_asked_about() {
        for line in
            ["", "a=b", "sessionid2=x", "xsessionid=x", "sessionid.=x", "sessionid.x=1", "Sessionid=x"]
        {
            assert!(of(&[("cookie", line)]).unwrap().is_none(), "{line}");
        }
        for line in ["sessionid=x", "a=b; sessionid=x; c=d", "sessionid.0=x", "a.b.12=x", "a.b=x"] {
            let (credential, source) = of(&[("cookie", line)]).unwrap().unwrap();
            assert_eq!(source, CredentialSource::Ambient);
            assert_eq!(credential.fields()[COOKIE], line);
        }
        let (credential, source) = of(&[("authorization", "Token x"), ("cookie", "a=b")]).unwrap().unwrap();
        assert_eq!(source, CredentialSource::Header);
        let fields = credential.fields();
        assert_eq!((fields.get(COOKIE), fields[AUTHORIZATION].as_bytes()), (None, &b"Token x"[..]));
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let (credential, _) =
            of(&[("cookie", "sessionid=hush"), ("authorization", "hush")]).unwrap().unwrap();
        assert!(!format!("{credential:?}").contains("hush"));
    }

    #[test]
    fn the_key_covers_what_is_sent() {
        let key = |lines| of(lines).unwrap().unwrap().0.key;
        let one = key(&[("cookie", "sessionid=x")]);
        assert_eq!(one, key(&[("cookie", "sessionid=x"), ("user-agent", "y")]));
        assert_ne!(one, key(&[("cookie", "sessionid=y")]));
        assert_ne!(one, key(&[("cookie", "sessionid=x; who=y")]));
        assert_ne!(one, key(&[("cookie", "sessionid=x"), ("authorization", "y")]));
    }

    #[test]
    fn the_key_covers_what_a_trusted_proxy_says_but_for_the_clients_address() {
        let peer = Peer::new(PeerAddress::Unix, false, true);
        let key = |lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("cookie", "sessionid=x")].iter().chain(lines) {
                headers.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            let host = HeaderValue::from_static("a.example");
            let forwarding = Some(Forwarding { peer: &peer, host: Some(&host) });
            let presented = Presented { headers: &headers, query: None, secure: false, forwarding };
            Credential::of(&presented, &["sessionid".to_owned()]).unwrap().unwrap().0.key
        };
        let one = key(&[]);
        assert_eq!(one, key(&[("x-forwarded-for", "1.2.3.4"), ("x-real-ip", "1.2.3.4")]));
        let keys = [
            one,
            key(&[("x-forwarded-user", "ann")]),
            key(&[("x-forwarded-user", "bob")]),
            key(&[("x-forwarded-prefix", "/shop")]),
            key(&[("x-forwarded-host", "b.example")]),
            key(&[("x-forwarded-host", "b.example"), ("x-forwarded-host", "c.example")]),
            key(&[("x-forwarded-host", "c.example"), ("x-forwarded-host", "b.example")]),
            key(&[("x-original-url", "/b")]),
        ];
        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[..place].contains(key), "{place}");
        }
    }

    #[test]
    fn two_authorizations_or_a_flood_are_refused() {
        let twice = of(&[("authorization", "a"), ("authorization", "b")]);
        assert_eq!(twice.unwrap_err(), AuthError::Invalid(Reason::Repeated));
        let long = format!("sessionid={}", "x".repeat(MAX_CREDENTIAL));
        assert_eq!(of(&[("cookie", &long)]).unwrap_err(), AuthError::Invalid(Reason::TooLong));
    }
}
