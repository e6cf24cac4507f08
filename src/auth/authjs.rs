//! The session cookie of NextAuth v4 and Auth.js v5, opened without asking the app.
//!
//! Invariant: the first name under which a cookie is there decides. One that is there and not good is refused, and no
//! other cookie or provider is looked at. Keys are made once, when the program starts.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::jwt::time;
use super::{AuthError, CredentialSource, Found, Identity, Presented, Reason, identity};
use crate::config::AuthJsProvider;

use jwe::Key;

mod chunks;
mod jwe;

/// By how much the clocks of the app and of this machine may differ: what both libraries allow.
const TOLERANCE: Duration = Duration::from_secs(15);

/// The names that the libraries give their cookie: over https, and without.
const NAMES: [(&str, Library, bool); 4] = [
    ("__Secure-authjs.session-token", Library::V5, true),
    ("__Secure-next-auth.session-token", Library::V4, true),
    ("authjs.session-token", Library::V5, false),
    ("next-auth.session-token", Library::V4, false),
];

/// What one provider opens cookies with.
pub(super) struct AuthJs {
    cookies: Vec<Cookie>,
    user_claim: String,
}

/// A cookie that is looked for, with the keys that may have sealed it.
struct Cookie {
    name: String,
    is_secure: bool,
    keys: Vec<Key>,
}

/// Which library made a cookie; they derive their keys differently.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Library {
    /// NextAuth v4.
    V4,
    /// Auth.js v5.
    V5,
    /// A name of the app's own tells nothing.
    Either,
}

impl AuthJs {
    pub(super) fn new(provider: &AuthJsProvider) -> Self {
        let cookie = |name: &str, library, is_secure| Cookie {
            name: name.to_owned(),
            is_secure,
            keys: provider.secrets.iter().flat_map(|secret| keys(secret.expose(), name, library)).collect(),
        };
        let cookies = match &provider.cookie {
            Some(name) => vec![cookie(name, Library::Either, name.starts_with("__Secure-"))],
            None => NAMES.map(|(name, library, is_secure)| cookie(name, library, is_secure)).into(),
        };
        Self { cookies, user_claim: provider.user_claim.clone() }
    }

    /// Opens the request's cookie as of `now`; none when there is no such cookie. Over TLS, the names that only https
    /// can set go first, since a page without it can plant the others; without TLS those go last that a browser would
    /// not have sent here, but for an app on localhost.
    pub(super) fn admit(
        &self,
        presented: Presented<'_>,
        now: SystemTime,
    ) -> Result<Option<Found>, AuthError> {
        let (first, second): (Vec<_>, Vec<_>) =
            self.cookies.iter().partition(|cookie| cookie.is_secure == presented.secure);
        for cookie in first.into_iter().chain(second) {
            let Some(token) = chunks::find(presented.headers, &cookie.name)? else { continue };
            let identity = self.verify(&token, &cookie.keys, now)?;
            return Ok(Some(Found { identity, source: CredentialSource::Ambient, recheck: None }));
        }
        Ok(None)
    }

    fn verify(&self, token: &str, keys: &[Key], now: SystemTime) -> Result<Identity, AuthError> {
        let json = jwe::open(token, keys)?;
        let claims: Map<String, Value> = serde_json::from_slice(&json).map_err(|_| Reason::Malformed)?;
        let wrong = |name: &str| Reason::Claim(name.to_owned());
        let expires =
            time(&claims, "exp")?.and_then(|end| end.checked_add(TOLERANCE)).ok_or_else(|| wrong("exp"))?;
        if expires <= now {
            return Err(AuthError::Expired);
        }
        if let Some(begin) = time(&claims, "nbf")?
            && now.checked_add(TOLERANCE).is_none_or(|now| now < begin)
        {
            return Err(Reason::NotYet.into());
        }
        // It has to be a time, and the libraries hold it to nothing else.
        time(&claims, "iat")?;
        let user =
            claims.get(&self.user_claim).and_then(identity::id).ok_or_else(|| wrong(&self.user_claim))?;
        Ok(Identity { user: user.into_owned(), expires: Some(expires), claims })
    }
}

impl fmt::Debug for AuthJs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.cookies.iter().map(|cookie| &cookie.name).collect();
        f.debug_struct("AuthJs")
            .field("cookies", &names)
            .field("user_claim", &self.user_claim)
            .finish_non_exhaustive()
    }
}

/// The keys that a library makes of a secret for a cookie of this name.
fn keys(secret: &str, name: &str, library: Library) -> Vec<Key> {
    let mut keys = Vec::new();
    if library != Library::V4 {
        let info = format!("Auth.js Generated Encryption Key ({name})");
        let long: Result<[u8; 64], _> = derived(secret, name, &info);
        let short: Result<[u8; 32], _> = derived(secret, name, &info);
        keys.push(long.and_then(|key| Key::cbc_hs512(&key, Some(thumbprint(&key)))));
        keys.push(short.and_then(|key| Key::gcm(&key, Some(thumbprint(&key)))));
    }
    if library != Library::V5 {
        let key: Result<[u8; 32], _> = derived(secret, "", "NextAuth.js Generated Encryption Key");
        keys.push(key.and_then(|key| Key::gcm(&key, None)));
    }
    // None fails: the lengths are right. If one did, what it would have opened stays shut.
    keys.into_iter().flatten().collect()
}

fn derived<const N: usize>(secret: &str, salt: &str, info: &str) -> Result<[u8; N], Unspecified> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut key = [0; N];
    let extracted = Salt::new(HKDF_SHA256, salt.as_bytes()).extract(secret.as_bytes());
    extracted.expand(&[info.as_bytes()], Length(N))?.fill(&mut key)?;
    Ok(key)
}

/// What Auth.js calls a key: the thumbprint of RFC 7638, with the hash that is as long as the key.
fn thumbprint(key: &[u8]) -> String {
    let jwk = format!("{{\"k\":\"{}\",\"kty\":\"oct\"}}", URL_SAFE_NO_PAD.encode(key));
    let hash = if key.len() == 64 { &SHA512 } else { &SHA256 };
    URL_SAFE_NO_PAD.encode(digest(hash, jwk.as_bytes()))
}

#[cfg(test)]
mod tests;
