//! The whole process: everything is opened and bound first, then it runs, then it drains.
//!
//! The thread that calls [`Server::run`] is the control thread: it serves publishers, sweeps history, takes over new
//! configurations, and waits for the workers. It carries no traffic.

mod certificates;
mod descriptors;
mod error;
mod history;
mod listeners;
mod parts;
mod redirects;
mod reload;
mod supervision;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::interval;

use crate::access_log::{AccessLog, Rotation, Sink};
use crate::acme::Renewals;
use crate::admin::{Admin, Showing, View};
use crate::auth::Tickets;
use crate::config::{Config, Secret};
use crate::event::Timestamp;
use crate::hub::Hub;
use crate::listener::{self, ConnectionLimit};
use crate::metrics::Counters;
use crate::publish::{self, Bounds, PublishSocket, Publisher};
use crate::router::Fronts;
use crate::shutdown::Signal;
use crate::source::Sources;
use crate::systemd::Supervisor;
use crate::worker::{self, Change, Setup};

pub use error::BindError;
pub use reload::{ReloadError, Reloaded, Reloads, Source};

use history::Keeper;
use listeners::{Listeners, Plan};
use parts::{Chores, Made};
use reload::{Requests, Running};
use supervision::Supervision;

/// How often history and keys that are too old are dropped.
const SWEEP: Duration = Duration::from_secs(1);

/// The most questions of the operator that wait for a worker.
const MAX_SURVEYS: usize = 4;

/// A server with everything bound and nothing running.
pub struct Server {
    config: Arc<Config>,
    listeners: Listeners,
    plan: Plan,
    addresses: Vec<String>,
    sink: Option<Sink>,
    rotation: Rotation,
    publish_socket: Option<PublishSocket>,
    publish_http: Option<(std::net::TcpListener, Secret)>,
    admin: Option<Admin>,
    hub: Hub,
    /// What keeps history, unless it is in memory.
    keeper: Option<Keeper>,
    counters: Vec<Arc<Counters>>,
    tickets: Arc<Tickets>,
    fronts: Fronts,
    /// Where new configurations come from, and who asks for them.
    reloading: Option<(Source, Requests)>,
    supervision: Supervision,
    reloads: Option<Reloads>,
}

impl Server {
    /// Opens and binds all that the configuration names.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_under(Supervisor::default(), config)
    }

    /// The same under a service manager: it may have opened some of it already, and is told how the server does.
    pub fn bind_under(supervisor: Supervisor, config: Config) -> Result<Self, BindError> {
        descriptors::raise_limit();
        let rotation = Rotation::default();
        let sink = parts::sink(&config.log.access, &rotation)?;
        let Supervisor { sockets, notifier, watchdog } = supervisor;
        let listeners = Listeners::new(sockets);
        let plan = listeners.plan(&config, None)?;
        let addresses = plan.addresses();
        let publish = &config.publish;
        let publish_socket = parts::publish_socket(publish, &listeners.sockets)?;
        let publish_http = publish
            .http
            .as_ref()
            .map(|(address, token)| Ok((listener::bind_one(*address)?, token.clone())))
            .transpose()
            .map_err(BindError::PublishHttp)?;
        let admin = config.admin.as_ref().map(|admin| Admin::bind(admin, &listeners.sockets));
        let admin = admin.transpose().map_err(BindError::Admin)?;
        let (hub, keeper) = history::open(&config)?;
        let tickets = parts::tickets(&config, None)?;
        let fronts = Fronts::new(&config, None).map_err(|_| BindError::Random)?;
        let counters = (0..config.server.workers).map(|_| Arc::default()).collect();
        let config = Arc::new(config);
        Ok(Self {
            config,
            listeners,
            plan,
            addresses,
            sink,
            rotation,
            publish_socket,
            publish_http,
            admin,
            hub,
            keeper,
            counters,
            tickets,
            fronts,
            reloading: None,
            supervision: Supervision::new(notifier, watchdog),
            reloads: None,
        })
    }

    /// Lets the configuration be changed while it runs. What is returned asks for it.
    pub fn reload_from(&mut self, source: Source) -> Reloads {
        let (reloads, requests) = reload::channel();
        self.reloading = Some((source, requests));
        self.reloads = Some(reloads.clone());
        reloads
    }

    /// What has the access log's file opened anew.
    pub fn rotation(&self) -> Rotation {
        self.rotation.clone()
    }

    /// The listeners as they were bound, in the order of the configuration: `127.0.0.1:8080`, `unix:/run/s.sock`.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Where publishers connect, if that is in the file system.
    pub fn publish_socket(&self) -> Option<&Path> {
        self.publish_socket.as_ref().and_then(PublishSocket::path)
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
            mut listeners,
            plan,
            sink,
            rotation,
            publish_socket,
            publish_http,
            admin,
            hub,
            keeper,
            counters,
            tickets,
            fronts,
            reloading,
            mut supervision,
            reloads,
            ..
        } = self;
        let log = sink.map(|sink| AccessLog::start(sink, &rotation)).transpose()?;
        let (source, requests) = reloading.unzip();
        let bounds = Bounds::new(config.publish.max_event, config.publish.max_batch);
        let read = Arc::default();
        let all_counters: Arc<[_]> = counters.iter().chain([&read]).cloned().collect();
        let publisher = Publisher::new(hub.clone(), bounds, all_counters.clone());
        let limit = ConnectionLimit::new(parts::max_connections(&config));
        let made = Made { tickets, fronts };
        let alive = requests.as_ref().map(Requests::alive).unwrap_or_default();
        let renewals = Renewals::new(signal.clone());
        let (parts, background) =
            parts::first(config.clone(), made, &publisher, renewals.challenges(), alive);
        let (ended, all_ended) = mpsc::channel(1);

        // Every descriptor of our own is there before the first client can take one.
        let runtime = worker::runtime()?;
        let runtimes = counters.iter().map(|_| worker::runtime()).collect::<io::Result<Vec<_>>>()?;
        let serving = {
            let _within = runtime.enter();
            publish::serve(publisher.clone(), publish_socket, publish_http, signal.clone())?
        };
        let keeping = keeper
            .map(|keeper| Builder::new().name("store".to_owned()).spawn(move || keeper.run()))
            .transpose()?;
        let sources = Sources::start(&config.sources, (&hub, &publisher), &read, signal.clone())?;
        let doors = listeners.become_those(plan, &config);
        let chores = Chores::new(renewals);
        let showing = admin.is_some().then(|| Showing::new(parts::shown(&parts, &listeners, &chores)));
        let (desks, surveys): (Vec<_>, Vec<_>) = counters.iter().map(|_| mpsc::channel(MAX_SURVEYS)).unzip();
        let looking = admin.zip(showing.clone()).map(|(admin, showing)| {
            admin.start(View {
                showing,
                hub: hub.clone(),
                counters: all_counters,
                signal: signal.clone(),
                workers: ended.downgrade(),
                publisher: publisher.clone(),
                desks,
                reload: reloads.map(reload::button),
            })
        });
        let looking = looking.transpose()?;
        let secret_parameters = parts::secret_parameters(&config, &[]);
        let (mut threads, mut workers) = (Vec::new(), Vec::new());
        let (done, all_open) = mpsc::channel(1);
        for (index, ((doors, runtime), survey)) in doors.into_iter().zip(runtimes).zip(surveys).enumerate() {
            let log = log.as_ref().map(|log| log.worker(secret_parameters.clone(), config.log.format));
            let (sender, changes) = mpsc::unbounded_channel();
            workers.push(sender);
            let setup = Setup {
                index,
                hub: hub.clone(),
                counters: counters[index].clone(),
                limit: limit.clone(),
                begin: Change { parts: parts.clone(), doors, log, done: done.clone() },
                changes,
                questions: supervision.worker(),
                survey,
                signal: signal.clone(),
                ended: ended.clone(),
            };
            threads.push(worker::start(setup, runtime)?);
        }
        drop((ended, done));

        let running = Running {
            parts,
            listeners,
            workers,
            hub: hub.clone(),
            publisher,
            limit,
            log,
            rotation,
            secret_parameters,
            chores,
            notifier: supervision.notifier(),
            showing,
        };
        let local = LocalSet::new();
        let log = local.block_on(&runtime, async {
            spawn_local(background.run());
            spawn_local(supervision.run(all_open, counters, signal.clone()));
            control(running, source.zip(requests), serving, all_ended, signal).await
        });
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
        drop(local);
        runtime.shutdown_timeout(worker::LEFT_OVER);
        if let Some(sources) = sources {
            sources.finish();
        }
        // Nobody publishes any more; what waits is written.
        hub.close();
        let kept = keeping.map(std::thread::JoinHandle::join);
        if let Some(looking) = looking {
            looking.end();
        }
        match kept {
            None | Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => return Err(error),
            Some(Err(_)) => tracing::error!("the thread that keeps history panicked"),
        }
        if let Some(log) = log {
            log.finish();
        }
        Ok(())
    }
}

/// Does what is not traffic until all workers have ended. Returns the access log, which is the last to go.
async fn control(
    mut running: Running,
    reloading: Option<(Source, Requests)>,
    serving: impl Future<Output = ()>,
    mut all_ended: mpsc::Receiver<()>,
    signal: Signal,
) -> Option<AccessLog> {
    running.begin();
    let hub = running.hub.clone();
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
    // Publishers are served to the end: what they hand in meanwhile is kept, and reaches streams that are still open.
    let serving = async {
        serving.await;
        std::future::pending().await
    };
    let reloading = async {
        if let Some((source, requests)) = reloading {
            running.reload_from(&source, requests, signal).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        () = ended => {}
        () = serving => {}
        () = reloading => {}
    }
    running.end()
}
