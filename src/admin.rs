//! The operator's own listener: metrics, health, the status page, and whatever else an operator looks at or presses.
//!
//! It has a thread and a runtime of its own, so that it answers while workers are saturated and while publishers keep the
//! control thread busy. Invariants: nothing here is on the way of a request or a delivery; what changes anything needs
//! the token; what a browser can be made to ask by a page that somebody visits is refused (`admin/door.rs`).
//!
//! A page is a file: it has a line in the table of `admin/door.rs`, and reads the [`View`].

mod acts;
mod door;
mod explain;
mod exposition;
mod families;
mod health;
mod page;
mod patience;
mod process;
mod reload;
mod status;
mod streams;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use crate::acme::Figures;
use crate::config::{self, Config};
use crate::handover::{Claim, Heir, Inheritance};
use crate::hub::Hub;
use crate::limits::Limits;
use crate::listener::{BindError, Bound, SocketFile, Unaccepted};
use crate::metrics::Counters;
use crate::proxy::Standings;
use crate::publish::Publisher;
use crate::shutdown::Signal;
use crate::stream::Question;
use crate::tls::Tls;
use crate::trace;
use crate::transport::{Listen, Spares, admit};

pub use reload::{Outcome, Reload};

use door::Door;

/// The most connections at once: a few scrapers, probes and people.
const MAX_CONNECTIONS: usize = 64;

/// Descriptors held back, so that health is told when traffic has taken all others.
const SPARES: usize = 4;

/// Who comes here, in messages.
const WHO: &str = "clients of the admin address";

/// What pages show.
#[derive(Debug)]
pub struct View {
    /// What is of the configuration in force.
    pub showing: Showing,
    /// The hub.
    pub hub: Hub,
    /// What each worker counts, and whoever else does.
    pub counters: Arc<[Arc<Counters>]>,
    /// How far the process is on its way out.
    pub signal: Signal,
    /// Each worker has one end of it until it ends, however it ends.
    pub workers: mpsc::WeakSender<()>,
    /// What publishes test events.
    pub publisher: Publisher,
    /// Where each worker is asked for its streams.
    pub desks: Vec<mpsc::Sender<Question>>,
    /// Reads the configuration again, if there is a file to read.
    pub reload: Option<Reload>,
}

impl View {
    /// What is of the configuration that is in force now.
    fn shown(&self) -> Arc<Shown> {
        self.showing.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is of one configuration.
#[derive(Debug)]
pub struct Shown {
    /// How many configurations there were before it, and one.
    pub number: u64,
    /// The configuration.
    pub config: Arc<Config>,
    /// How many streams users have.
    pub limits: Limits,
    /// What is known of the servers of upstreams.
    pub standings: Arc<Standings>,
    /// The TLS of listeners, each with its address.
    pub tls: Vec<(String, Tls)>,
    /// The certificates that are got from authorities.
    pub certificates: Vec<Arc<Figures>>,
    /// What became of spans.
    pub traces: Arc<trace::Figures>,
}

/// The place of what is of the configuration in force. A cheap handle.
#[derive(Debug, Clone)]
pub struct Showing(Arc<Mutex<Arc<Shown>>>);

impl Showing {
    /// Begins with the first configuration's.
    pub fn new(shown: Shown) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(shown))))
    }

    /// Shows another configuration's from now on.
    pub fn show(&self, shown: Shown) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
    }
}

/// The listener, bound and not serving yet.
#[derive(Debug)]
pub struct Admin {
    address: String,
    /// As the file has it.
    asked: String,
    socket: Option<Unaccepted>,
    file: Option<SocketFile>,
    claim: Claim,
}

impl Admin {
    /// Binds it, or takes it of the sockets that were given to the process.
    ///
    /// # Errors
    /// If the address is taken, or cannot be had.
    pub fn bind(config: &config::Admin, inherited: &Inheritance) -> Result<Self, BindError> {
        let bound = Bound::bind(Heir::Admin, &config.endpoint, ([], []), inherited, 1)?;
        let address = bound.endpoint.to_string();
        let (mut sockets, file) = bound.into_parts();
        Ok(Self {
            address,
            asked: config.endpoint.to_string(),
            socket: sockets.pop(),
            file,
            claim: inherited.claim().clone(),
        })
    }

    /// Its socket once more, with what was asked for.
    ///
    /// # Errors
    /// If there is no descriptor for it.
    pub fn share(&self) -> io::Result<Option<(OwnedFd, String)>> {
        let Some(socket) = &self.socket else { return Ok(None) };
        Ok(Some((socket.as_fd().try_clone_to_owned()?, self.asked.clone())))
    }

    /// Where it was bound: `127.0.0.1:9090`, `unix:/run/admin.sock`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Serves it on a thread of its own.
    ///
    /// # Errors
    /// If the system gives no thread or no descriptors.
    pub fn start(self, view: View) -> io::Result<Running> {
        let Self { socket, file, claim, .. } = self;
        // Its descriptors are there before the first client of traffic could take them.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, mut stopped) = oneshot::channel::<()>();
        let serve = move || {
            let _file = file;
            let serving = async move {
                let Some(socket) = socket else { return };
                if let Err(error) = serve(socket, claim, Rc::new(Door::new(view))).await {
                    tracing::error!(%error, "the admin address cannot be served");
                }
            };
            LocalSet::new().block_on(&runtime, async move {
                tokio::select! {
                    () = serving => {}
                    _ = &mut stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(serve)?;
        Ok(Running { stop, thread })
    }
}

/// The thread that serves it.
#[derive(Debug)]
pub struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Ends it, with whoever is connected.
    pub fn end(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the admin address panicked");
        }
    }
}

/// Accepts while this is the process that is looked into: one that has been replaced would say of itself that it drains.
struct WhileOurs<L>(L, Claim);

impl<L: Listen> Listen for WhileOurs<L> {
    type Stream = L::Stream;

    async fn next(&self) -> io::Result<L::Stream> {
        let Self(listener, claim) = self;
        loop {
            claim.becomes(true).await;
            tokio::select! {
                stream = listener.next() => return stream,
                () = claim.becomes(false) => {}
            }
        }
    }
}

async fn serve(socket: Unaccepted, claim: Claim, door: Rc<Door>) -> io::Result<()> {
    let spares = Rc::new(Spares::new(SPARES));
    let _reading = {
        let door = door.clone();
        spawn_local(async move { door.keep_status().await })
    };
    match socket {
        Unaccepted::Tcp(listener) => {
            let listener = WhileOurs(TcpListener::from_std(listener)?, claim);
            let enter = |stream: TcpStream| door.clone().serve(stream, true);
            admit(&listener, MAX_CONNECTIONS, &spares, WHO, enter).await;
        }
        Unaccepted::Unix(listener) => {
            let listener = WhileOurs(UnixListener::from_std(listener)?, claim);
            // No browser speaks to a Unix socket.
            let enter = |stream: UnixStream| door.clone().serve(stream, false);
            admit(&listener, MAX_CONNECTIONS, &spares, WHO, enter).await;
        }
    }
    Ok(())
}
