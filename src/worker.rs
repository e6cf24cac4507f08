//! One thread of traffic: a current-thread runtime with everything that its connections need, shared with nobody but
//! through the hub.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::Response;
use http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use hyper::body::Incoming;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::access_log::WorkerLog;
use crate::acme::Challenges;
use crate::auth::Authenticator;
use crate::config::{Config, Listen};
use crate::connection::{self, Drain, Handler, Handshakes, Info, Outcome, Refused, Settings, Shared};
use crate::hub::Hub;
use crate::limits::{AddressLimit, Limits};
use crate::listener::{ConnectionLimit, Listener, Permit, Unaccepted};
use crate::metrics::Counters;
use crate::proxy::{Proxy, Spools, Standings};
use crate::publish::Publisher;
use crate::router::{Features, Fronts, Origin, Redirect, ReplyBody, Routed, Router};
use crate::shutdown::{Signal, Stage};
use crate::stream::Streams;
use crate::tls::Tls;

/// How often the access log is handed over and old connections to apps are closed.
const TICK: Duration = Duration::from_millis(250);

/// Of the time that a shutdown may take, streams are ended over the first part: one in this many.
const DRAIN_SHARE: u32 = 3;

/// How often a draining worker looks for streams that were opened by requests already on their way.
const LATE_STREAMS: Duration = Duration::from_millis(100);

/// What a worker is given. Everything here can cross to its thread.
pub struct Setup {
    /// Its number, from 0.
    pub index: usize,
    /// The configuration.
    pub config: Arc<Config>,
    /// The hub.
    pub hub: Hub,
    /// Its own counters.
    pub counters: Arc<Counters>,
    /// Who knows credentials.
    pub auth: Arc<Authenticator>,
    /// How many streams all workers may have.
    pub stream_limits: Limits,
    /// What all workers know of the servers of apps.
    pub standings: Arc<Standings>,
    /// What is kept of bodies, of all workers.
    pub spools: Arc<Spools>,
    /// What takes publications of public routes.
    pub publisher: Publisher,
    /// Its sockets, in the order of the configuration, each with its TLS.
    pub sockets: Vec<(Unaccepted, Option<Tls>)>,
    /// Where requests of each listener are sent instead, in the order of the configuration.
    pub redirects: Vec<Option<Redirect>>,
    /// What authorities may ask for that certify our hosts.
    pub challenges: Challenges,
    /// What stands before the routes of all workers.
    pub fronts: Fronts,
    /// How many connections all workers may have.
    pub limit: ConnectionLimit,
    /// How many connections an address may have, over all workers.
    pub addresses: Option<AddressLimit>,
    /// Its end of the access log.
    pub log: Option<WorkerLog>,
    /// Says when to end.
    pub signal: Signal,
    /// Dropped when the worker has ended.
    pub ended: mpsc::Sender<()>,
}

/// A runtime for one thread.
pub fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Starts a worker's thread.
pub fn start(setup: Setup, runtime: Runtime) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("worker-{}", setup.index)).spawn(move || {
        let local = LocalSet::new();
        if let Err(error) = local.block_on(&runtime, run(setup)) {
            tracing::error!(%error, "a worker could not start");
        }
    })
}

async fn run(setup: Setup) -> io::Result<()> {
    let Setup {
        index,
        config,
        hub,
        counters,
        auth,
        stream_limits,
        standings,
        spools,
        publisher,
        sockets,
        redirects,
        challenges,
        fronts,
        limit,
        addresses,
        log,
        mut signal,
        ended,
    } = setup;
    let log = log.map(Rc::new);
    let streams = Streams::new(hub, index, counters.clone(), log.clone());
    let features = Features {
        auth: auth.clone(),
        limits: stream_limits,
        proxy: Proxy::new(&config.upstreams, &standings, &spools, &counters),
        streams: streams.clone(),
        publisher,
        counters: counters.clone(),
        log: log.clone(),
        challenges: challenges.clone(),
        fronts,
    };
    let router = Router::new(&config, features);
    let hsts = config.listen.iter().map(|listen| listen.hsts.map(|hsts| hsts.field())).collect();
    let shared = Rc::new(Shared {
        handler: Route { router, redirects, hsts },
        streams: streams.clone(),
        counters: counters.clone(),
        drain: Drain::default(),
        handshakes: Handshakes::default(),
        challenges,
        addresses,
        refused: Refused::default(),
        log: log.clone(),
    });
    let open = Rc::new(Open::default());

    let mut accepting = Vec::new();
    for (place, ((socket, tls), listen)) in sockets.into_iter().zip(&config.listen).enumerate() {
        let listener = Listener::new(socket)?;
        let settings = Rc::new(settings(&config, place, listen, tls));
        let (shared, counters, open, limit) = (shared.clone(), counters.clone(), open.clone(), limit.clone());
        accepting.push(spawn_local(async move {
            let accepted = |socket, address, permit| {
                let held = OpenConnection::new(&open, &counters, permit);
                spawn_local(connection::serve(shared.clone(), settings.clone(), socket, address, held));
            };
            listener.accept_all(&limit, &counters, accepted).await;
        }));
    }
    let _delivering = {
        let streams = streams.clone();
        spawn_local(async move { streams.deliver().await })
    };
    let _asking = {
        let streams = streams.clone();
        spawn_local(async move { streams.keep_asking(auth).await })
    };
    let _catching_up = {
        let streams = streams.clone();
        spawn_local(async move { streams.keep_catching_up().await })
    };
    let _timing = {
        let streams = streams.clone();
        spawn_local(async move { streams.keep_time().await })
    };
    let _keeping = spawn_local(keep_house(shared.clone(), log));

    signal.reached(Stage::Draining).await;
    for task in accepting {
        // Drops the listening sockets: from here on the kernel refuses, or another process accepts.
        task.abort();
    }
    let patience = config.server.shutdown_timeout;
    tokio::select! {
        _ = timeout(patience, drain(&shared, &open, patience)) => {}
        () = signal.reached(Stage::Stopped) => {}
    }
    // Whatever is still open ends with this thread, and says so in the log.
    shared.streams.end_all();
    drop(ended);
    Ok(())
}

async fn drain(shared: &Shared<Route>, open: &Open, patience: Duration) {
    shared.drain.begin();
    shared.streams.drain(patience / DRAIN_SHARE).await;
    shared.drain.end_tunnels();
    loop {
        tokio::select! {
            () = open.closed() => return,
            () = sleep(LATE_STREAMS) => shared.streams.drain(Duration::ZERO).await,
        }
    }
}

/// Hands the log over and sweeps connections to apps, every [`TICK`] while there is something of the kind: a worker that
/// has nothing to do is not woken.
async fn keep_house(shared: Rc<Shared<Route>>, log: Option<Rc<WorkerLog>>) {
    let written = async || match &log {
        Some(log) => log.written().await,
        None => std::future::pending().await,
    };
    loop {
        tokio::select! {
            () = written() => {}
            () = shared.handler.router.kept() => {}
            () = shared.streams.catching_up() => {}
        }
        loop {
            sleep(TICK).await;
            // Both, whatever the first says.
            let waiting = shared.handler.router.sweep() | shared.streams.end_stalled();
            if let Some(log) = &log {
                shared.counters.log_lines_dropped.add(log.flush());
            }
            if !waiting {
                break;
            }
        }
    }
}

fn settings(config: &Config, listener: usize, listen: &Listen, tls: Option<Tls>) -> Settings {
    Settings {
        listener,
        deadlines: listen.deadlines.clone(),
        max_headers: listen.max_headers,
        server_names: listen.server_names.clone(),
        tls,
        proxy_protocol: listen.proxy_protocol,
        trusted: config.server.trusted_proxies.clone(),
    }
}

/// The connections of a worker.
#[derive(Debug, Default)]
struct Open {
    count: Cell<usize>,
    closed: Notify,
}

impl Open {
    async fn closed(&self) {
        while self.count.get() > 0 {
            self.closed.notified().await;
        }
    }
}

/// One connection, counted while this lives.
struct OpenConnection {
    open: Rc<Open>,
    counters: Arc<Counters>,
    _permit: Permit,
}

impl OpenConnection {
    fn new(open: &Rc<Open>, counters: &Arc<Counters>, permit: Permit) -> Self {
        open.count.set(open.count.get() + 1);
        counters.connections.inc();
        Self { open: open.clone(), counters: counters.clone(), _permit: permit }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.counters.connections.dec();
        if std::thread::panicking() {
            self.counters.panics.inc();
        }
        self.open.count.set(self.open.count.get() - 1);
        if self.open.count.get() == 0 {
            self.open.closed.notify_one();
        }
    }
}

/// The router, as connections know it.
struct Route {
    router: Router,
    /// By listener.
    redirects: Vec<Option<Redirect>>,
    /// What answers say of coming by `https` only. By listener.
    hsts: Vec<Option<HeaderValue>>,
}

impl Route {
    fn hsts(&self, info: &Info) -> Option<&HeaderValue> {
        self.hsts.get(info.settings.listener).and_then(Option::as_ref)
    }
}

/// Says in an answer for how long browsers are to come by `https` only, unless the app says it itself.
fn put_hsts(hsts: Option<&HeaderValue>, mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    if let Some(hsts) = hsts {
        response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
    }
    response
}

impl Handler for Route {
    type Body = ReplyBody;

    async fn handle(&self, request: http::Request<Incoming>, info: &Rc<Info>) -> Outcome<ReplyBody> {
        let settings = &info.settings;
        let origin = Origin {
            peer: &info.peer,
            trusted: &settings.trusted,
            sni: info.sni.as_deref(),
            credentials: info.credentials.as_deref(),
            redirect: self.redirects.get(settings.listener).and_then(Option::as_ref),
            hsts: self.hsts(info),
            server_names: &settings.server_names,
            h2: info.h2,
            body_stall: settings.deadlines.body_stall,
            body_min_rate: settings.deadlines.body_min_rate,
            direct: info.direct.as_ref(),
        };
        match self.router.route(request, origin).await {
            Routed::Reply(response) => Outcome::Reply(put_hsts(self.hsts(info), response)),
            Routed::Park(grant) => Outcome::Park(grant),
            Routed::Tunnel(response, app) => Outcome::Tunnel(put_hsts(self.hsts(info), response), app),
        }
    }

    fn failed(&self, info: &Info) -> Response<ReplyBody> {
        put_hsts(self.hsts(info), self.router.failed())
    }
}
