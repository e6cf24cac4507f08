//! Where publications go just now: to the hub; nowhere for a moment; or to the process that has taken this one's place.
//!
//! Invariants: what has begun is done before the way is closed, unless it takes too long; whoever comes while it is closed
//! waits and is not refused; and what is handed in later reaches the process that has the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard, watch};
use tokio::time::{Instant, timeout};

use crate::handover::Teller;
use crate::publish::relay::Relay;

/// How long those who are being answered may take when the way is closed. What a publisher has handed in is kept by then;
/// it may be that it does not take its answer.
const IN_HAND: Duration = Duration::from_secs(2);

/// The handle. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Way(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stage: watch::Sender<Stage>,
    /// Read by those who are at it.
    hands: RwLock<()>,
    /// How many are connected.
    guests: watch::Sender<usize>,
}

/// One who is connected, until this is dropped.
#[derive(Debug)]
pub struct Guest(Arc<Shared>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.guests.send_modify(|guests| *guests -= 1);
    }
}

#[derive(Debug, Clone)]
enum Stage {
    Open,
    Closed,
    /// Another process accepts publishers, and is told of those who are here; with a relay also publications are its.
    Left(Teller, Option<Relay>, Instant),
}

/// Where it leads.
#[derive(Debug)]
pub(super) enum Leads<'w> {
    /// Ours, for as long as this is held.
    Here(RwLockReadGuard<'w, ()>),
    /// The other process's.
    There(Relay),
}

impl Default for Way {
    fn default() -> Self {
        Self(Arc::new(Shared {
            stage: watch::Sender::new(Stage::Open),
            hands: RwLock::default(),
            guests: watch::Sender::new(0),
        }))
    }
}

impl Way {
    /// Lets publications in.
    pub fn open(&self) {
        self.0.stage.send_replace(Stage::Open);
    }

    /// Has those wait who come from now on.
    pub fn shut(&self) {
        self.0.stage.send_replace(Stage::Closed);
    }

    /// The same, and waits until those who are being answered have their answer.
    pub async fn close(&self) {
        self.shut();
        if timeout(IN_HAND, self.0.hands.write()).await.is_err() {
            tracing::warn!("upgrade: some publishers do not take their answers; they are left to it");
        }
    }

    /// Another process has taken over, which `teller` tells of publishers who are still connected. Without a relay both
    /// publish to one store.
    pub fn leave(&self, teller: Teller, relay: Option<Relay>) {
        self.0.stage.send_replace(Stage::Left(teller, relay, Instant::now()));
    }

    /// Waits until it leads anywhere.
    pub(super) async fn turn(&self) -> Leads<'_> {
        loop {
            match &*self.0.stage.borrow() {
                Stage::Left(_, Some(relay), _) => return Leads::There(relay.clone()),
                Stage::Open | Stage::Left(..) | Stage::Closed => {}
            }
            let mut stage = self.0.stage.subscribe();
            // The sender is ours.
            let _ = stage.wait_for(|stage| !matches!(stage, Stage::Closed)).await;
            let hand = self.0.hands.read().await;
            // It may have been closed meanwhile, and nobody have been waited for.
            if matches!(&*self.0.stage.borrow(), Stage::Open | Stage::Left(_, None, _)) {
                return Leads::Here(hand);
            }
        }
    }

    /// Waits until publishers are let in here.
    pub(super) async fn opened(&self) {
        let _ = self.0.stage.subscribe().wait_for(|stage| matches!(stage, Stage::Open)).await;
    }

    /// Waits until they are not.
    pub(super) async fn closed(&self) {
        let _ = self.0.stage.subscribe().wait_for(|stage| !matches!(stage, Stage::Open)).await;
    }

    /// Waits until another process has taken over.
    pub(super) async fn left(&self) -> Teller {
        let mut stage = self.0.stage.subscribe();
        loop {
            if let Stage::Left(teller, ..) = &*stage.borrow_and_update() {
                return teller.clone();
            }
            // The sender is ours.
            let _ = stage.changed().await;
        }
    }

    /// Another connection of a publisher's, for as long as what is returned is held.
    pub fn connected(&self) -> Guest {
        self.0.guests.send_modify(|guests| *guests += 1);
        Guest(self.0.clone())
    }

    /// Waits until no publisher is connected.
    pub async fn empty(&self) {
        // The sender is ours.
        let _ = self.0.guests.subscribe().wait_for(|guests| *guests == 0).await;
    }

    /// Whether another process has taken over.
    pub fn is_left(&self) -> bool {
        self.left_at().is_some()
    }

    /// When another process has taken over.
    pub fn left_at(&self) -> Option<Instant> {
        match &*self.0.stage.borrow() {
            Stage::Left(_, _, at) => Some(*at),
            Stage::Open | Stage::Closed => None,
        }
    }
}
