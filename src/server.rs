//! The whole process: everything is opened and bound first, then it runs, then it drains.
//!
//! The thread that calls [`Server::run`] is the control thread: it serves publishers, sweeps history, and waits for
//! the workers. It carries no traffic.

mod certificates;
mod descriptors;
mod history;
mod redirects;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::interval;

use crate::access_log::{AccessLog, Sink};
use crate::admin::{Admin, View};
use crate::auth::{Authenticator, Background, Tickets};
use crate::config::{self, Action, Auth, Config, Secret};
use crate::event::Timestamp;
use crate::hub::{Committer, Hub};
use crate::limits::{AddressLimit, Limits};
use crate::listener::{self, Bound, ConnectionLimit};
use crate::metrics::Counters;
use crate::proxy::{HealthChecks, Spools, Standings};
use crate::publish::{self, Bounds, PublishSocket, Publisher};
use crate::router::Fronts;
use crate::shutdown::Signal;
use crate::store::DiskError;
use crate::tls::{Tls, TlsError};
use crate::worker::{self, Setup};

use certificates::Keeper;

/// How often history and keys that are too old are dropped.
const SWEEP: Duration = Duration::from_secs(1);

/// Why the server cannot start.
#[derive(Debug)]
pub enum BindError {
    /// A listener.
    Listen(listener::BindError),
    /// The TLS of a listener.
    Tls {
        /// The listener.
        listener: String,
        /// Why.
        cause: TlsError,
    },
    /// The access log.
    AccessLog {
        /// Its file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The publish socket.
    PublishSocket(publish::SocketError),
    /// The publishers' TCP address.
    PublishHttp(listener::BindError),
    /// The operator's address.
    Admin(listener::BindError),
    /// The store on disk.
    Store(DiskError),
    /// No random bytes for the epoch, the tickets or the passwords.
    Random,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(f),
            Self::Tls { listener, cause } => write!(f, "cannot serve TLS on {listener}: {cause}"),
            Self::AccessLog { path, cause } => {
                write!(f, "cannot write the access log to {}: {cause}", path.display())
            }
            Self::PublishSocket(error) => error.fmt(f),
            Self::PublishHttp(error) => write!(f, "[publish] http: {error}"),
            Self::Admin(error) => write!(f, "[admin] address: {error}"),
            Self::Store(error) => error.fmt(f),
            Self::Random => f.write_str("the system gives no random bytes"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(error) => Some(error),
            Self::Tls { cause, .. } => Some(cause),
            Self::AccessLog { cause, .. } => Some(cause),
            Self::PublishSocket(error) => Some(error),
            Self::PublishHttp(error) | Self::Admin(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Random => None,
        }
    }
}

/// A server with everything bound and nothing running.
pub struct Server {
    config: Arc<Config>,
    listeners: Vec<(Bound, Option<Tls>)>,
    addresses: Vec<String>,
    sink: Option<Sink>,
    publish_socket: Option<PublishSocket>,
    publish_http: Option<(std::net::TcpListener, Secret)>,
    admin: Option<Admin>,
    hub: Hub,
    /// What writes to a store on disk.
    committer: Option<Committer>,
    counters: Vec<Arc<Counters>>,
    tickets: Tickets,
    fronts: Fronts,
}

impl Server {
    /// Opens and binds all that the configuration names.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        descriptors::raise_limit();
        let sink = match &config.log.access {
            config::AccessLog::Off => None,
            config::AccessLog::Stdout => Some(Sink::Stdout),
            config::AccessLog::File(path) => {
                Some(Sink::file(path).map_err(|cause| BindError::AccessLog { path: path.clone(), cause })?)
            }
        };
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for listen in &config.listen {
            let tls = certificates::tls_of(listen)
                .map_err(|cause| BindError::Tls { listener: listen.endpoint.to_string(), cause })?;
            let all = config.listen.iter().map(|listen| &listen.endpoint);
            let bound =
                Bound::bind(&listen.endpoint, all, config.server.workers).map_err(BindError::Listen)?;
            addresses.push(bound.endpoint.to_string());
            listeners.push((bound, tls));
        }
        let publish = &config.publish;
        let publish_socket = publish
            .socket
            .as_ref()
            .map(|path| PublishSocket::bind(path, publish.mode, publish.allow_uids.clone()))
            .transpose()
            .map_err(BindError::PublishSocket)?;
        let publish_http = publish
            .http
            .as_ref()
            .map(|(address, token)| Ok((listener::bind_one(*address)?, token.clone())))
            .transpose()
            .map_err(BindError::PublishHttp)?;
        let admin = config.admin.as_ref().map(Admin::bind).transpose().map_err(BindError::Admin)?;
        let (hub, committer) = history::open(&config)?;
        let tickets = match &config.server.secret {
            Some(secret) => Tickets::new(secret.expose().as_bytes()),
            None => Tickets::random().map_err(|_| BindError::Random)?,
        };
        let fronts = Fronts::new(&config).map_err(|_| BindError::Random)?;
        let counters = (0..config.server.workers).map(|_| Arc::default()).collect();
        let config = Arc::new(config);
        Ok(Self {
            config,
            listeners,
            addresses,
            sink,
            publish_socket,
            publish_http,
            admin,
            hub,
            committer,
            counters,
            tickets,
            fronts,
        })
    }

    /// The listeners as they were bound, in the order of the configuration: `127.0.0.1:8080`, `unix:/run/s.sock`.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Where publishers connect.
    pub fn publish_socket(&self) -> Option<&Path> {
        self.publish_socket.as_ref().map(PublishSocket::path)
    }

    /// The TCP address where publishers connect, as it was bound.
    pub fn publish_address(&self) -> Option<SocketAddr> {
        self.publish_http.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Where the operator looks in, as it was bound.
    pub fn admin_address(&self) -> Option<&str> {
        self.admin.as_ref().map(Admin::address)
    }

    /// Runs until the signal has been given and the workers have drained.
    pub fn run(self, signal: Signal) -> io::Result<()> {
        let Self {
            config,
            listeners,
            sink,
            publish_socket,
            publish_http,
            admin,
            hub,
            committer,
            counters,
            tickets,
            fronts,
            ..
        } = self;
        let log = sink.map(AccessLog::start).transpose()?;
        let secret_parameters = secret_parameters(&config);
        let (auth, background) = Authenticator::new(&config.auth, &config.upstreams, tickets);
        let auth = Arc::new(auth);
        let stream_limits = Limits::new(&config.limits);
        let addresses = config.limits.connections_per_address.map(AddressLimit::new);
        warn_of_missing_roots(&config);
        let standings = Standings::new(&config.upstreams);
        let spools = spools(&config.server);
        let checks = HealthChecks::new(&config.upstreams, &standings);
        let limit = ConnectionLimit::new(
            config.server.max_connections.unwrap_or_else(descriptors::default_connections),
        );
        let bounds = Bounds::new(config.publish.max_event, config.publish.max_batch);
        let publisher = Publisher::new(hub.clone(), bounds, counters.clone().into());
        let publisher = publisher.with_rates(&config.routes);
        let (ended, all_ended) = mpsc::channel(1);

        let redirects = redirects::of(&config, &listeners);
        let with_tls =
            listeners.iter().filter_map(|(bound, tls)| Some((bound.endpoint.to_string(), tls.clone()?)));
        let tls = with_tls.collect();
        let mut keeper = Keeper::default();
        for ((bound, tls), listen) in listeners.iter().zip(&config.listen) {
            if let Some(tls) = tls {
                keeper.add(bound.endpoint.to_string(), tls.clone(), listen);
            }
        }
        let mut files = Vec::new();
        let mut sockets: Vec<Vec<_>> = (0..config.server.workers).map(|_| Vec::new()).collect();
        for (bound, tls) in listeners {
            let (unaccepted, file) = bound.into_parts();
            files.extend(file);
            for (worker, socket) in sockets.iter_mut().zip(unaccepted) {
                worker.push((socket, tls.clone()));
            }
        }
        // Every descriptor of our own is there before the first client can take one.
        let runtime = worker::runtime()?;
        let runtimes = sockets.iter().map(|_| worker::runtime()).collect::<io::Result<Vec<_>>>()?;
        let serving = {
            let _within = runtime.enter();
            publish::serve(publisher.clone(), publish_socket, publish_http, signal.clone())?
        };
        let view = View {
            config: config.clone(),
            hub: hub.clone(),
            counters: counters.clone(),
            limits: stream_limits.clone(),
            standings: standings.clone(),
            tls,
            generation: Arc::new(AtomicU64::new(1)),
            signal: signal.clone(),
            workers: ended.downgrade(),
        };
        let admin = admin.map(|admin| admin.start(view)).transpose()?;
        let committing = committer
            .map(|committer| Builder::new().name("store".to_owned()).spawn(move || committer.run()))
            .transpose()?;
        let mut threads = Vec::new();
        for (index, (sockets, runtime)) in sockets.into_iter().zip(runtimes).enumerate() {
            let setup = Setup {
                index,
                config: config.clone(),
                hub: hub.clone(),
                counters: counters[index].clone(),
                auth: auth.clone(),
                stream_limits: stream_limits.clone(),
                standings: standings.clone(),
                spools: spools.clone(),
                publisher: publisher.clone(),
                sockets,
                redirects: redirects.clone(),
                fronts: fronts.clone(),
                limit: limit.clone(),
                addresses: addresses.clone(),
                log: log.as_ref().map(|log| log.worker(secret_parameters.clone(), config.log.format)),
                signal: signal.clone(),
                ended: ended.clone(),
            };
            threads.push(worker::start(setup, runtime)?);
        }
        drop(ended);

        LocalSet::new().block_on(
            &runtime,
            control(hub.clone(), background, checks, (keeper, fronts), serving, all_ended),
        );
        drop(files);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
        // Nobody publishes any more; what waits is written.
        hub.close();
        if committing.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes to the store panicked");
        }
        if let Some(admin) = admin {
            admin.end();
        }
        if let Some(log) = log {
            log.finish();
        }
        Ok(())
    }
}

async fn control(
    hub: Hub,
    background: Background,
    checks: HealthChecks,
    (keeper, fronts): (Keeper, Fronts),
    serving: impl Future<Output = ()>,
    mut all_ended: mpsc::Receiver<()>,
) {
    spawn_local(background.run());
    spawn_local(keeper.run());
    spawn_local(fronts.watch());
    spawn_local(checks.run());
    spawn_local(async move {
        let mut ticks = interval(SWEEP);
        loop {
            ticks.tick().await;
            hub.sweep(Timestamp::now());
        }
    });
    let ended = async {
        // Nobody sends: this resolves when the last worker has dropped its end.
        let _ = all_ended.recv().await;
    };
    let mut ended = std::pin::pin!(ended);
    // Publishers are served to the end: what they hand in meanwhile is kept, and reaches streams that are still open.
    tokio::select! {
        () = serving => {}
        () = &mut ended => return,
    }
    ended.await;
}

/// Where bodies wait. A folder that is of no use is told at once, and not when the first large body comes.
fn spools(server: &config::Server) -> Arc<Spools> {
    let spools = Spools::new(server.temp_dir.clone(), server.spool_memory, server.spool_disk);
    if let Err(error) = spools.check() {
        let temp_dir = server.temp_dir.display();
        tracing::warn!(%temp_dir, %error, "no file can be made in temp_dir: large bodies for wsgi apps will be refused");
    }
    spools
}

/// The query parameters that carry credentials.
fn secret_parameters(config: &Config) -> Vec<String> {
    config.auth.iter().filter_map(Auth::query).map(str::to_owned).collect()
}

/// Says which folders are not there. They may be made later, and a site need not wait for them.
fn warn_of_missing_roots(config: &Config) {
    for route in &config.routes {
        if let Action::Files(files) = &route.action
            && !files.root.is_dir()
        {
            let (path, root) = (&route.path, files.root.display());
            tracing::warn!(path, %root, "the folder of a files route is not there; until it is, nothing is found in it");
        }
    }
}
