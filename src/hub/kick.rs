//! Kicks: a user's streams are ended on all workers, and the user may be kept out for a while.
//!
//! Invariant: the block and the kicks are one step under the hub's lock, as registering a stream is. So a stream of
//! the user is either registered before, and its worker finds it when the kick comes, or is refused.

use std::fmt;
use std::time::Duration;

use crate::event::{Event, Timestamp};

use super::inbox::{Share, Tally, Work};
use super::{Delivered, Hub, INBOX_LIMIT};

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
}

impl fmt::Display for DisconnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overloaded => "a worker is too far behind to end streams; try again",
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
        if self.0.inboxes.iter().any(|inbox| inbox.len() >= INBOX_LIMIT) {
            return Err(DisconnectError::Overloaded);
        }
        if block.is_some_and(|block| !state.blocks.add(user, block, now)) {
            return Err(DisconnectError::TooManyBlocks);
        }
        // A worker without streams has nothing to end, and one that has stopped would never say so.
        let workers: Vec<_> = (0..).zip(&state.streams).filter(|(_, streams)| **streams > 0).collect();
        let tally = Tally::new(workers.len());
        let workers: Vec<usize> = workers.into_iter().map(|(worker, _)| worker).collect();
        for worker in &workers {
            self.0.inboxes[*worker].push(Work::Kick(Box::new(Kick {
                user: user.into(),
                event: event.clone(),
                blocked: block.is_some(),
                share: tally.share(),
            })));
        }
        drop(state);
        for worker in workers {
            self.0.inboxes[worker].wake();
        }
        Ok(Delivered::later(tally))
    }

    /// Whether a user may not open streams for now.
    pub fn is_blocked(&self, user: &str, now: Timestamp) -> bool {
        self.lock().blocks.holds(user, now)
    }
}
