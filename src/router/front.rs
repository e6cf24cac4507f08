//! What a request has to pass before its route's action, and what of that all workers share.
//!
//! Order: `allow_from` and `deny_from`; the answer to a preflight, which carries no credential; `maintenance`; `rate`;
//! `basic_auth`. So who is kept out costs nothing, guesses at passwords are under the rate, and nothing of a body has been
//! read or asked for. A route that has none of it pays one look at a pointer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::error::Unspecified;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, HeaderMap};
use http::request::Parts;
use smallvec::SmallVec;

use super::maintenance::Switch;
use super::{Entry, Router};
use crate::auth::{Checks, PasswordError, Passwords};
use crate::config::{self, Action, Config, ErrorPages, Networks};
use crate::http::{host_without_port, meanings};
use crate::limits::RequestLimit;
use crate::metrics::Counters;

/// What the routes of all workers have in front of them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fronts {
    /// By the place of a route in the configuration.
    routes: Arc<[Option<Arc<Front>>]>,
    pub(super) pages: Option<Arc<ErrorPages>>,
    switch: Option<Arc<Switch>>,
    checks: Checks,
}

/// What stands before one route.
#[derive(Debug)]
pub(super) struct Front {
    allow_from: Option<Networks>,
    deny_from: Networks,
    switch: Option<Arc<Switch>>,
    rate: Option<RequestLimit>,
    passwords: Option<Passwords>,
}

/// Why a request does not come to its route's action.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Its address is not let in.
    Denied,
    /// The route is switched off, with a page of the operator's if there is one.
    Maintenance(Option<Bytes>),
    /// It comes too soon: how long it should have waited.
    Rate(Duration),
    /// It has no name and password, or wrong ones; what is asked for.
    Password(HeaderValue),
    /// Too many passwords are being checked.
    Busy,
}

impl Fronts {
    /// Makes what the configuration says, once for all workers. Of what was there `before`, with its configuration, it
    /// takes over what did not change: who has asked how often, and which passwords are known.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new(config: &Config, before: Option<(&Config, &Self)>) -> Result<Self, Unspecified> {
        let path = config.server.maintenance.as_ref();
        let known = before.filter(|(before, _)| before.server.maintenance.as_ref() == path);
        let switch = match known {
            Some((_, known)) => known.switch.clone(),
            None => path.map(|path| Arc::new(Switch::new(path.clone()))),
        };
        let checks = before.map(|(_, before)| before.checks.clone()).unwrap_or_default();
        let routes = config.routes.iter().map(|route| {
            let is_apps = match &route.action {
                Action::Proxy(_) => true,
                Action::Files(files) => !files.internal,
                Action::Stream(_) | Action::Publish(_) => false,
            };
            let switch = switch.clone().filter(|_| is_apps);
            if let Some((before, known)) = before
                && let Some(place) = before.routes.iter().position(|known| known.name() == route.name())
                && before.routes[place].front == route.front
                && let Some(front) = known.of(place)
                && front.has_switch(switch.as_ref())
            {
                return Ok(Some(front));
            }
            Front::new(route.front.as_deref(), switch, &checks)
        });
        let routes = routes.collect::<Result<Arc<[_]>, _>>()?;
        Ok(Self { routes, pages: config.server.error_pages.clone().map(Arc::new), switch, checks })
    }

    /// Looks whether the switch is thrown, again and again, if there is one.
    pub async fn watch(self) {
        if let Some(switch) = self.switch {
            switch.watch().await;
        }
    }

    /// What stands before a route, by its place in the configuration.
    pub(super) fn of(&self, route: usize) -> Option<Arc<Front>> {
        self.routes.get(route).cloned().flatten()
    }
}

impl Front {
    fn new(
        config: Option<&config::Front>,
        switch: Option<Arc<Switch>>,
        checks: &Checks,
    ) -> Result<Option<Arc<Self>>, Unspecified> {
        if config.is_none() && switch.is_none() {
            return Ok(None);
        }
        let passwords = config
            .and_then(|front| front.basic_auth.as_ref())
            .map(|basic_auth| Passwords::new(basic_auth, checks))
            .transpose()?;
        Ok(Some(Arc::new(Self {
            allow_from: config.and_then(|front| front.allow_from.clone()),
            deny_from: config.map(|front| front.deny_from.clone()).unwrap_or_default(),
            switch,
            rate: config.and_then(|front| front.rate).map(RequestLimit::new),
            passwords,
        })))
    }

    fn has_switch(&self, switch: Option<&Arc<Switch>>) -> bool {
        self.switch.as_ref().map(Arc::as_ptr) == switch.map(Arc::as_ptr)
    }

    /// Asks whether a client is let in at all; one without an address came by Unix socket.
    pub(super) fn let_in(&self, client: Option<IpAddr>) -> Result<(), Stopped> {
        let is_allowed = self.allow_from.as_ref().is_none_or(|networks| networks.have(client));
        if is_allowed && !self.deny_from.have(client) { Ok(()) } else { Err(Stopped::Denied) }
    }

    /// Whether a request brings a password for it: it is ours, not the app's.
    pub(super) fn asks_password(&self) -> bool {
        self.passwords.is_some()
    }

    /// Whether it lets in some and not others, so that what is behind it is not for shared caches.
    pub(super) fn keeps_out(&self) -> bool {
        self.passwords.is_some() || self.allow_from.is_some() || !self.deny_from.is_empty()
    }

    /// Asks all else.
    async fn pass(
        &self,
        fields: &HeaderMap,
        client: Option<IpAddr>,
        counters: &Counters,
    ) -> Result<(), Stopped> {
        if let Some(switch) = self.switch.as_ref().filter(|switch| switch.is_on()) {
            return Err(Stopped::Maintenance(switch.page()));
        }
        if let Some(rate) = &self.rate
            && !rate.take(client, Instant::now()).map_err(Stopped::Rate)?
        {
            counters.requests_uncounted.inc();
        }
        if let Some(passwords) = &self.passwords {
            passwords.check(fields).await.map_err(|error| match error {
                PasswordError::Missing => Stopped::Password(passwords.challenge().clone()),
                PasswordError::Wrong => {
                    counters.passwords_refused.inc();
                    Stopped::Password(passwords.challenge().clone())
                }
                PasswordError::Busy => {
                    counters.passwords_refused.inc();
                    Stopped::Busy
                }
            })?;
        }
        Ok(())
    }
}

/// Asks all else, of one after the other.
pub(super) async fn pass(
    fronts: SmallVec<[&Front; 1]>,
    fields: &HeaderMap,
    client: Option<IpAddr>,
    counters: &Counters,
) -> Result<(), Stopped> {
    for front in fronts {
        front.pass(fields, client, counters).await?;
    }
    Ok(())
}

impl Router {
    /// What a request has to pass: what stands before its route, and before those that an app might take its path to
    /// mean. An address would be kept out of `/admin/` in vain if `/%61dmin/` led around it.
    pub(super) fn fronts<'r>(
        &'r self,
        parts: &Parts,
        entry: &'r Entry,
        host: Option<&HeaderValue>,
    ) -> SmallVec<[&'r Front; 1]> {
        let mut fronts: SmallVec<[&Front; 1]> = entry.front.as_deref().into_iter().collect();
        if self.is_guarded {
            let host = host.and_then(|host| host.to_str().ok()).map(host_without_port);
            for path in meanings(parts.uri.path()) {
                let meant =
                    self.table.find(&path, host).and_then(|route| self.routes[route].front.as_deref());
                if let Some(meant) = meant
                    && !fronts.iter().any(|front| std::ptr::eq(*front, meant))
                {
                    fronts.push(meant);
                }
            }
        }
        fronts
    }
}

/// Keeps what is not for everybody out of shared caches (RFC 9111, section 3.5).
pub(super) fn keep_private(fields: &mut HeaderMap) {
    let said = fields.get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let private = said.and_then(|said| said.strip_prefix("public")).map(|rest| format!("private{rest}"));
    if let Some(value) = private.and_then(|value| HeaderValue::try_from(value).ok()) {
        fields.insert(CACHE_CONTROL, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_wins_and_unix_is_an_address_too() {
        let list = |networks: &[&str], unix| Networks {
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            unix,
        };
        let front = |allow_from: Option<Networks>, deny_from: Networks| Front {
            allow_from,
            deny_from,
            switch: None,
            rate: None,
            passwords: None,
        };
        let is_in = |front: &Front, client: &str| front.let_in(client.parse().ok()).is_ok();
        let some = front(Some(list(&["10.0.0.0/8", "2001:db8::/32"], false)), list(&["10.6.0.0/16"], false));
        for (client, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.6.0.1", false),
            ("11.0.0.1", false),
            ("2001:db8::1", true),
            ("unix", false),
        ] {
            assert_eq!(is_in(&some, client), expected, "{client}");
        }
        let but_unix = front(None, list(&[], true));
        assert!(is_in(&but_unix, "1.2.3.4") && !is_in(&but_unix, "unix"));
        assert!(is_in(&front(Some(list(&[], true)), Networks::default()), "unix"));
    }
}
