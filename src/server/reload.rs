//! Another configuration while the process runs.
//!
//! Order: the configuration is read and checked; what it needs is opened, bound and made ready; then nothing can fail any
//! more, and it is put into force, on each worker between two requests. Invariant: of a configuration that is refused
//! nothing is in force, and whoever asked is told why.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::timeout;

use crate::access_log::{AccessLog, Rotation, WorkerLog};
use crate::admin::{self, Showing};
use crate::config::{Config, Problems, SocketPlace};
use crate::hub::Hub;
use crate::listener::ConnectionLimit;
use crate::publish::{self, Bounds, Publisher, Terms};
use crate::shutdown::{Signal, Stage};
use crate::systemd::Notifier;
use crate::trace::Exporter;
use crate::worker::{Change, Order, Parts};

use super::BindError;
use super::listeners::Listeners;
use super::parts::{self, Chores, Made};
use super::reading::Reading;
use super::upgrade::Succession;

/// How many may wait for their reload. Whoever comes later waits for a place.
const WAITING: usize = 16;

/// How long the workers have to take a configuration over. They need a moment between two requests; one that does not find
/// it takes it over later.
const PATIENCE: Duration = Duration::from_secs(10);

type Outcome = Result<Reloaded, ReloadError>;
type Load = dyn Fn() -> Result<Config, Problems> + Send + Sync;

/// Where configurations come from.
pub struct Source {
    load: Arc<Load>,
    taken: Box<dyn Fn(&Config) + Send>,
}

impl Source {
    /// What `load` reads, each time anew.
    pub fn new(load: impl Fn() -> Result<Config, Problems> + Send + Sync + 'static) -> Self {
        Self { load: Arc::new(load), taken: Box::new(|_| ()) }
    }

    /// Has `taken` told of each configuration that is in force.
    #[must_use]
    pub fn and_then(self, taken: impl Fn(&Config) + Send + 'static) -> Self {
        Self { taken: Box::new(taken), ..self }
    }
}

/// What a reload has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The number of the configuration that is in force: the first is 1.
    pub generation: u64,
    /// The sections that are not what they were.
    pub changed: Vec<&'static str>,
    /// Keys that say otherwise, and for which the process has to be started anew.
    pub kept: Vec<&'static str>,
}

/// Why everything is as it was.
#[derive(Debug)]
pub enum ReloadError {
    /// The file has mistakes.
    Config(Problems),
    /// Something that it names cannot be opened.
    Bind(BindError),
    /// The process is ending.
    Ending,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => problems.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Ending => f.write_str("the process is ending"),
        }
    }
}

impl std::error::Error for ReloadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(problems) => Some(problems),
            Self::Bind(error) => Some(error),
            Self::Ending => None,
        }
    }
}

/// Asks for reloads. A cheap handle; any thread may have one.
#[derive(Debug, Clone)]
pub struct Reloads {
    requests: mpsc::Sender<oneshot::Sender<Outcome>>,
    numbers: Arc<Numbers>,
}

/// The other end.
pub(super) struct Requests {
    requests: mpsc::Receiver<oneshot::Sender<Outcome>>,
    numbers: Arc<Numbers>,
}

#[derive(Debug)]
struct Numbers {
    generation: AtomicU64,
    alive: Arc<AtomicUsize>,
}

pub(super) fn channel() -> (Reloads, Requests) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let numbers = Arc::new(Numbers { generation: AtomicU64::new(1), alive: Arc::default() });
    (Reloads { requests: sender, numbers: numbers.clone() }, Requests { requests: receiver, numbers })
}

impl Requests {
    pub(super) fn alive(&self) -> Arc<AtomicUsize> {
        self.numbers.alive.clone()
    }
}

impl Reloads {
    /// Reads the configuration again and puts it into force, if it is good, on all workers. Requests that are made
    /// meanwhile wait for their turn.
    ///
    /// # Errors
    /// What is wrong with it; then everything is as it was.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let (reply, outcome) = oneshot::channel();
        self.requests.send(reply).await.map_err(|_| ReloadError::Ending)?;
        outcome.await.unwrap_or(Err(ReloadError::Ending))
    }

    /// The same, for a thread that has no runtime.
    ///
    /// # Errors
    /// As [`Reloads::reload`].
    pub fn reload_blocking(&self) -> Result<Reloaded, ReloadError> {
        let (reply, outcome) = oneshot::channel();
        self.requests.blocking_send(reply).map_err(|_| ReloadError::Ending)?;
        outcome.blocking_recv().unwrap_or(Err(ReloadError::Ending))
    }

    /// The number of the configuration that is in force.
    pub fn generation(&self) -> u64 {
        self.numbers.generation.load(Ordering::Relaxed)
    }

    /// How many configurations the workers have, summed: one each, and more while requests go on under older ones.
    pub fn alive(&self) -> usize {
        self.numbers.alive.load(Ordering::Relaxed)
    }
}

/// Asks for reloads where the operator looks in.
pub(super) fn button(reloads: Reloads) -> admin::Reload {
    admin::Reload::new(move || {
        let reloads = reloads.clone();
        async move {
            match reloads.reload().await {
                Ok(Reloaded { generation, changed, kept }) => {
                    admin::Outcome::Done { generation, changed, kept }
                }
                Err(ReloadError::Config(problems)) => admin::Outcome::Config(problems),
                Err(ReloadError::Bind(error)) => admin::Outcome::Unavailable(error.to_string()),
                Err(ReloadError::Ending) => admin::Outcome::Ending,
            }
        }
    })
}

/// What runs, as the control thread knows it.
pub(super) struct Running {
    pub(super) parts: Parts,
    pub(super) listeners: Listeners,
    pub(super) workers: Vec<mpsc::UnboundedSender<Order>>,
    pub(super) hub: Hub,
    pub(super) publisher: Publisher,
    pub(super) limit: ConnectionLimit,
    pub(super) log: Option<AccessLog>,
    pub(super) rotation: Rotation,
    pub(super) secret_parameters: Vec<String>,
    pub(super) chores: Chores,
    pub(super) notifier: Notifier,
    /// What the operator is shown, if he looks in at all.
    pub(super) showing: Option<Showing>,
    pub(super) sources: Reading,
}

impl Running {
    /// Begins with what the first configuration needs done over and over.
    pub(super) fn begin(&mut self) {
        let keeper = self.listeners.keeper();
        self.chores.become_those(&self.parts, keeper);
        if let Some(showing) = &self.showing {
            showing.show(parts::shown(&self.parts, &self.listeners, &self.chores));
        }
    }

    /// Lets go of everything but the access log, the sources, and what sends spans.
    pub(super) fn end(self) -> (Option<AccessLog>, Reading, Exporter) {
        (self.log, self.sources, self.chores.into_exporter())
    }

    /// Reloads and is replaced whenever it is asked for, one after the other, without end.
    pub(super) async fn change_when_asked(
        &mut self,
        mut reloading: Option<(Source, Requests)>,
        succession: &mut Option<Succession>,
        signal: Signal,
    ) {
        loop {
            let reload = async {
                let (source, requests) = reloading.as_mut()?;
                Some((&*source, requests.requests.recv().await?, &requests.numbers))
            };
            let upgrade = async { succession.as_mut()?.asked().await };
            tokio::select! {
                Some((source, reply, numbers)) = reload => {
                    let outcome = self.reload_unless_ending(source, &signal).await;
                    numbers.generation.store(self.parts.number, Ordering::Relaxed);
                    tell(&outcome);
                    // Whoever has asked may have gone.
                    let _ = reply.send(outcome);
                }
                Some(trigger) = upgrade => {
                    if let Some(succession) = succession {
                        self.upgrade(succession, trigger, signal.clone()).await;
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    async fn reload_unless_ending(&mut self, source: &Source, signal: &Signal) -> Outcome {
        if signal.stage() > Stage::Running {
            return Err(ReloadError::Ending);
        }
        self.notifier.reloading();
        let outcome = self.reload(source).await;
        self.notifier.ready();
        outcome
    }

    async fn reload(&mut self, source: &Source) -> Outcome {
        let load = source.load.clone();
        // On a thread that may wait for files: publishers are served meanwhile.
        let loaded = spawn_blocking(move || load()).await;
        let mut config = loaded.map_err(|_| ReloadError::Ending)?.map_err(ReloadError::Config)?;
        let before = self.parts.config.clone();
        let kept = config.keep_what_stays(&before);
        let changed = config.changed_since(&before);
        if !changed.is_empty() {
            self.change(Arc::new(config)).await.map_err(ReloadError::Bind)?;
            (source.taken)(&self.parts.config);
        }
        Ok(Reloaded { generation: self.parts.number, changed, kept })
    }

    async fn change(&mut self, config: Arc<Config>) -> Result<(), BindError> {
        let before = self.parts.config.clone();
        let plan = self.listeners.plan(&config, Some(&before))?;
        let made = Made::of(&config, &self.parts)?;
        let is_elsewhere = config.log.access != before.log.access;
        let log = if is_elsewhere {
            let start = |sink| {
                AccessLog::start(sink, &self.rotation)
                    .map_err(|cause| BindError::AccessLog { path: "its thread".into(), cause })
            };
            parts::sink(&config.log.access, &self.rotation)?.map(start).transpose()?
        } else {
            None
        };
        if let Some(SocketPlace::Path(path)) = &config.publish.socket
            && config.publish.mode != before.publish.mode
        {
            publish::set_mode(path, config.publish.mode).map_err(BindError::PublishSocket)?;
        }

        // From here on nothing fails.
        self.hub.bound_keys(config.publish.key_window, config.publish.max_keys);
        self.publisher.bound(Bounds::new(config.publish.max_event, config.publish.max_batch));
        let token = config.publish.http.as_ref().map(|(_, token)| token.clone());
        self.publisher.let_in(Terms { token, allow_uids: config.publish.allow_uids.clone() });
        self.limit.set(parts::max_connections(&config));
        let doors = self.listeners.become_those(plan, &config);
        let tracer = self.chores.trace(&config);
        self.publisher.trace(tracer.clone());
        let (parts, background) = parts::next(config.clone(), made, tracer, &self.parts);
        spawn_local(background.run());
        self.parts = parts;
        let old_log = if is_elsewhere { std::mem::replace(&mut self.log, log) } else { None };
        let secret_parameters = parts::secret_parameters(&config, &self.secret_parameters);
        let is_other_log = is_elsewhere
            || config.log.format != before.log.format
            || secret_parameters != self.secret_parameters;
        self.secret_parameters = secret_parameters;
        let (done, mut all_done) = mpsc::channel(1);
        for (worker, doors) in self.workers.iter().zip(doors) {
            let log = is_other_log.then(|| self.worker_log());
            let change = Change { parts: self.parts.clone(), doors, log, done: done.clone() };
            // One that has ended needs none.
            let _ = worker.send(Order::Change(Box::new(change)));
        }
        drop(done);
        self.begin();
        if timeout(PATIENCE, all_done.recv()).await.is_err() {
            tracing::warn!("a worker is too busy to take over the configuration yet");
        }
        if let Some(log) = old_log {
            // It writes what it was given, and may have to wait for a disk.
            spawn_blocking(move || log.finish());
        }
        Ok(())
    }

    fn worker_log(&self) -> WorkerLog {
        let format = self.parts.config.log.format;
        match &self.log {
            Some(log) => log.worker(self.secret_parameters.clone(), format),
            None => WorkerLog::off(),
        }
    }
}

/// Says in the log what has become of a reload.
fn tell(outcome: &Outcome) {
    match outcome {
        Ok(Reloaded { generation, changed, kept }) => {
            if !kept.is_empty() {
                let keys = kept.join(", ");
                tracing::warn!(
                    keys,
                    "these keys cannot change while it runs and are as they were: start it anew for them"
                );
            }
            let changed = changed.join(", ");
            if changed.is_empty() {
                tracing::info!(generation, "configuration read again: nothing has changed");
            } else {
                tracing::info!(generation, changed, "configuration reloaded");
            }
        }
        Err(ReloadError::Config(problems)) => {
            tracing::error!("the configuration is not reloaded, everything is as it was\n{problems}");
        }
        Err(error) => tracing::error!(%error, "the configuration is not reloaded, everything is as it was"),
    }
}
