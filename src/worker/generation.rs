//! What one configuration makes of a request, on one worker; and the way from a request to the newest of it.
//!
//! Invariant: a request goes to its answer under the generation that it began with. A generation is gone when the last
//! request that began with it has its answer.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use http::request::Parts as Head;
use hyper::body::Incoming;

use crate::acme::Challenges;
use crate::auth::Authenticator;
use crate::config::Config;
use crate::connection::{Drain, Handler, Info, Outcome};
use crate::limits::{AddressLimit, Limits};
use crate::proxy::{Spools, Standings};
use crate::publish::Publisher;
use crate::router::{Fronts, Origin, Redirect, ReplyBody, Routed, Router};
use crate::trace::Tracer;

/// What all workers share of one configuration. Cheap to clone, and can cross to their threads.
#[derive(Debug, Clone)]
pub struct Parts {
    /// How many configurations there were before it, and one.
    pub number: u64,
    /// The configuration.
    pub config: Arc<Config>,
    /// Who knows credentials.
    pub auth: Arc<Authenticator>,
    /// How many streams all workers may have.
    pub stream_limits: Limits,
    /// How many connections an address may have, over all workers.
    pub addresses: Option<AddressLimit>,
    /// What all workers know of the servers of apps.
    pub standings: Arc<Standings>,
    /// What is kept of bodies, of all workers.
    pub spools: Arc<Spools>,
    /// What authorities may ask for that certify our hosts; the same for all configurations.
    pub challenges: Challenges,
    /// What takes publications of public routes.
    pub publisher: Publisher,
    /// What stands before the routes of all workers.
    pub fronts: Fronts,
    /// Which requests are recorded, if any are.
    pub tracer: Option<Tracer>,
    /// Counts the generations that are alive, over all workers.
    pub alive: Arc<AtomicUsize>,
}

/// One configuration's routes on one worker.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) router: Router,
    listeners: Vec<Rules>,
    alive: Arc<AtomicUsize>,
}

/// What the requests of one listener get besides.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// The listener's number.
    pub(super) listener: usize,
    /// Where they are sent instead.
    pub(super) redirect: Option<Redirect>,
    /// What answers say of coming by `https` only.
    pub(super) hsts: Option<HeaderValue>,
    /// There for as long as the listener or one of its connections is.
    pub(super) drain: Weak<Drain>,
}

impl Generation {
    /// Takes the rules of listeners that are no more from the generation before it, as long as they have connections.
    pub(super) fn new(
        router: Router,
        mut listeners: Vec<Rules>,
        parts: &Parts,
        before: Option<&Self>,
    ) -> Self {
        let is_new = |rules: &&Rules| !listeners.iter().any(|new| new.listener == rules.listener);
        let gone = before.into_iter().flat_map(|before| &before.listeners).filter(is_new);
        let gone: Vec<_> = gone.filter(|rules| rules.drain.strong_count() > 0).cloned().collect();
        listeners.extend(gone);
        parts.alive.fetch_add(1, Ordering::Relaxed);
        Self { router, listeners, alive: parts.alive.clone() }
    }

    fn rules(&self, info: &Info) -> Option<&Rules> {
        self.listeners.iter().find(|rules| rules.listener == info.settings.listener)
    }

    async fn handle(&self, head: &mut Head, body: Incoming, info: &Info) -> Outcome<ReplyBody> {
        let settings = &info.settings;
        let rules = self.rules(info);
        let hsts = rules.and_then(|rules| rules.hsts.as_ref());
        let origin = Origin {
            peer: &info.peer,
            trusted: &settings.trusted,
            sni: info.sni.as_deref(),
            credentials: info.credentials.as_deref(),
            redirect: rules.and_then(|rules| rules.redirect.as_ref()),
            hsts,
            server_names: &settings.server_names,
            h2: info.h2,
            body_stall: settings.deadlines.body_stall,
            body_min_rate: settings.deadlines.body_min_rate,
            direct: info.direct.as_ref(),
        };
        match self.router.route(head, body, &origin).await {
            Routed::Reply(mut response) => {
                put_hsts(hsts, &mut response);
                Outcome::Reply(response)
            }
            Routed::Park(grant) => Outcome::Park(grant),
            Routed::Tunnel(mut response, app) => {
                put_hsts(hsts, &mut response);
                Outcome::Tunnel(response, app)
            }
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says in an answer for how long browsers are to come by `https` only, unless the app says it itself.
fn put_hsts(hsts: Option<&HeaderValue>, response: &mut Response<ReplyBody>) {
    if let Some(hsts) = hsts {
        response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
    }
}

/// The newest generation, as connections know it.
#[derive(Debug)]
pub(super) struct Newest(RefCell<Rc<Generation>>);

impl Newest {
    pub(super) fn new(generation: Generation) -> Self {
        Self(RefCell::new(Rc::new(generation)))
    }

    pub(super) fn generation(&self) -> Rc<Generation> {
        self.0.borrow().clone()
    }

    /// Has the next requests answered by another one.
    pub(super) fn replace(&self, generation: Generation) {
        let before = self.0.replace(Rc::new(generation));
        // With the place free again, whatever is dropped with it.
        drop(before);
    }
}

impl Handler for Newest {
    type Body = ReplyBody;

    async fn handle(&self, head: &mut Head, body: Incoming, info: &Rc<Info>) -> Outcome<ReplyBody> {
        self.generation().handle(head, body, info).await
    }

    fn failed(&self, info: &Info) -> Response<ReplyBody> {
        let generation = self.generation();
        let hsts = generation.rules(info).and_then(|rules| rules.hsts.as_ref());
        let mut response = generation.router.failed();
        put_hsts(hsts, &mut response);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How large the future of a handler is, in bytes.
    fn size<'a, F>(_: impl Fn(&'a Newest, &'a mut Head, Incoming, &'a Rc<Info>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_takes_little_room_until_it_is_answered() {
        // All of it is got, moved and given back for every request: what is rare in it is to be boxed.
        assert!(size(<Newest as Handler>::handle) <= 1536, "{} bytes", size(<Newest as Handler>::handle));
    }
}
