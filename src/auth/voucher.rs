//! What stands behind somebody who was let in, and whether it still does when the configuration has changed.
//!
//! Invariant: who was let in by a key, a rule or an app that is no longer the configuration's is let in again by nobody
//! here; only a request with a credential can do that, or a question to the app.

use std::sync::Arc;

use super::mark::{self, Mark};
use super::{AuthError, Authenticator, Identity, Kind, Recheck, Tickets};
use crate::config::{self, Auth, JwksSource, JwtKeys, Upstream};

/// A provider, and what the file says of it.
#[derive(Debug)]
pub(super) struct Provider {
    config: Auth,
    /// The app that it asks.
    upstream: Option<Upstream>,
    marks: Vec<Mark>,
    kind: Kind,
}

impl Provider {
    pub(super) fn new(config: &Auth, upstreams: &[Upstream], kind: Kind) -> Self {
        let (config, upstream) = taken_apart(config, upstreams);
        let marks = mark::all_of(&config, upstream);
        Self { config, upstream: upstream.cloned(), marks, kind }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether it is the one that a file speaks of, and knows people by the same rules, keys and app.
    pub(super) fn is_of(&self, config: &Auth, upstreams: &[Upstream]) -> bool {
        let (config, upstream) = taken_apart(config, upstreams);
        self.config == config && self.upstream.as_ref() == upstream
    }

    /// Whether it still stands behind those that a provider with these marks knew.
    pub(super) fn has_all(&self, marks: &[Mark]) -> bool {
        !marks.is_empty() && marks.iter().all(|mark| self.marks.contains(mark))
    }

    /// Whether whoever another one knows is known to this one too, by the same credential.
    fn knows_all_of(&self, other: &Self) -> bool {
        match (&self.config, &other.config) {
            (Auth::AuthJs(own), Auth::AuthJs(others)) => {
                own.user_claim == others.user_claim
                    && own.cookie == others.cookie
                    && others.secrets.iter().all(|secret| own.secrets.contains(secret))
            }
            (own, others) => own == others && self.upstream == other.upstream,
        }
    }
}

/// What the file says of a provider, but for the place of the app that it asks among all of them; and the app.
fn taken_apart<'u>(config: &Auth, upstreams: &'u [Upstream]) -> (Auth, Option<&'u Upstream>) {
    let mut config = config.clone();
    let place = match &mut config {
        Auth::Ask(provider) => Some(&mut provider.upstream),
        Auth::Jwt(config::JwtProvider {
            keys: JwtKeys::Set(JwksSource::Upstream { upstream, .. }), ..
        }) => Some(upstream),
        Auth::Jwt(_) | Auth::AuthJs(_) => None,
    };
    let upstream = place.and_then(|place| upstreams.get(std::mem::take(place)));
    (config, upstream)
}

/// What stands behind somebody who was let in: a provider, and our own tickets if it was by one. Nothing of the
/// credential is in it.
#[derive(Debug, Clone)]
pub struct Voucher(Behind);

#[derive(Debug, Clone)]
enum Behind {
    Provider(Arc<Provider>),
    Tickets(Arc<Tickets>, Arc<Provider>),
}

impl PartialEq for Voucher {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Behind::Provider(own), Behind::Provider(other)) => Arc::ptr_eq(own, other),
            (Behind::Tickets(own, by), Behind::Tickets(other, others)) => {
                Arc::ptr_eq(own, other) && Arc::ptr_eq(by, others)
            }
            _ => false,
        }
    }
}

impl Voucher {
    pub(super) fn of(provider: &Arc<Provider>) -> Self {
        Self(Behind::Provider(provider.clone()))
    }

    /// Of a ticket that stands for a credential of the provider.
    pub(super) fn of_tickets(tickets: &Arc<Tickets>, provider: &Arc<Provider>) -> Self {
        Self(Behind::Tickets(tickets.clone(), provider.clone()))
    }

    /// What a ticket has to say of it.
    pub(super) fn marks(&self) -> &[Mark] {
        let (Behind::Provider(provider) | Behind::Tickets(_, provider)) = &self.0;
        &provider.marks
    }

    /// Asks again about somebody who was admitted.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] when that cannot be found out, which is no reason to end anything.
    pub async fn admit_again(&self, recheck: &Recheck) -> Result<Arc<Identity>, AuthError> {
        match &self.0 {
            Behind::Provider(provider) => match provider.kind() {
                Kind::Ask(app) => app.admit_again(recheck).await,
                Kind::Jwt(_) | Kind::AuthJs(_) => Err(AuthError::Unavailable),
            },
            Behind::Tickets(..) => Err(AuthError::Unavailable),
        }
    }
}

/// What a new configuration says of somebody who was let in under an old one.
#[derive(Debug, Clone, PartialEq)]
pub enum Vouching {
    /// This stands behind it now.
    Stands(Voucher),
    /// The app that this one asks has to be asked.
    Asks(Voucher),
    /// Nothing stands behind it any more.
    Gone,
}

impl Authenticator {
    /// Whether something still stands behind somebody, on a route with these providers (places in the configuration's
    /// list).
    pub fn vouching(&self, providers: &[usize], voucher: &Voucher) -> Vouching {
        let mut own = providers.iter().filter_map(|at| self.providers.get(*at));
        match &voucher.0 {
            Behind::Tickets(tickets, before) => {
                let stands = own.find(|own| own.has_all(&before.marks));
                match stands.filter(|_| Arc::ptr_eq(tickets, &self.tickets)) {
                    Some(stands) => Vouching::Stands(Voucher::of_tickets(tickets, stands)),
                    None => Vouching::Gone,
                }
            }
            Behind::Provider(before) => {
                if let Some(same) =
                    own.clone().find(|own| Arc::ptr_eq(own, before) || own.knows_all_of(before))
                {
                    return Vouching::Stands(Voucher::of(same));
                }
                let is_asked = |own: &&Arc<Provider>| {
                    let are_apps = matches!((own.kind(), before.kind()), (Kind::Ask(_), Kind::Ask(_)));
                    are_apps && own.config.name() == before.config.name()
                };
                own.find(is_asked).map_or(Vouching::Gone, |own| Vouching::Asks(Voucher::of(own)))
            }
        }
    }
}
