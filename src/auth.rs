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
mod mark;
mod passwords;
mod ticket;
mod voucher;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::config;
use crate::http::Peer;

use ask::Ask;
use authjs::AuthJs;
use credential::{Places, raw_value};
use jwks::Keeper;
use jwt::{Jwt, Signer};
use mark::Mark;
use voucher::Provider;

pub use ask::Recheck;
pub use background::Background;
pub use credential::{CredentialSource, MAX_TOKEN};
pub use grant::{CLAIM as CHANNELS_CLAIM, GrantError, MAX_CHANNELS, grant};
pub use identity::Identity;
pub use passwords::{Checks, PasswordError, Passwords};
pub use ticket::{PARAMETER as TICKET_PARAMETER, SealError, Ticket, Tickets};
pub use voucher::{Voucher, Vouching};

/// The providers of the configuration, ready to verify, and the tickets that stand for what they have verified.
#[derive(Debug)]
pub struct Authenticator {
    providers: Vec<Arc<Provider>>,
    tickets: Arc<Tickets>,
}

/// How a provider knows people.
#[derive(Debug)]
enum Kind {
    Jwt(Box<(Places, Jwt)>),
    AuthJs(AuthJs),
    Ask(Ask),
}

/// What a provider has found in a request.
#[derive(Debug)]
struct Found {
    identity: Identity,
    source: CredentialSource,
    recheck: Option<Box<Recheck>>,
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
    /// Where the credential stood. What browsers send unasked needs a check of the `Origin`.
    pub source: CredentialSource,
    /// How to ask again while a stream is open; none where the credential itself says when it ends.
    pub recheck: Option<Box<Recheck>>,
    /// What stands behind it.
    pub voucher: Voucher,
}

impl Authenticator {
    /// Takes the providers in the order of the configuration, the upstreams that they may ask, and what seals tickets.
    /// Of the authenticator that was there `before` it takes over providers that did not change, with all they know.
    /// What it needs done meanwhile is for the control thread to run.
    pub fn new(
        providers: &[config::Auth],
        upstreams: &[config::Upstream],
        tickets: Arc<Tickets>,
        before: Option<&Self>,
    ) -> (Self, Background) {
        let mut background = Background::default();
        let known = before.map_or(&[][..], |before| &before.providers);
        let providers = providers.iter().map(|provider| {
            let same = known.iter().find(|known| known.is_of(provider, upstreams));
            same.cloned().unwrap_or_else(|| {
                let kind = Kind::new(provider, upstreams, &mut background);
                Arc::new(Provider::new(provider, upstreams, kind))
            })
        });
        (Self { providers: providers.collect(), tickets }, background)
    }

    /// What makes tickets.
    pub fn tickets(&self) -> &Arc<Tickets> {
        &self.tickets
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
        for provider in providers.iter().filter_map(|at| self.providers.get(*at)) {
            let found = match provider.kind() {
                Kind::Jwt(jwt) => match jwt.0.find(presented.headers, presented.query)? {
                    Some((token, source)) => {
                        Some(Found { identity: jwt.1.verify(&token, now).await?, source, recheck: None })
                    }
                    None => None,
                },
                Kind::AuthJs(cookie) => cookie.admit(presented, now)?,
                Kind::Ask(app) => app.admit(presented).await?,
            };
            if let Some(Found { identity, source, recheck }) = found {
                return Ok(Admission { identity, source, recheck, voucher: Voucher::of(provider) });
            }
        }
        Err(AuthError::Missing)
    }

    /// Finds out who a request for a stream of `route` comes from: by its ticket if it brings one, else as
    /// [`Authenticator::authenticate`] does. A ticket goes before a cookie, which a browser sends with it unasked.
    ///
    /// # Errors
    /// A ticket beside a credential that somebody put there, in the query or in a header, is one credential too many; and
    /// none is good for longer than one of the providers knows the credential behind it.
    pub async fn authenticate_stream(
        &self,
        route: &str,
        providers: &[usize],
        presented: Presented<'_>,
        now: SystemTime,
    ) -> Result<Admission, AuthError> {
        let Some(ticket) = raw_value(presented.query, TICKET_PARAMETER)? else {
            return self.authenticate(providers, presented, now).await;
        };
        let mut providers = providers.iter().filter_map(|at| self.providers.get(*at));
        if providers.clone().any(|provider| provider.kind().is_given(presented)) {
            return Err(Reason::Repeated.into());
        }
        let (identity, behind) = self.tickets.open(route, ticket, now)?;
        let provider = providers.find(|provider| provider.has_all(&behind)).ok_or(Reason::TakenAway)?;
        let voucher = Voucher::of_tickets(&self.tickets, provider);
        Ok(Admission { identity, source: CredentialSource::Query, recheck: None, voucher })
    }

    /// Makes a ticket for streams of `route` that stands for somebody who was admitted, with those of the claims that
    /// `keep` names.
    ///
    /// # Errors
    /// Those claims are too long, or the system gives no random bytes.
    pub fn give_ticket<'k>(
        &self,
        route: &str,
        admission: &Admission,
        keep: impl IntoIterator<Item = &'k str>,
        now: SystemTime,
    ) -> Result<Ticket, SealError> {
        self.tickets.seal(route, &admission.identity, admission.voucher.marks(), keep, now)
    }
}

impl Kind {
    fn new(provider: &config::Auth, upstreams: &[config::Upstream], background: &mut Background) -> Self {
        match provider {
            config::Auth::Jwt(provider) => {
                let jwt = match &provider.keys {
                    config::JwtKeys::One(key) => Jwt::new(provider, Signer::One(key.decoding.clone())),
                    config::JwtKeys::Set(source) => {
                        let (keys, keeper) = Keeper::new(&provider.name, source, upstreams);
                        background.keepers.push(keeper);
                        Jwt::new(provider, Signer::Set(keys))
                    }
                };
                Self::Jwt(Box::new((Places::new(provider), jwt)))
            }
            config::Auth::AuthJs(provider) => Self::AuthJs(AuthJs::new(provider)),
            config::Auth::Ask(provider) => {
                // The configuration names no upstream that it does not have.
                let (ask, desk) = Ask::new(provider, upstreams[provider.upstream].clone());
                background.desks.push(desk);
                Self::Ask(ask)
            }
        }
    }

    /// Whether there is a credential for this provider that no browser sends by itself, good or bad.
    fn is_given(&self, presented: Presented<'_>) -> bool {
        match self {
            Self::Jwt(jwt) => jwt.0.is_given(presented.headers, presented.query),
            Self::AuthJs(_) => false,
            Self::Ask(_) => {
                presented.headers.get_all(AUTHORIZATION).iter().any(|value| !ask::is_ambient(value))
            }
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
    /// The credential is good, and its user has been disconnected and may not come back yet.
    Blocked,
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
    /// Its header demands an extension or compression, and none is known here.
    Critical,
    /// It is a session cookie in pieces that make no whole, or too many and too long.
    Pieces,
    /// It is encrypted, and not by any of the provider's secrets, or it was changed.
    Sealed,
    /// It is a ticket that was not made here for this stream, or was changed.
    Ticket,
    /// It is a ticket for a credential that the stream's providers would not take now.
    TakenAway,
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
            Self::Blocked => f.write_str("this user may not come back yet"),
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
            Self::Critical => f.write_str("the token's header demands an unknown extension (crit or zip)"),
            Self::Pieces => f.write_str("the session cookie's pieces make no whole, or are too long"),
            Self::Sealed => f.write_str("the session cookie was not sealed by this secret, or was changed"),
            Self::Ticket => f.write_str("the ticket is not one of this stream"),
            Self::TakenAway => {
                f.write_str("what stood behind the ticket has been taken away: ask for a new one")
            }
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
