//! From a request to what is done with it, and from what went wrong to its status: the one place where errors of the
//! features meet HTTP.
//!
//! Order: an authority that asks whether a host is ours is answered; the request is checked (method, target, Host,
//! framing, `Expect`); the host is one that the listener and the TLS session serve; the request came by `https`, if the listener wants that; the route is found by path; what stands before
//! it is passed (`front`: addresses, a preflight's answer, maintenance, rate, password); its action is taken, which looks
//! at the length of a body before it asks for any of it; and whatever the outcome is, it is logged.

mod account;
mod action;
mod asker;
mod body;
mod cors;
mod front;
mod handed;
mod maintenance;
mod origin;
mod proxied;
mod redirect;
mod refusal;
mod stream;
mod table;
mod traced;

use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::body::Incoming;

use crate::access_log::WorkerLog;
use crate::acme::Challenges;
use crate::auth::Authenticator;
use crate::compress::Room;
use crate::config::{Config, Cors, ErrorPages, Route};
use crate::files::{Client, FilesError};
use crate::http::{HandedFile, RequestId, check_request, host_without_port};
use crate::limits::Limits;
use crate::metrics::Counters;
use crate::proxy::{Answer, Forward, Proxy, Switched};
use crate::publish::{self, Publisher, RefusalKind};
use crate::stream::{Grant, Review, Streams};
use crate::trace::Tracer;

pub use body::ReplyBody;
pub use front::Fronts;
pub use origin::Origin;
pub use redirect::{Hosts, Redirect};

use account::{Account, Meter};
use action::Do;
use asker::Asker;
use body::RequestLog;
use cors::Leave;
use front::Front;
use origin::{check_host, check_scheme};
use refusal::Refusal;
use stream::{Asked, Granted};
use table::Table;
use traced::Traced;

/// What becomes of a request.
#[derive(Debug)]
pub enum Routed {
    /// It is answered.
    Reply(Response<ReplyBody>),
    /// It is a stream that wants the connection's socket.
    /// Boxed, as is the next: rare beside answers, which are moved many times.
    Park(Box<Grant>),
    /// It is answered, and then the connection is the app's and the client's alone.
    Tunnel(Response<ReplyBody>, Box<Switched>),
}

/// What routes lead to, and what they report to.
#[derive(Debug)]
pub struct Features {
    /// Who knows credentials.
    pub auth: Arc<Authenticator>,
    /// How many streams all workers may have.
    pub limits: Limits,
    /// The apps behind.
    pub proxy: Proxy,
    /// The worker's streams.
    pub streams: Streams,
    /// What takes publications.
    pub publisher: Publisher,
    /// The worker's counters.
    pub counters: Arc<Counters>,
    /// The access log, if there is one.
    pub log: Option<Rc<WorkerLog>>,
    /// What authorities may ask for that certify our hosts.
    pub challenges: Challenges,
    /// What stands before routes.
    pub fronts: Fronts,
    /// Which requests are recorded, if any are.
    pub tracer: Option<Tracer>,
}

/// The routes of one worker and all that they need.
#[derive(Debug)]
pub struct Router {
    /// What it was made of.
    config: Arc<Config>,
    table: Table,
    routes: Vec<Entry>,
    /// What compressors have room for, of this worker and any of its routers.
    room: Room,
    /// Whether an app can hand in files.
    takes_handed: bool,
    /// Whether any route keeps somebody out.
    is_guarded: bool,
    auth: Arc<Authenticator>,
    limits: Limits,
    proxy: Proxy,
    streams: Streams,
    counters: Arc<Counters>,
    /// Where requests are counted that reach no route.
    nowhere: Rc<Meter>,
    log: Option<Rc<WorkerLog>>,
    challenges: Challenges,
    /// Pages in the place of ours.
    pages: Option<Arc<ErrorPages>>,
    tracer: Option<Tracer>,
}

#[derive(Debug)]
struct Entry {
    /// Where its requests are counted.
    meter: Rc<Meter>,
    /// What a request has to pass first.
    front: Option<Arc<Front>>,
    action: Rc<Do>,
    cors: Option<Cors>,
}

impl Router {
    /// Makes a worker's routes. Of the router that was there `before` it takes over what did not change: files that are
    /// known, what streams have in common.
    pub fn new(config: &Arc<Config>, features: Features, before: Option<&Self>) -> Self {
        let Features { auth, limits, proxy, streams, publisher, counters, log, challenges, fronts, tracer } =
            features;
        let room = before.map(|before| before.room.clone()).unwrap_or_default();
        let routes = config.routes.iter().enumerate().map(|(place, route)| {
            let same = before.and_then(|before| before.same(route));
            let action = same.unwrap_or_else(|| Rc::new(Do::new(place, route, &publisher, &room)));
            let meter = Meter::of(route, config, &counters);
            Entry { meter, front: fronts.of(place), action, cors: route.cors.clone() }
        });
        let routes: Vec<_> = routes.collect();
        let is_internal =
            |entry: &Entry| matches!(&*entry.action, Do::Files(files, _) if files.is_internal());
        Self {
            config: config.clone(),
            room,
            table: Table::new(&config.routes),
            takes_handed: routes.iter().any(is_internal),
            is_guarded: config.routes.iter().any(|route| route.front.is_some()),
            routes,
            auth,
            limits,
            proxy,
            streams,
            nowhere: Meter::of_none(&counters),
            counters,
            log,
            challenges,
            pages: fronts.pages,
            tracer,
        }
    }

    /// The action of a route that is no other than one of this router's. Those that publish are made anew: they have a
    /// publisher.
    fn same(&self, route: &Route) -> Option<Rc<Do>> {
        let place = self.config.routes.iter().position(|known| known == route)?;
        Some(self.routes[place].action.clone()).filter(|action| !matches!(**action, Do::Publish(_)))
    }

    /// What streams that are open are judged by.
    pub fn review(&self) -> Review {
        let settings = self.routes.iter().filter_map(|entry| match &*entry.action {
            Do::Stream(settings) => Some(settings.clone()),
            _ => None,
        });
        Review::new(self.auth.clone(), settings)
    }

    /// Closes connections to apps that have been idle for too long.
    /// Says whether any go on waiting.
    pub fn sweep(&self) -> bool {
        self.proxy.sweep()
    }

    /// Waits until a connection to an app waits for its next request, where none did.
    pub fn kept(&self) -> impl Future<Output = ()> + use<> {
        self.proxy.kept()
    }

    /// The connections to apps.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Takes a request to its answer. Its head is large, and is not moved from one function's future to the next; its
    /// fields are gone when it has been sent to an app.
    pub async fn route(&self, parts: &mut Parts, body: Incoming, origin: &Origin<'_>) -> Routed {
        self.counters.requests.inc();
        let id = RequestId::of(&parts.headers, origin.peer);
        let tracer = self.tracer.as_ref();
        let traced = tracer.and_then(|tracer| Traced::begin(tracer, parts, origin, &id));
        let is_told = self.log.is_some() || traced.is_some();
        let new_log = || RequestLog::new(self.log.clone(), parts, origin.client(parts), &id, traced);
        // Boxed here, once: it goes with the answer's body to the end.
        let log = is_told.then(|| Box::new(new_log()));
        let mut account = Account::open(log);
        if let Some(page) = self.challenges.page(parts.uri.path()) {
            account.reached(&self.nowhere);
            let response = Response::new(ReplyBody::small(page.into()));
            return Routed::Reply(body::finish(response, account));
        }
        let mut asker = Asker {
            accept: parts.headers.get(ACCEPT).cloned(),
            id: self.pages.is_some().then(|| Box::new(id.clone())),
            is_script: false,
            rules: None,
        };
        // Boxed: rare beside proxied requests, whose future would grow by it.
        let mut allowed = None;
        let found = self.find(parts, origin);
        let mut stopped = None;
        account.reached(found.as_ref().map_or(&self.nowhere, |(entry, _)| &entry.meter));
        if let Ok((entry, _)) = &found {
            allowed = entry.cors.as_ref().map(|cors| Box::new(Leave::of(cors, &parts.headers)));
            asker.is_script = matches!(*entry.action, Do::Stream(_) | Do::Publish(_));
            asker.rules = entry.action.rules();
        }
        let fronts = found.as_ref().map(|(entry, host)| self.fronts(parts, entry, host.as_ref()));
        let fronts = fronts.unwrap_or_default();
        let client = if fronts.is_empty() { None } else { origin.address(parts) };
        for front in &fronts {
            stopped = stopped.or(front.let_in(client).err());
        }
        // Those for a method that is the app's to answer are the app's.
        let has_app = matches!(&found, Ok((entry, _)) if matches!(*entry.action, Do::Files(_, Some(_))));
        if let (Some(allowed), None, false) = (&allowed, &stopped, has_app)
            && cors::is_preflight(parts)
        {
            let response = allowed.preflight(&parts.headers);
            return Routed::Reply(body::finish(response.map(ReplyBody::small), account));
        }
        let asks_password = fronts.iter().any(|front| front.asks_password());
        let keeps_out = fronts.iter().any(|front| front.keeps_out());
        if stopped.is_none() && !fronts.is_empty() {
            // Boxed: rare beside other requests, whose future would grow by it.
            stopped = Box::pin(front::pass(fronts, &parts.headers, client, &self.counters)).await.err();
        }
        let found = match (stopped, found) {
            (Some(stopped), _) => Err(stopped.into()),
            (None, found) => found.map(|(entry, host)| (&*entry.action, host)),
        };
        let found = match found {
            Ok((Do::Files(files, otherwise), host)) => {
                // Boxed, as all that is not proxied: the future of a proxied request would grow by it.
                let answer = files.answer(&parts.method, &parts.uri, &parts.headers, origin.direct);
                match Box::pin(answer).await {
                    Ok(mut response) => {
                        cors::put(allowed.as_deref(), &mut response);
                        if keeps_out {
                            front::keep_private(response.headers_mut());
                        }
                        return Routed::Reply(body::finish(response.map(ReplyBody::file), account));
                    }
                    Err(FilesError::Method | FilesError::Missing) if let Some(to) = otherwise => {
                        Ok((&**to, host))
                    }
                    Err(error) => Err(error.into()),
                }
            }
            other => other,
        };
        let refusal = match found {
            Err(refusal) => refusal,
            // Done above.
            Ok((Do::Files(..), _)) => Refusal::NoRoute,
            Ok((Do::Proxy(proxied), host)) => {
                let to = Forward {
                    upstream: proxied.route.upstream,
                    max_body: proxied.route.max_body,
                    peer: origin.peer,
                    host: host.as_ref(),
                    request_id: id,
                    body_stall: origin.body_stall,
                    prefix: proxied.route.strip_prefix.as_deref(),
                    rules: &proxied.route.request_headers,
                    body_min_rate: origin.body_min_rate,
                };
                let asked = proxied.asked(parts);
                if asks_password {
                    parts.headers.remove(AUTHORIZATION);
                }
                // What a file would need, if the app is going to hand one in.
                let client = self
                    .takes_handed
                    .then(|| Box::new(Client::of(&parts.method, &parts.headers, origin.direct)));
                account.asks(&mut parts.headers);
                let answer = self.proxy.forward(parts, body, to).await;
                account.heard(&answer);
                match answer {
                    Ok(Answer::Response(mut response)) => {
                        // Where no route takes files, an app that names one is answered for as if it had not.
                        if self.takes_handed
                            && let Some(named) = response.extensions_mut().remove::<HandedFile>()
                        {
                            // Boxed: rare beside other answers, whose future would grow by it.
                            let (app, _) = response.into_parts();
                            let host =
                                host.as_ref().and_then(|host| host.to_str().ok()).map(host_without_port);
                            match Box::pin(self.hand_over(named, app, client, host)).await {
                                Ok(mut response) => {
                                    proxied.rules().apply(response.headers_mut());
                                    return Routed::Reply(body::finish(response, account));
                                }
                                Err(refusal) => return self.refuse(&refusal, &asker, None, account),
                            }
                        }
                        return Routed::Reply(body::finish(proxied.answer(response, asked), account));
                    }
                    Ok(Answer::Upgrade(response, app)) => {
                        return Routed::Tunnel(body::finish(response.map(ReplyBody::proxied), account), app);
                    }
                    Err(error) => error.into(),
                }
            }
            Ok((Do::Publish(route), host)) => {
                let context = publish::route::Context {
                    parts,
                    peer: origin.peer,
                    host: host.as_ref(),
                    secure: origin.peer.is_secure(&parts.headers),
                    is_listed: allowed.as_deref().is_some_and(|allowed| allowed.with_credentials),
                    auth: &self.auth,
                    now: SystemTime::now(),
                    span: account.span(),
                };
                // Boxed: rare beside proxied requests, whose future would grow by it.
                let mut response = Box::pin(route.receive(context, body)).await;
                if response.status() == StatusCode::TOO_MANY_REQUESTS {
                    self.counters.publications_limited.inc();
                }
                let refused = response.extensions_mut().remove::<RefusalKind>().map(RefusalKind::code);
                cors::put(allowed.as_deref(), &mut response);
                let account = account.because(refused);
                return Routed::Reply(body::finish(response.map(ReplyBody::small), account));
            }
            Ok((Do::Stream(settings), host)) => {
                // Boxed: rare beside proxied requests, whose future would grow by it.
                let (allowed, span) = (allowed.as_deref(), account.span());
                let asked = Asked { parts, host: host.as_ref(), origin, allowed, span };
                match Box::pin(self.stream(settings, asked, body)).await {
                    Ok(Granted::Answer(response, refused)) => {
                        return Routed::Reply(body::finish(response, account.because(refused)));
                    }
                    // The lines of a stream are its own.
                    Ok(Granted::Park(grant)) => {
                        account.leave();
                        return Routed::Park(grant);
                    }
                    Ok(Granted::Body(response)) => {
                        account.leave();
                        return Routed::Reply(response);
                    }
                    Err(refusal) => refusal,
                }
            }
        };
        self.refuse(&refusal, &asker, allowed.as_deref(), account)
    }

    /// Checks a request and finds what is done with it, and the host it is for.
    fn find(&self, parts: &Parts, origin: &Origin<'_>) -> Result<(&Entry, Option<HeaderValue>), Refusal> {
        let host = check_request(parts)?;
        let name = host.as_ref().and_then(|host| host.to_str().ok()).map(host_without_port);
        check_host(name, origin)?;
        check_scheme(parts, host.as_ref(), origin)?;
        let route = self.table.find(parts.uri.path(), name).ok_or(Refusal::NoRoute)?;
        let entry = &self.routes[route];
        match &*entry.action {
            Do::Files(files, _) if files.is_internal() => Err(Refusal::NoRoute),
            _ => Ok((entry, host)),
        }
    }
}
