//! From a request to what is done with it, and from what went wrong to its status: the one place where errors of the
//! features meet HTTP.
//!
//! Order: the request is checked (method, target, Host, framing), the host is one that the listener and the TLS
//! session serve, the route is found by path, its action is taken, and whatever the outcome is, it is logged.

mod body;
mod cors;
mod handed;
mod origin;
mod redirect;
mod refusal;
mod stream;
mod table;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::access_log::WorkerLog;
use crate::auth::Authenticator;
use crate::config::{Action, Config, Cors, ProxyRoute};
use crate::files::{Client, Files, FilesError};
use crate::http::{HandedFile, Peer, accepts_json, check_request, host_without_port};
use crate::limits::Limits;
use crate::metrics::Counters;
use crate::proxy::{Answer, Forward, Proxy, Switched};
use crate::publish::{self, Publisher};
use crate::stream::{Grant, StreamError, StreamSettings, Streams};

pub use body::ReplyBody;
pub use origin::Origin;
pub use redirect::{Hosts, Redirect};

use body::RequestLog;
use cors::Leave;
use refusal::Refusal;
use stream::{Asked, Granted};
use table::Table;

/// What becomes of a request.
#[derive(Debug)]
pub enum Routed {
    /// It is answered.
    Reply(Response<ReplyBody>),
    /// It is a stream that wants the connection's socket.
    Park(Grant),
    /// It is answered, and then the connection is the app's and the client's alone.
    Tunnel(Response<ReplyBody>, Switched),
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
}

/// The routes of one worker and all that they need.
#[derive(Debug)]
pub struct Router {
    table: Table,
    routes: Vec<Entry>,
    /// Whether an app can hand in files.
    takes_handed: bool,
    auth: Arc<Authenticator>,
    limits: Limits,
    proxy: Proxy,
    streams: Streams,
    counters: Arc<Counters>,
    log: Option<Rc<WorkerLog>>,
}

#[derive(Debug)]
struct Entry {
    action: Do,
    cors: Option<Cors>,
}

/// A route's action, ready for use.
#[derive(Debug)]
enum Do {
    Proxy {
        upstream: usize,
        max_body: u64,
    },
    /// The files, and what is done with a request for none of them.
    Files(Box<Files>, Option<Box<Do>>),
    Stream(Rc<StreamSettings>),
    Publish(Box<publish::route::Route>),
}

impl Router {
    /// Makes a worker's routes.
    pub fn new(config: &Config, features: Features) -> Self {
        let Features { auth, limits, proxy, streams, publisher, counters, log } = features;
        let routes = config.routes.iter().enumerate().map(|(place, route)| {
            let action = match &route.action {
                Action::Proxy(to) => proxied(to),
                Action::Files(files) => {
                    let otherwise = files.try_upstream.as_ref().map(|to| Box::new(proxied(to)));
                    Do::Files(Box::new(Files::new(&route.path, files)), otherwise)
                }
                Action::Stream(stream) => {
                    // Two routes may share a path on different hosts.
                    let name = format!("{} {}", route.path, route.hosts.join(" "));
                    Do::Stream(Rc::new(StreamSettings::new(name, place, stream)))
                }
                Action::Publish(route) => {
                    Do::Publish(Box::new(publish::route::Route::new(route, publisher.clone(), place)))
                }
            };
            Entry { action, cors: route.cors.clone() }
        });
        let routes: Vec<_> = routes.collect();
        let is_internal = |entry: &Entry| matches!(&entry.action, Do::Files(files, _) if files.is_internal());
        Self {
            table: Table::new(&config.routes),
            takes_handed: routes.iter().any(is_internal),
            routes,
            auth,
            limits,
            proxy,
            streams,
            counters,
            log,
        }
    }

    /// Closes connections to apps that have been idle for too long.
    /// Says whether any go on waiting.
    pub fn sweep(&self) -> bool {
        self.proxy.sweep()
    }

    /// Waits until a connection to an app waits for its next request, where none did.
    pub async fn kept(&self) {
        self.proxy.kept().await;
    }

    /// Takes a request to its answer.
    pub async fn route(&self, request: Request<Incoming>, origin: Origin<'_>) -> Routed {
        self.counters.requests.inc();
        // Taken apart once: a head is large, and is not to be moved from one function's future to the next.
        let (parts, body) = request.into_parts();
        let id = request_id(&parts.headers, origin.peer);
        let new_log = |log: &Rc<WorkerLog>| RequestLog::new(log.clone(), &parts, origin.client(&parts), &id);
        // Boxed here, once: it goes with the answer's body to the end.
        let log = self.log.as_ref().map(|log| Box::new(new_log(log)));
        let accept = parts.headers.get(ACCEPT).cloned();
        // Boxed: rare beside proxied requests, whose future would grow by it.
        let mut allowed = None;
        let found = self.find(&parts, &origin).map(|(route, host)| {
            allowed = route.cors.as_ref().map(|cors| Box::new(Leave::of(cors, &parts.headers)));
            (&route.action, host)
        });
        if let Some(allowed) = &allowed
            && cors::is_preflight(&parts)
        {
            let response = allowed.preflight(&parts.headers);
            return Routed::Reply(body::finish(response.map(ReplyBody::small), log));
        }
        let found = match found {
            Ok((Do::Files(files, otherwise), host)) => {
                match files.answer(&parts.method, &parts.uri, &parts.headers, origin.direct).await {
                    Ok(mut response) => {
                        cors::put(allowed.as_deref(), &mut response);
                        return Routed::Reply(body::finish(response.map(ReplyBody::file), log));
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
            Ok((Do::Proxy { upstream, max_body }, host)) => {
                let to = Forward {
                    upstream: *upstream,
                    max_body: *max_body,
                    peer: origin.peer,
                    host: host.as_ref(),
                    request_id: id,
                    body_stall: origin.body_stall,
                };
                // What a file would need, if the app is going to hand one in.
                let client = self
                    .takes_handed
                    .then(|| Box::new(Client::of(&parts.method, &parts.headers, origin.direct)));
                let answer = match self.proxy.forward(parts, body, to) {
                    Ok(answer) => answer.await,
                    Err(error) => Err(error),
                };
                match answer {
                    Ok(Answer::Response(mut response)) => {
                        if let Some(named) = response.extensions_mut().remove::<HandedFile>() {
                            // Boxed: rare beside other answers, whose future would grow by it.
                            let (app, _) = response.into_parts();
                            let host =
                                host.as_ref().and_then(|host| host.to_str().ok()).map(host_without_port);
                            match Box::pin(self.hand_over(named, app, client, host)).await {
                                Ok(response) => return Routed::Reply(body::finish(response, log)),
                                Err(refusal) => return self.refuse(&refusal, accept.as_ref(), None, log),
                            }
                        }
                        return Routed::Reply(body::finish(response.map(ReplyBody::proxied), log));
                    }
                    Ok(Answer::Upgrade(response, app)) => {
                        return Routed::Tunnel(body::finish(response.map(ReplyBody::proxied), log), app);
                    }
                    Err(error) => error.into(),
                }
            }
            Ok((Do::Publish(route), host)) => {
                let context = publish::route::Context {
                    parts: &parts,
                    peer: origin.peer,
                    host: host.as_ref(),
                    secure: origin.peer.is_secure(&parts.headers),
                    is_listed: allowed.as_deref().is_some_and(|allowed| allowed.with_credentials),
                    auth: &self.auth,
                    now: SystemTime::now(),
                };
                // Boxed: rare beside proxied requests, whose future would grow by it.
                let mut response = Box::pin(route.receive(context, body)).await;
                if response.status() == StatusCode::TOO_MANY_REQUESTS {
                    self.counters.publications_limited.inc();
                }
                cors::put(allowed.as_deref(), &mut response);
                return Routed::Reply(body::finish(response.map(ReplyBody::small), log));
            }
            Ok((Do::Stream(settings), host)) => {
                // Boxed: rare beside proxied requests, whose future would grow by it.
                let asked = Asked {
                    parts: &parts,
                    host: host.as_ref(),
                    origin: &origin,
                    allowed: allowed.as_deref(),
                };
                match Box::pin(self.stream(settings, asked, body)).await {
                    Ok(Granted::Answer(response)) => return Routed::Reply(body::finish(response, log)),
                    // The lines of a stream are its own.
                    Ok(Granted::Park(grant)) => {
                        leave(log);
                        return Routed::Park(grant);
                    }
                    Ok(Granted::Body(response)) => {
                        leave(log);
                        return Routed::Reply(response);
                    }
                    Err(refusal) => refusal,
                }
            }
        };
        self.refuse(&refusal, accept.as_ref(), allowed.as_deref(), log)
    }

    fn refuse(
        &self,
        refusal: &Refusal,
        accept: Option<&HeaderValue>,
        allowed: Option<&Leave>,
        log: Option<Box<RequestLog>>,
    ) -> Routed {
        self.count(refusal);
        let mut response = refusal.respond(accepts_json(accept));
        cors::put(allowed, &mut response);
        Routed::Reply(body::finish(response.map(ReplyBody::small), log))
    }

    /// Checks a request and finds what is done with it, and the host it is for.
    fn find(&self, parts: &Parts, origin: &Origin<'_>) -> Result<(&Entry, Option<HeaderValue>), Refusal> {
        let host = check_request(parts)?;
        origin.check_host(host.as_ref())?;
        origin.check_scheme(parts, host.as_ref())?;
        let name = host.as_ref().and_then(|host| host.to_str().ok()).map(host_without_port);
        let route = self.table.find(parts.uri.path(), name).ok_or(Refusal::NoRoute)?;
        match &self.routes[route] {
            Entry { action: Do::Files(files, _), .. } if files.is_internal() => Err(Refusal::NoRoute),
            entry => Ok((entry, host)),
        }
    }

    fn count(&self, refusal: &Refusal) {
        match refusal {
            Refusal::Stream(StreamError::Limited(limited)) => {
                self.limits.tell(*limited, &self.counters, Instant::now());
            }
            Refusal::Stream(_) => self.counters.streams_refused.inc(),
            _ if refusal.is_upstreams() => {
                self.counters.upstream_errors.inc();
                tracing::warn!(error = %refusal, "the app did not answer");
            }
            _ => {}
        }
    }
}

fn proxied(to: &ProxyRoute) -> Do {
    Do::Proxy { upstream: to.upstream, max_body: to.max_body }
}

fn leave(log: Option<Box<RequestLog>>) {
    if let Some(log) = log {
        log.leave();
    }
}

/// The longest name of a request that is taken over, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// What a request is called: by a trusted proxy in front of us, if that is a name for a log, or by us.
fn request_id(fields: &HeaderMap, peer: &Peer) -> HeaderValue {
    if peer.trusted
        && let Some(id) = fields.get("x-request-id")
        && (1..=MAX_REQUEST_ID).contains(&id.len())
        && id.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
    {
        return id.clone();
    }
    let mut bits = fastrand::u64(..);
    let mut text = [0; 16];
    for byte in &mut text {
        *byte = b"0123456789abcdef"[(bits & 15) as usize];
        bits >>= 4;
    }
    // Hexadecimal digits are always a valid value.
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("-"))
}
