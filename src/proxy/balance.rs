//! Which server a request goes to, and its turn there.
//!
//! A request goes to a server that is well, is not full and has not failed it already; when all that are well are full it
//! waits, for whichever of them is free first. When none is well, those that are not are tried all the same: with
//! one server there is never anything to be gained by not trying.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use smallvec::SmallVec;
use tokio::time::{Instant, timeout};

use super::ProxyError;
use super::error::AppFault;
use super::pool::Upstream;
use super::standing::{Lease, Standing};
use crate::config::Balance;

/// Some of an upstream's servers, by their places. The configuration has no more than 64 of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Places(u64);

impl Places {
    pub(super) fn insert(&mut self, place: usize) {
        self.0 |= 1 << place;
    }

    fn contains(self, place: usize) -> bool {
        self.0 & (1 << place) != 0
    }
}

/// What there is for a request.
enum Found {
    Turn(usize, Lease),
    /// All that could be asked have as much to do as they may.
    Full(Places),
    /// All have been tried.
    Nothing,
}

impl Upstream {
    /// Waits for a turn at a server, other than those that have been tried; none if all have been. `first` is the
    /// place where looking begins.
    pub(super) async fn turn(
        &self,
        tried: Places,
        first: usize,
    ) -> Result<Option<(usize, Lease)>, ProxyError> {
        let full = match self.find(tried, first) {
            Found::Turn(place, lease) => return Ok(Some((place, lease))),
            Found::Nothing => return Ok(None),
            Found::Full(full) => full,
        };
        let refused = |fault| {
            self.counters.upstream_queue_refused.inc();
            Err(self.failed_everywhere(fault))
        };
        let Some(_waiting) = self.shared.wait() else { return refused(AppFault::QueueFull) };
        self.counters.upstream_queued.inc();
        let servers = self.servers.iter().enumerate().filter(|(place, _)| full.contains(*place));
        let turns = servers.map(|(place, server)| (place, server.standing.clone()));
        let begun = Instant::now();
        let turn = timeout(self.queue_timeout, first_of(turns)).await;
        self.cells.queue.note(begun.elapsed());
        match turn {
            Ok(turn) => Ok(Some(turn)),
            Err(_) => refused(AppFault::QueueTimeout),
        }
    }

    fn find(&self, tried: Places, first: usize) -> Found {
        for must_be_well in [true, false] {
            let (mut passed, mut full) = (tried, Places::default());
            while let Some(place) = self.next(passed, first, must_be_well) {
                passed.insert(place);
                let standing = &self.servers[place].standing;
                match standing.lease() {
                    None => full.insert(place),
                    Some(lease) if !must_be_well || standing.admits() => return Found::Turn(place, lease),
                    // Somebody else tries it.
                    Some(_) => {}
                }
            }
            if full.0 != 0 {
                return Found::Full(full);
            }
        }
        Found::Nothing
    }

    /// The next by the rule of the upstream.
    fn next(&self, passed: Places, first: usize, must_be_well: bool) -> Option<usize> {
        let count = self.servers.len();
        let mut places = (0..count).map(|offset| first.wrapping_add(offset) % count).filter(|place| {
            !passed.contains(*place) && (!must_be_well || self.servers[*place].standing.is_well())
        });
        match self.balance {
            Balance::RoundRobin => places.next(),
            // Of several with the same number it is the first.
            Balance::LeastConnections => places.min_by_key(|place| self.servers[*place].standing.requests()),
        }
    }
}

type Turn = Pin<Box<dyn Future<Output = Lease>>>;

/// The first turn of several that comes. Those that come in the same moment go to whoever is behind.
async fn first_of(turns: impl Iterator<Item = (usize, std::sync::Arc<Standing>)>) -> (usize, Lease) {
    let waits = turns.map(|(place, standing)| -> (usize, Turn) { (place, Box::pin(standing.wait())) });
    let mut waits: SmallVec<[_; 2]> = waits.collect();
    poll_fn(|cx| {
        for (place, turn) in &mut waits {
            if let Poll::Ready(lease) = turn.as_mut().poll(cx) {
                return Poll::Ready((*place, lease));
            }
        }
        Poll::Pending
    })
    .await
}
