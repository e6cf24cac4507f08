//! Kicks: a user's streams are ended on all workers, and the user may be kept out for a while.
//!
//! Invariant: the block and the kicks are one step under the hub's lock, as registering a stream is. So a stream of
//! the user is either registered before, and its worker finds it when the kick comes, or is refused. Where the store is
//! on disk, a kick goes to the workers behind the events that were published before it, which may wait for the disk; but
//! not for longer than a publisher would.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::event::{Event, Timestamp};

use super::inbox::{Share, Tally, Work};
use super::node::Report;
use super::outcome::{Outcome, PATIENCE};
use super::{Delivered, Hub, INBOX_LIMIT, State};

/// How many kicks wait for the disk at most; then they are refused.
const MAX_WAITING: usize = 10_000;

/// A kick that waits until the workers were handed what was published before it.
#[derive(Debug)]
pub(super) struct Due {
    /// The newest that had its id.
    after: u64,
    since: Instant,
    order: Order,
    outcome: Arc<Outcome<Delivered>>,
}

/// Whom to kick, and how.
#[derive(Debug)]
struct Order {
    user: Box<str>,
    event: Option<Event>,
    blocked: bool,
}

/// One worker's order to end a user's streams.
#[derive(Debug)]
pub struct Kick {
    /// Whose streams.
    pub user: Box<str>,
    /// What they are told first.
    pub event: Option<Event>,
    /// Whether the user may not come back for now.
    pub blocked: bool,
    share: Share,
}

impl Kick {
    /// Tells who ordered it how many streams of this worker it ended. One that is dropped without says none.
    pub fn counted(self, streams: usize) {
        self.share.add(streams);
    }
}

/// Why nobody was disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisconnectError {
    /// A worker is too far behind to take more. To be tried again.
    Overloaded,
    /// As many users are blocked as can be.
    TooManyBlocks,
    /// The other nodes cannot be told: the store is away. To be tried again.
    Away,
}

impl fmt::Display for DisconnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overloaded => "a worker is too far behind to end streams; try again",
            Self::Away => "the store is away, so the other nodes cannot be told; try again",
            Self::TooManyBlocks => "too many users are blocked; try again when some of the blocks are over",
        })
    }
}

impl std::error::Error for DisconnectError {}

/// The user may not open streams for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked;

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the user is blocked for now")
    }
}

impl std::error::Error for Blocked {}

impl Hub {
    /// Ends all streams of a user, each after `event` if there is one, and with `block` refuses new ones for that
    /// long. The number of streams that were ended is known once the workers have counted.
    ///
    /// # Errors
    /// Then nothing has happened.
    pub fn disconnect(
        &self,
        user: &str,
        event: Option<Event>,
        block: Option<Duration>,
        now: Timestamp,
    ) -> Result<Delivered, DisconnectError> {
        let mut state = self.lock();
        let is_crowded = self.0.inboxes.iter().any(|inbox| inbox.len() >= INBOX_LIMIT);
        if is_crowded || state.kicks.len() >= MAX_WAITING {
            return Err(DisconnectError::Overloaded);
        }
        if state.node.is_some() {
            return state.order_kick(user, event, block, now);
        }
        if block.is_some_and(|block| !state.blocks.add(user, block, now)) {
            return Err(DisconnectError::TooManyBlocks);
        }
        let order = Order { user: user.into(), event, blocked: block.is_some() };
        if state.settled < state.given {
            let outcome = Arc::new(Outcome::default());
            let due = Due { after: state.given, since: Instant::now(), order, outcome: outcome.clone() };
            state.kicks.push_back(due);
            return Ok(Delivered::kept(outcome));
        }
        let (ended, wake) = self.kick(&state, &order, None);
        drop(state);
        self.wake(&wake);
        Ok(ended)
    }

    /// Hands a kick to the workers. Says which of them are to be woken.
    fn kick(
        &self,
        state: &State,
        order: &Order,
        report: Option<Report>,
    ) -> (Delivered, SmallVec<[usize; 8]>) {
        // A worker without streams has nothing to end, and one that has stopped would never say so.
        let workers = (0..).zip(&state.streams).filter(|(_, streams)| **streams > 0);
        let workers: SmallVec<[usize; 8]> = workers.map(|(worker, _)| worker).collect();
        let tally = Tally::new(workers.len(), report);
        for worker in &workers {
            self.0.inboxes[*worker].push(Work::Kick(Box::new(Kick {
                user: order.user.clone(),
                event: order.event.clone(),
                blocked: order.blocked,
                share: tally.share(),
            })));
        }
        (Delivered::later(tally), workers)
    }

    /// Hands a kick to the workers that some node has ordered.
    pub(super) fn kick_heard(
        &self,
        state: &State,
        user: Box<str>,
        event: Option<Event>,
        blocked: bool,
        report: Option<Report>,
    ) -> SmallVec<[usize; 8]> {
        self.kick(state, &Order { user, event, blocked }, report).1
    }

    /// Hands out the kicks that nothing stands before any more.
    pub(super) fn kick_due(&self, state: &mut State) -> SmallVec<[usize; 8]> {
        self.kick_while(state, |due, settled| due.after <= settled)
    }

    /// Hands out the kicks that have waited for long enough.
    pub(super) fn kick_overdue(&self, state: &mut State) -> SmallVec<[usize; 8]> {
        let now = Instant::now();
        self.kick_while(state, |due, _| now.saturating_duration_since(due.since) >= PATIENCE)
    }

    fn kick_while(&self, state: &mut State, is_due: impl Fn(&Due, u64) -> bool) -> SmallVec<[usize; 8]> {
        let mut wake = SmallVec::new();
        let settled = state.settled;
        while let Some(due) = state.kicks.pop_front_if(|due| is_due(due, settled)) {
            let (ended, workers) = self.kick(state, &due.order, None);
            due.outcome.tell(Ok(ended));
            wake.extend(workers);
        }
        wake
    }

    /// Whether a user may not open streams for now.
    pub fn is_blocked(&self, user: &str, now: Timestamp) -> bool {
        self.lock().blocks.holds(user, now)
    }
}
