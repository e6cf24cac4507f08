//! Who a subscriber is, and which channels that person gets.
//!
//! Invariant: an [`Identity`] exists only behind a credential that was verified, by the first provider that found one
//! at all; a bad credential never falls back to another place or provider. Nothing here prints a credential.

mod ask;
mod authjs;
mod background;
mod credential;
mod grant;
mod identity;
mod jwks;
mod jwt;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue};

use crate::config;
use crate::http::Peer;

use ask::Ask;
use authjs::AuthJs;
use credential::Places;
use jwks::Keeper;
use jwt::{Jwt, Signer};

pub use ask::Recheck;
pub use background::Background;
pub use credential::{CredentialSource, MAX_TOKEN};
pub use grant::{GrantError, MAX_CHANNELS, grant};
pub use identity::Identity;

/// The providers of the configuration, ready to verify.
#[derive(Debug)]
pub struct Authenticator {
    providers: Vec<Provider>,
}

#[derive(Debug)]
enum Provider {
    Jwt(Box<(Places, Jwt)>),
    AuthJs(AuthJs),
    Ask(Ask),
}

/// What a request brings that may say who sends it.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The query of its target, without the `?`.
    pub query: Option<&'a str>,
    /// Whether the client came by TLS, to us or to a trusted proxy in front of us.
    pub secure: bool,
    /// What an app that is asked is told of the client; none says nothing.
    pub forwarding: Option<Forwarding<'a>>,
}

/// Where a request comes from and for which host.
#[derive(Debug, Clone, Copy)]
pub struct Forwarding<'a> {
    /// The other end of the connection.
    pub peer: &'a Peer,
    /// The host that the request is for.
    pub host: Option<&'a HeaderValue>,
}

/// A caller that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// Who it is.
    pub identity: Identity,
    /// Where the credential stood. Browsers send cookies unasked, so that those need a check of the `Origin`.
    pub source: CredentialSource,
    /// How to ask again while a stream is open; none where the credential itself says when it ends.
    pub recheck: Option<Box<Recheck>>,
}

impl Authenticator {
    /// Takes the providers in the order of the configuration, and the upstreams that they may ask. What it needs done
    /// meanwhile is for the control thread to run.
    pub fn new(providers: &[config::Auth], upstreams: &[config::Upstream]) -> (Self, Background) {
        let mut background = Background::default();
        let providers = providers
            .iter()
            .map(|provider| match provider {
                config::Auth::Jwt(provider) => {
                    let jwt = match &provider.keys {
                        config::JwtKeys::One(key) => Jwt::new(provider, Signer::One(key.decoding.clone())),
                        config::JwtKeys::Set(source) => {
                            let (keys, keeper) = Keeper::new(&provider.name, source, upstreams);
                            background.keepers.push(keeper);
                            Jwt::new(provider, Signer::Set(keys))
                        }
                    };
                    Provider::Jwt(Box::new((Places::new(provider), jwt)))
                }
                config::Auth::AuthJs(provider) => Provider::AuthJs(AuthJs::new(provider)),
                config::Auth::Ask(provider) => {
                    // The configuration names no upstream that it does not have.
                    let (ask, desk) = Ask::new(provider, upstreams[provider.upstream].clone());
                    background.desks.push(desk);
                    Provider::Ask(ask)
                }
            })
            .collect();
        (Self { providers }, background)
    }

    /// Finds out who a request comes from. `providers` are places in the configuration's list, in the order they are
    /// tried; the first that finds a credential decides.
    ///
    /// # Errors
    /// [`AuthError::Missing`] only when no provider found a credential, so with no providers always.
    pub async fn authenticate(
        &self,
        providers: &[usize],
        presented: Presented<'_>,
        now: SystemTime,
    ) -> Result<Admission, AuthError> {
        for (at, provider) in providers.iter().filter_map(|at| Some((*at, self.providers.get(*at)?))) {
            let admission = match provider {
                Provider::Jwt(jwt) => match jwt.0.find(presented.headers, presented.query)? {
                    Some((token, source)) => {
                        Some(Admission { identity: jwt.1.verify(&token, now).await?, source, recheck: None })
                    }
                    None => None,
                },
                Provider::AuthJs(cookie) => cookie.admit(presented, now)?,
                Provider::Ask(app) => app.admit(at, presented).await?,
            };
            if let Some(admission) = admission {
                return Ok(admission);
            }
        }
        Err(AuthError::Missing)
    }

    /// Asks again about somebody who was admitted.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] when that cannot be found out, which is no reason to end anything.
    pub async fn admit_again(&self, recheck: &Recheck) -> Result<Arc<Identity>, AuthError> {
        match self.providers.get(recheck.provider) {
            Some(Provider::Ask(app)) => app.admit_again(recheck).await,
            _ => Err(AuthError::Unavailable),
        }
    }
}

/// Why nobody was recognised. The text says nothing of the credential itself and may be logged; for that reason no
/// cause is kept, whose text could.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    /// There is no credential in any of the places.
    Missing,
    /// The token was good once.
    Expired,
    /// There is a credential and it is not good.
    Invalid(Reason),
    /// Whoever knows about the credential could not be asked. That lets nobody in.
    Unavailable,
}

/// What is wrong with a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is given twice in one place.
    Repeated,
    /// The place is there and empty.
    Empty,
    /// It holds bytes that are not text.
    NotText,
    /// It is longer than [`MAX_TOKEN`].
    TooLong,
    /// It is not a signed token of three parts.
    Malformed,
    /// It is signed by an algorithm that the provider does not take, or not signed.
    Algorithm,
    /// The signature is not by the provider's key, or the token was changed.
    Signature,
    /// Its header demands an extension, and none is known here.
    Critical,
    /// It is not valid yet.
    NotYet,
    /// A claim is missing or not what it has to be. The name is the configuration's, not the token's.
    Claim(String),
    /// The key that it names is not one of the provider's.
    UnknownKey,
    /// The app knows nobody by it.
    SignedOut,
}

impl From<Reason> for AuthError {
    fn from(reason: Reason) -> Self {
        Self::Invalid(reason)
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no credential"),
            Self::Expired => f.write_str("the token has expired"),
            Self::Invalid(reason) => reason.fmt(f),
            Self::Unavailable => f.write_str("who sends this request could not be found out"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated => f.write_str("the credential is given twice"),
            Self::Empty => f.write_str("the credential is empty"),
            Self::NotText => f.write_str("the credential is not text"),
            Self::TooLong => write!(f, "the token is longer than {MAX_TOKEN} bytes"),
            Self::Malformed => f.write_str("the token is not a JWT"),
            Self::Algorithm => f.write_str("the token's algorithm is not one that is accepted"),
            Self::Signature => f.write_str("the token's signature does not match"),
            Self::Critical => f.write_str("the token's header demands an unknown extension (crit)"),
            Self::NotYet => f.write_str("the token is not valid yet (nbf)"),
            Self::UnknownKey => f.write_str("the token's key is not one of the provider's (kid)"),
            Self::SignedOut => f.write_str("nobody is signed in"),
            Self::Claim(name) => write!(f, "the token's claim {name:?} is missing or not acceptable"),
        }
    }
}

impl std::error::Error for AuthError {}

#[cfg(test)]
mod tests;
