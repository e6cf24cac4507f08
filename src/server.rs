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
mod reading;
mod redirects;
mod reload;
mod supervision;
mod taking_over;
mod upgrade;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{interval, timeout_at};

use crate::access_log::{AccessLog, Rotation, Sink};
use crate::acme::Renewals;
use crate::admin::{Admin, Showing, View};
use crate::auth::Tickets;
use crate::config::{Config, Secret};
use crate::event::Timestamp;
use crate::handover::{Heir, Inheritance, Predecessor, Program};
use crate::hub::Hub;
use crate::listener::{self, ConnectionLimit};
use crate::metrics::Counters;
use crate::publish::{self, Bounds, PublishSocket, Publisher};
use crate::router::Fronts;
use crate::shutdown::Signal;
use crate::source::Sources;
use crate::systemd::Supervisor;
use crate::trace::Exporter;
use crate::worker::{self, Change, Setup};

pub use error::BindError;
pub use reload::{ReloadError, Reloaded, Reloads, Source};
pub use upgrade::Upgrades;

use history::Keeper;
use listeners::{Listeners, Plan};
use parts::{Chores, Made};
use reading::Reading;
use reload::{Requests, Running};
use supervision::Supervision;
use upgrade::{Shares, Succession};

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
    predecessor: Option<Predecessor>,
    succession: Option<Succession>,
}

impl Server {
    /// Opens and binds all that the configuration names.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_under(Supervisor::default(), None, config)
    }

    /// The same under a service manager: it may have opened some of it already, and is told how the server does. A process
    /// that is to be replaced hands all over that it has, its store too.
    pub fn bind_under(
        supervisor: Supervisor,
        predecessor: Option<(Predecessor, Inheritance)>,
        config: Config,
    ) -> Result<Self, BindError> {
        descriptors::raise_limit();
        let rotation = Rotation::default();
        let sink = parts::sink(&config.log.access, &rotation)?;
        let Supervisor { sockets, notifier, watchdog } = supervisor;
        let (mut predecessor, inherited) = match predecessor {
            Some((predecessor, inherited)) => (Some(predecessor), inherited),
            None => (None, Inheritance::given(sockets)),
        };
        let listeners = Listeners::new(inherited);
        let inherited = &listeners.inherited;
        let plan = listeners.plan(&config, None)?;
        let addresses = plan.addresses();
        let publish = &config.publish;
        let publish_socket = parts::publish_socket(publish, inherited)?;
        let publish_http = publish
            .http
            .as_ref()
            .map(|(address, token)| {
                Ok((listener::bind_one(*address, Heir::PublishHttp, inherited)?, token.clone()))
            })
            .transpose()
            .map_err(BindError::PublishHttp)?;
        let admin = config.admin.as_ref().map(|admin| Admin::bind(admin, inherited));
        let admin = admin.transpose().map_err(BindError::Admin)?;
        inherited.let_go();
        taking_over::wait_for_store(predecessor.as_mut()).map_err(BindError::Predecessor)?;
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
            predecessor,
            succession: None,
        })
    }

    /// Lets the process be replaced by another one of the program. What is returned asks for it.
    ///
    /// # Errors
    /// If a socket cannot be shared.
    pub fn upgrade_to(&mut self, program: Program) -> io::Result<Upgrades> {
        let (upgrades, mut succession) = upgrade::channel(program);
        let publish = self.publish_socket.as_ref().map(PublishSocket::share).transpose()?.flatten();
        let http = self.publish_http.as_ref().zip(self.config.publish.http.as_ref());
        let http = http.map(|((listener, _), (asked, _))| {
            Ok::<_, io::Error>((listener.try_clone()?.into(), asked.to_string()))
        });
        let admin = self.admin.as_ref().map(Admin::share).transpose()?.flatten();
        succession.shares = Shares { publish, publish_http: http.transpose()?, admin };
        self.succession = Some(succession);
        Ok(upgrades)
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
            predecessor,
            mut succession,
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
        let challenges = renewals.challenges();
        let mut chores = Chores::new(renewals);
        let tracer = chores.trace(&config);
        publisher.trace(tracer.clone());
        let (parts, background) = parts::first(config.clone(), made, &publisher, challenges, alive, tracer);
        let (ended, all_ended) = mpsc::channel(1);

        // Every descriptor of our own is there before the first client can take one.
        let runtime = worker::runtime()?;
        let runtimes = counters.iter().map(|_| worker::runtime()).collect::<io::Result<Vec<_>>>()?;
        let hearing = {
            let _within = runtime.enter();
            taking_over::wait_to_begin(predecessor, &publisher, &signal)?
        };
        let serving = {
            let _within = runtime.enter();
            publish::serve(publisher.clone(), publish_socket, publish_http, signal.clone())?
        };
        let keeping = keeper
            .map(|keeper| Builder::new().name("store".to_owned()).spawn(move || keeper.run()))
            .transpose()?;
        let sources = {
            let (config, hub, publisher) = (config.clone(), hub.clone(), publisher.clone());
            let signal = signal.clone();
            Reading::new(move || Sources::start(&config.sources, (&hub, &publisher), &read, signal.clone()))?
        };
        let doors = listeners.become_those(plan, &config);
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
            let (sender, orders) = mpsc::unbounded_channel();
            workers.push(sender);
            let setup = Setup {
                index,
                hub: hub.clone(),
                counters: counters[index].clone(),
                limit: limit.clone(),
                begin: Change { parts: parts.clone(), doors, log, done: done.clone() },
                orders,
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
            sources,
        };
        let local = LocalSet::new();
        let (log, sources, exporter) = local.block_on(&runtime, async {
            spawn_local(background.run());
            let (main, is_main) = oneshot::channel();
            let (claim, publisher) = (running.listeners.inherited.claim().clone(), running.publisher.clone());
            spawn_local(taking_over::take_over(hearing, all_open, (claim, publisher), main));
            spawn_local(supervision.run(is_main, counters, signal.clone()));
            control(running, (source.zip(requests), &mut succession), serving, all_ended, signal).await
        });
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
        drop(local);
        runtime.shutdown_timeout(worker::LEFT_OVER);
        sources.finish();
        // Nobody publishes any more; what waits is written.
        hub.close();
        let kept = keeping.map(std::thread::JoinHandle::join);
        exporter.finish();
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

/// Does what is not traffic until all workers have ended. Returns the access log, what reads sources, and what sends spans,
/// which are the last to go.
async fn control(
    mut running: Running,
    (reloading, succession): (Option<(Source, Requests)>, &mut Option<Succession>),
    serving: impl Future<Output = ()>,
    mut all_ended: mpsc::Receiver<()>,
    signal: Signal,
) -> (Option<AccessLog>, Reading, Exporter) {
    running.begin();
    let hub = running.hub.clone();
    spawn_local(async move {
        let mut ticks = interval(SWEEP);
        loop {
            ticks.tick().await;
            hub.sweep(Timestamp::now());
        }
    });
    let (way, patience) = (running.publisher.way().clone(), running.parts.config.server.shutdown_timeout);
    let ended = async {
        // Nobody sends: this resolves when the last worker has dropped its end.
        let _ = all_ended.recv().await;
        if let Some(at) = way.left_at() {
            // Publishers who keep a connection are to come to the other process with the next one.
            let _ = timeout_at(at + patience, way.empty()).await;
        }
    };
    // Publishers are served to the end: what they hand in meanwhile is kept, and reaches streams that are still open.
    let serving = async {
        serving.await;
        std::future::pending().await
    };
    tokio::select! {
        () = ended => {}
        () = serving => {}
        () = running.change_when_asked(reloading, succession, signal) => {}
    }
    running.end()
}
