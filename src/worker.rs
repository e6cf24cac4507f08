//! One thread of traffic: a current-thread runtime with everything that its connections need, shared with nobody but
//! through the hub.

mod doors;
mod generation;

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use crate::access_log::WorkerLog;
use crate::connection::{Handshakes, Refused, Shared};
use crate::hub::Hub;
use crate::listener::ConnectionLimit;
use crate::metrics::Counters;
use crate::proxy::Proxy;
use crate::router::{Features, Router};
use crate::shutdown::{Signal, Stage};
use crate::stream::{Question, Streams};

pub use doors::Door;
pub use generation::Parts;

use doors::{Doors, Planned};
use generation::{Generation, Newest};

/// How often the access log is handed over and old connections to apps are closed.
const TICK: Duration = Duration::from_millis(250);

/// Of the time that a shutdown may take, streams are ended over the first part: one in this many.
const DRAIN_SHARE: u32 = 3;

/// How often a draining worker looks for streams that were opened by requests already on their way.
const LATE_STREAMS: Duration = Duration::from_millis(100);

/// How long the end is held up by what waits for the system and cannot be told to stop, like a name that is looked up.
pub const LEFT_OVER: Duration = Duration::from_secs(1);

/// What a worker is given. Everything here can cross to its thread.
pub struct Setup {
    /// Its number, from 0.
    pub index: usize,
    /// The hub.
    pub hub: Hub,
    /// Its own counters.
    pub counters: Arc<Counters>,
    /// How many connections all workers may have.
    pub limit: ConnectionLimit,
    /// What it begins with. The log is there, be it off.
    pub begin: Change,
    /// What it is to do besides.
    pub orders: mpsc::UnboundedReceiver<Order>,
    /// Each is to be answered at once: the worker is asked whether it is alive.
    pub questions: mpsc::UnboundedReceiver<mpsc::Sender<()>>,
    /// What an operator asks of its streams.
    pub survey: mpsc::Receiver<Question>,
    /// Says when to end.
    pub signal: Signal,
    /// Dropped when the worker has ended.
    pub ended: mpsc::Sender<()>,
}

/// What a worker that runs is told.
#[derive(Debug)]
pub enum Order {
    /// To take over another configuration.
    Change(Box<Change>),
    /// To give away the sockets once more that it accepts from, each with the number of its listener.
    Share(oneshot::Sender<io::Result<Vec<(usize, OwnedFd)>>>),
}

/// Another configuration for a worker that runs.
#[derive(Debug)]
pub struct Change {
    /// What it shares with the other workers.
    pub parts: Parts,
    /// Its listeners, in the order of the configuration.
    pub doors: Vec<Door>,
    /// Its end of the access log, if that is another one.
    pub log: Option<WorkerLog>,
    /// Dropped when it is in force.
    pub done: mpsc::Sender<()>,
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
        drop(local);
        runtime.shutdown_timeout(LEFT_OVER);
    })
}

async fn run(setup: Setup) -> io::Result<()> {
    let Setup { index, hub, counters, limit, begin, mut orders, .. } = setup;
    let Setup { mut questions, survey, mut signal, ended, .. } = setup;
    let Change { parts, doors: first, log, done } = begin;
    let log = Rc::new(log.unwrap_or_else(WorkerLog::off));
    let streams = Streams::new(hub, index, counters.clone(), log.clone());
    let doors = Doors::default();
    let planned = doors.plan(first, &parts);
    let router = Router::new(&parts.config, features(&parts, &streams, &counters, &log, None), None);
    let rules = planned.iter().map(Planned::rules).collect();
    let shared = Rc::new(Shared {
        handler: Newest::new(Generation::new(router, rules, &parts, None)),
        streams: streams.clone(),
        counters,
        handshakes: Handshakes::default(),
        challenges: parts.challenges.clone(),
        refused: Refused::default(),
        log,
    });
    let mut patience = parts.config.server.shutdown_timeout;
    let way = parts.publisher.way().clone();
    let worker = Worker { shared, doors, limit };
    worker.open(planned);
    drop((parts, done));
    let _delivering = {
        let streams = streams.clone();
        spawn_local(async move { streams.deliver().await })
    };
    let _asking = {
        let streams = streams.clone();
        spawn_local(async move { streams.keep_asking().await })
    };
    let _catching_up = {
        let streams = streams.clone();
        spawn_local(async move { streams.keep_catching_up().await })
    };
    let _timing = {
        let streams = streams.clone();
        spawn_local(async move { streams.keep_time().await })
    };
    let _answering = spawn_local(async move {
        while let Some(question) = questions.recv().await {
            // Whoever has asked may have gone.
            let _ = question.try_send(());
        }
    });
    let _showing = {
        let streams = streams.clone();
        spawn_local(async move { streams.keep_answering(survey).await })
    };
    let _keeping = spawn_local(keep_house(worker.shared.clone()));

    loop {
        tokio::select! {
            () = signal.reached(Stage::Draining) => break,
            Some(order) = orders.recv() => match order {
                Order::Change(change) => {
                    patience = change.parts.config.server.shutdown_timeout;
                    worker.change(*change);
                }
                // Whoever has asked may have given up.
                Order::Share(reply) => _ = reply.send(worker.doors.share()),
            },
        }
    }
    worker.doors.close_all();
    tokio::select! {
        _ = timeout(patience, worker.drain(patience, way.is_left())) => {}
        () = signal.reached(Stage::Stopped) => {}
    }
    // Whatever is still open ends with this thread, and says so in the log.
    worker.shared.streams.end_all();
    drop(ended);
    Ok(())
}

/// What a router of this worker needs.
fn features(
    parts: &Parts,
    streams: &Streams,
    counters: &Arc<Counters>,
    log: &Rc<WorkerLog>,
    before: Option<&Router>,
) -> Features {
    let Parts { config, standings, spools, .. } = parts;
    Features {
        auth: parts.auth.clone(),
        limits: parts.stream_limits.clone(),
        proxy: Proxy::new(&config.upstreams, standings, spools, counters, before.map(Router::proxy)),
        streams: streams.clone(),
        publisher: parts.publisher.clone(),
        counters: counters.clone(),
        log: log.is_on().then(|| log.clone()),
        challenges: parts.challenges.clone(),
        fronts: parts.fronts.clone(),
        tracer: parts.tracer.clone(),
    }
}

/// A worker that runs.
struct Worker {
    shared: Rc<Shared<Newest>>,
    doors: Doors,
    limit: ConnectionLimit,
}

impl Worker {
    /// Takes over another configuration. There is no await in it: no request is answered by a half of it.
    fn change(&self, change: Change) {
        let Change { parts, doors, log, done } = change;
        let Shared { streams, counters, .. } = &*self.shared;
        if let Some(log) = log {
            self.shared.log.become_like(log);
        }
        let before = self.shared.handler.generation();
        let planned = self.doors.plan(doors, &parts);
        let features = features(&parts, streams, counters, &self.shared.log, Some(&before.router));
        let router = Router::new(&parts.config, features, Some(&before.router));
        streams.review(router.review());
        let rules = planned.iter().map(Planned::rules).collect();
        self.shared.handler.replace(Generation::new(router, rules, &parts, Some(&before)));
        self.open(planned);
        drop(done);
    }

    fn open(&self, planned: Vec<Planned>) {
        self.doors.become_those(planned, |listener, entrance| {
            let accepting = entrance.accept(listener, self.shared.clone(), self.limit.clone());
            spawn_local(accepting).abort_handle()
        });
    }

    /// `is_replaced` says that another process accepts who comes.
    async fn drain(&self, patience: Duration, is_replaced: bool) {
        let streams = &self.shared.streams;
        let window = patience / DRAIN_SHARE;
        if is_replaced {
            let until = Instant::now() + window;
            self.doors.announce_end();
            streams.drain(window).await;
            while Instant::now() < until {
                tokio::select! {
                    () = self.doors.empty() => return,
                    () = sleep(LATE_STREAMS) => streams.drain(Duration::ZERO).await,
                }
            }
            self.doors.end_connections();
        } else {
            self.doors.end_connections();
            streams.drain(window).await;
        }
        self.doors.end_tunnels();
        loop {
            tokio::select! {
                () = self.doors.empty() => return,
                () = sleep(LATE_STREAMS) => streams.drain(Duration::ZERO).await,
            }
        }
    }
}

/// Hands the log over and sweeps connections to apps, every [`TICK`] while there is something of the kind: a worker that
/// has nothing to do is not woken.
async fn keep_house(shared: Rc<Shared<Newest>>) {
    loop {
        tokio::select! {
            () = shared.log.written() => {}
            () = shared.handler.generation().router.kept() => {}
            () = shared.streams.catching_up() => {}
        }
        loop {
            sleep(TICK).await;
            // Both, whatever the first says.
            let waiting = shared.handler.generation().router.sweep() | shared.streams.end_stalled();
            shared.counters.log_lines_dropped.add(shared.log.flush());
            if !waiting {
                break;
            }
        }
    }
}
