//! Giving the store up for the process that is to take this one's place, and having it back if that does not.
//!
//! Invariants: what was handed in before is kept before the store is given up; while it is away nothing is taken, and what
//! is asked of history fails; ids go on when it is back, for nobody else has published.

use std::sync::PoisonError;

use tokio::sync::oneshot;

use super::{Committer, Hub};
use crate::store::{DiskError, Store};

/// Where the store is.
#[derive(Debug, Default)]
pub(super) enum Lending {
    /// Here.
    #[default]
    Here,
    /// The committer is to give it up, and to say what came of that.
    Wanted(oneshot::Sender<Result<(), DiskError>>),
    /// Given up.
    Away,
    /// The committer is to open it again, and to say when it has tried.
    Due(oneshot::Sender<()>),
}

impl Hub {
    /// Gives the store up, when all that waits is kept. Nothing is published from then on. A store in memory is of no use
    /// to others, and is only closed; one in Redis is everybody's, and nothing changes.
    ///
    /// # Errors
    /// If it could not be closed. Then it is as it was.
    pub async fn lend(&self) -> Result<(), DiskError> {
        let lent = {
            let mut state = self.lock();
            match &state.store {
                Store::Memory(_) => {
                    state.queue.lending = Lending::Away;
                    return Ok(());
                }
                Store::Mirror(_) => return Ok(()),
                Store::Disk(_) => {}
            }
            let (reply, lent) = oneshot::channel();
            state.queue.lending = Lending::Wanted(reply);
            lent
        };
        self.0.more.notify_one();
        // Nobody says so if the committer has ended.
        lent.await.unwrap_or(Err(DiskError::Away))
    }

    /// Has the store back. If it cannot be opened, that is tried again and again, as after any failure of the disk.
    pub async fn take_back(&self) {
        let back = {
            let mut state = self.lock();
            match &state.store {
                Store::Disk(_) if matches!(state.queue.lending, Lending::Away) => {
                    let (reply, back) = oneshot::channel();
                    state.queue.lending = Lending::Due(reply);
                    back
                }
                _ => {
                    state.queue.lending = Lending::Here;
                    return;
                }
            }
        };
        self.0.more.notify_one();
        // Nobody says so if the committer has ended, which it has said itself.
        let _ = back.await;
    }

    /// Whether the store has been given up, and what is published comes to another process.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self.lock().queue.lending, Lending::Away)
    }
}

impl Committer {
    /// Gives the store up if that is wanted and nothing waits, and waits for it to be due. Says whether it is gone for
    /// good.
    pub(super) fn lend_if_wanted(&mut self) -> bool {
        let wanted = {
            let queue = &mut self.hub.lock().queue;
            if !matches!(queue.lending, Lending::Wanted(_)) || queue.len() > 0 {
                return false;
            }
            std::mem::replace(&mut queue.lending, Lending::Away)
        };
        let Lending::Wanted(reply) = wanted else { return false };
        match self.writer.lend() {
            // Whoever wanted it has gone if it cannot be told: that one will not have it back either.
            Ok(()) => _ = reply.send(Ok(())),
            Err(error) => {
                let recovered = self.recover();
                self.told(recovered);
                self.hub.lock().queue.lending = Lending::Here;
                let _ = reply.send(Err(error));
                return false;
            }
        }
        let lending = {
            let is_away = |state: &mut super::State| {
                matches!(state.queue.lending, Lending::Away) && !state.queue.is_closed
            };
            let waited = self.hub.0.more.wait_while(self.hub.lock(), is_away);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            if matches!(state.queue.lending, Lending::Away) {
                return true;
            }
            std::mem::take(&mut state.queue.lending)
        };
        let recovered = self.recover();
        self.told(recovered);
        if let Lending::Due(reply) = lending {
            // Whoever has asked may have gone.
            let _ = reply.send(());
        }
        false
    }
}
