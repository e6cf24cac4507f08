//! Another process of the program in this one's place, while clients come and go: what the old one does.
//!
//! Order: the new process is started, given all sockets, and checks its configuration; then publishers wait, the store is
//! given up and the new one opens it; then it accepts, and this one drains. Invariant: until the new one has said that it
//! serves, whatever goes wrong leaves this one going on as before.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::config::{Endpoint, StoreKind};
use crate::handover::{Failure, Program, Successor, Word};
use crate::publish::Relay;
use crate::shutdown::{Signal, Stage, Trigger};
use crate::store::DiskError;
use crate::worker::Order;

use super::reload::Running;

/// How long the new process may take to read its configuration and bind what that needs besides.
const PREPARING: Duration = Duration::from_secs(30);

/// How long it may take to keep what waits and to close the store. Publishers wait meanwhile.
const LENDING: Duration = Duration::from_secs(10);

/// How long it may take to open the store. Publishers wait meanwhile.
const OPENING: Duration = Duration::from_secs(30);

/// How long it may take until its workers accept.
const BEGINNING: Duration = Duration::from_secs(10);

/// Asks for an upgrade. A cheap handle; any thread may have one.
#[derive(Debug, Clone)]
pub struct Upgrades {
    requests: mpsc::Sender<Trigger>,
    is_under_way: Arc<AtomicBool>,
}

impl Upgrades {
    /// Has the program started anew in this process's place; `trigger` is what this one drains by then. What comes of it
    /// is in the log. One that is asked for while another is under way is refused, there too.
    pub fn ask(&self, trigger: &Trigger) {
        if self.is_under_way.swap(true, Ordering::Relaxed) {
            tracing::warn!("an upgrade is under way already: this one is not begun");
        } else if self.requests.try_send(trigger.clone()).is_err() {
            tracing::warn!("the process is ending: it is not upgraded");
        }
    }
}

/// What an upgrade needs besides what runs.
#[derive(Debug)]
pub(super) struct Succession {
    program: Program,
    requests: mpsc::Receiver<Trigger>,
    is_under_way: Arc<AtomicBool>,
    /// The sockets that no worker has, once more.
    pub(super) shares: Shares,
}

/// Sockets that no worker has, each with what was asked for.
#[derive(Debug, Default)]
pub(super) struct Shares {
    pub(super) publish: Option<(OwnedFd, PathBuf)>,
    pub(super) publish_http: Option<(OwnedFd, String)>,
    pub(super) admin: Option<(OwnedFd, String)>,
}

pub(super) fn channel(program: Program) -> (Upgrades, Succession) {
    let (sender, requests) = mpsc::channel(1);
    let is_under_way = Arc::<AtomicBool>::default();
    let upgrades = Upgrades { requests: sender, is_under_way: is_under_way.clone() };
    (upgrades, Succession { program, requests, is_under_way, shares: Shares::default() })
}

impl Succession {
    /// Waits until an upgrade is asked for.
    pub(super) async fn asked(&mut self) -> Option<Trigger> {
        self.requests.recv().await
    }
}

/// Why the process is as it was.
#[derive(Debug)]
enum UpgradeError {
    /// The new process did not take over.
    Successor(Failure),
    /// A socket cannot be given away.
    Share(io::Error),
    /// The store cannot be given up.
    Store(DiskError),
    /// It is not closed in time.
    StoreBusy,
    /// This process is to end.
    Ending,
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Successor(error) => error.fmt(f),
            Self::Share(error) => write!(f, "a listening socket cannot be handed over: {error}"),
            Self::Store(error) => write!(f, "the store cannot be handed over: {error}"),
            Self::StoreBusy => {
                f.write_str("the store cannot be handed over: what waits to be kept is not kept in time")
            }
            Self::Ending => f.write_str("this process is ending"),
        }
    }
}

impl std::error::Error for UpgradeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Successor(error) => Some(error),
            Self::Share(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::StoreBusy | Self::Ending => None,
        }
    }
}

impl From<Failure> for UpgradeError {
    fn from(failure: Failure) -> Self {
        Self::Successor(failure)
    }
}

impl Running {
    /// Has another process take over, or goes on. With the first, this one drains.
    pub(super) async fn upgrade(
        &mut self,
        succession: &mut Succession,
        trigger: Trigger,
        mut signal: Signal,
    ) {
        let successor = match signal.stage() {
            Stage::Running => Successor::start(&succession.program).map_err(UpgradeError::from),
            _ => Err(UpgradeError::Ending),
        };
        let outcome = match successor {
            Err(error) => Err(error),
            Ok(successor) => {
                let pid = successor.pid();
                tracing::info!(pid, "upgrade: a new process has been started");
                let handed = tokio::select! {
                    handed = self.hand_over(&successor, &succession.shares) => handed,
                    () = signal.reached(Stage::Draining) => Err(UpgradeError::Ending),
                };
                match handed {
                    Ok(()) => {
                        self.hand_publishers(&successor).await;
                        successor.let_go();
                        Ok(pid)
                    }
                    Err(error) => {
                        let error = match error {
                            UpgradeError::Successor(why) => successor.give_up(why).await.into(),
                            other => {
                                successor.end().await;
                                other
                            }
                        };
                        self.go_on().await;
                        Err(error)
                    }
                }
            }
        };
        match outcome {
            Ok(pid) => {
                tracing::info!(pid, "upgrade: the new process serves, and this one drains");
                trigger.drain();
            }
            Err(error) => {
                tracing::error!(%error, "not upgraded, everything is as it was");
                succession.is_under_way.store(false, Ordering::Relaxed);
            }
        }
    }

    async fn hand_over(&mut self, successor: &Successor, shares: &Shares) -> Result<(), UpgradeError> {
        self.hand_sockets(successor, shares).await?;
        successor.hear(Word::Prepared, PREPARING).await?;
        if !self.is_shared() {
            self.sources.pause().await;
            self.publisher.way().close().await;
            let lent = timeout(LENDING, self.hub.lend()).await.map_err(|_| UpgradeError::StoreBusy)?;
            lent.map_err(UpgradeError::Store)?;
        }
        successor.tell(Word::Store, "", None).await?;
        successor.hear(Word::Opened, OPENING).await?;
        successor.tell(Word::Go, "", None).await?;
        successor.hear(Word::Serving, BEGINNING).await?;
        Ok(())
    }

    /// Has the new process go on with what comes to this one. From here on nothing is taken back.
    async fn hand_publishers(&self, successor: &Successor) {
        self.listeners.inherited.claim().give();
        self.notifier.is_replaced_by(successor.pid());
        let handed = async {
            successor.tell(Word::Main, "", None).await?;
            let (ours, theirs) = UnixStream::pair().map_err(UpgradeError::Share)?;
            successor.tell(Word::Relay, "", Some(theirs.as_fd())).await?;
            Relay::over(ours).map_err(UpgradeError::Share)
        };
        match handed.await {
            Ok((relay, running)) => {
                spawn_local(running);
                self.publisher.way().leave(successor.teller(), (!self.is_shared()).then_some(relay));
            }
            // It can only have ended.
            Err(error) => {
                tracing::error!(%error, "upgrade: the new process cannot be told that it is the main one")
            }
        }
    }

    /// Goes on where it was when the new process was to have the store.
    async fn go_on(&mut self) {
        if self.is_shared() {
            return;
        }
        self.hub.take_back().await;
        self.publisher.way().open();
        self.sources.go_on();
    }

    /// Whether several processes can have the store.
    fn is_shared(&self) -> bool {
        matches!(self.parts.config.store.kind, StoreKind::Redis(_))
    }

    /// Hands over every socket that anybody may come by.
    async fn hand_sockets(&self, successor: &Successor, shares: &Shares) -> Result<(), UpgradeError> {
        for (name, socket) in self.listeners.inherited.sockets().all() {
            successor.tell(Word::Given, name, socket.map(|socket| socket.as_fd())).await?;
        }
        let path = |(socket, path): &(OwnedFd, PathBuf)| {
            Ok::<_, io::Error>((Word::Publish, socket.try_clone()?, path.to_string_lossy().into_owned()))
        };
        let address = |word, (socket, asked): &(OwnedFd, String)| {
            Ok::<_, io::Error>((word, socket.try_clone()?, asked.clone()))
        };
        let publish_http = shares.publish_http.as_ref().map(|share| address(Word::PublishHttp, share));
        let admin = shares.admin.as_ref().map(|share| address(Word::Admin, share));
        for share in shares.publish.as_ref().map(path).into_iter().chain(publish_http).chain(admin) {
            let (word, socket, asked) = share.map_err(UpgradeError::Share)?;
            successor.tell(word, &asked, Some(socket.as_fd())).await?;
        }
        for (index, worker) in self.workers.iter().enumerate() {
            let (reply, shared) = oneshot::channel();
            // One that has panicked shares nothing; the others do.
            let _ = worker.send(Order::Share(reply));
            let shared = shared.await.unwrap_or_else(|_| Ok(Vec::new())).map_err(UpgradeError::Share)?;
            for (number, socket) in shared {
                let known = self.listeners.open.iter().enumerate().find(|(_, open)| open.number == number);
                let Some((place, listening)) = known else { continue };
                match &listening.asked {
                    // Given above.
                    Endpoint::Inherited(_) => continue,
                    // All workers have the same.
                    Endpoint::Unix(_) if index > 0 => continue,
                    asked => {
                        successor
                            .tell(Word::Listener, &format!("{place} {asked}"), Some(socket.as_fd()))
                            .await?;
                    }
                }
            }
        }
        Ok(successor.tell(Word::All, "", None).await?)
    }
}
