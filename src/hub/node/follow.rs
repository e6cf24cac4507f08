//! Following channels: when a stream may be registered for one.
//!
//! Why no event is lost and none comes twice, at whatever moment a channel begins to be followed. Let `head` be the newest event
//! that this node has heard of or passed. The link tells, in the order of ids, all events of a channel that come after
//! the head of its [`News::Loaded`]; and at a [`News::Passed`] it has told all up to that head, of every channel that it
//! has loaded. A channel is ready when it has been passed at or above both its load's head and the `head` of the moment in which
//! the load came. So the mirror then has all its events up to `head`: those up to the load's head by the load, those
//! after it because they were told. A stream is registered at `head`, under the hub's lock. What is not above it, the
//! stream reads from the mirror, once, by its cursor. What is above it was not told yet, since `head` is the newest that
//! was; when it is told it is put into the mirror and into the inboxes in one step, once, because then `head` moves to
//! it. And what is loaded above `head` of a channel that is not ready reaches nobody before `head` has passed it.
//!
//! [`News::Loaded`]: crate::store::redis::News::Loaded
//! [`News::Passed`]: crate::store::redis::News::Passed

use std::fmt;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::Node;
use crate::event::{ChannelName, EventId};
use crate::hub::{Hub, State};
use crate::store::redis::Order;

/// How long a stream waits for its channels. Longer, and it is better told to come back.
pub const READY_WITHIN: Duration = Duration::from_secs(5);

/// How long a channel is still followed when nobody holds it: clients come back.
pub(super) const LINGER: Duration = Duration::from_secs(60);

/// An id above the head, or of another epoch, is asked about so often: the first answer may be to what was asked before it
/// was shown.
const PASSES: usize = 2;

/// A channel that is followed.
#[derive(Debug)]
pub(in crate::hub) struct Follow {
    /// Streams and such that are about to be.
    pub(super) holds: usize,
    /// Since when there are none.
    pub(super) idle: Option<Instant>,
    pub(super) standing: Standing,
    pub(super) waiting: Vec<oneshot::Sender<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Standing {
    /// Nothing of it is known.
    Asked,
    /// Its history is here. It is ready when this head is passed.
    Loaded(u64),
    Ready,
}

impl Follow {
    /// A stream can be registered from now on.
    pub(super) fn is_ready(&mut self) {
        self.standing = Standing::Ready;
        for waiting in self.waiting.drain(..) {
            // Nobody may wait any more.
            let _ = waiting.send(());
        }
    }
}

/// Why a stream cannot be opened now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotReady;

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("history cannot be read now: the store does not answer")
    }
}

impl std::error::Error for NotReady {}

/// A hold on channels that are ready, so that they stay so until a stream is registered for them.
#[derive(Debug, Default)]
pub struct Held {
    hub: Option<Hub>,
    channels: SmallVec<[ChannelName; 1]>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.take() {
            let mut state = hub.lock();
            self.channels.iter().for_each(|channel| state.release(channel));
        }
    }
}

impl Hub {
    /// Makes channels ready for a stream that comes with `last_id`. Where history is of one node they always are.
    ///
    /// # Errors
    /// If they cannot be within [`READY_WITHIN`].
    pub async fn prepare(&self, channels: &[ChannelName], last_id: Option<&str>) -> Result<Held, NotReady> {
        if !self.0.is_node {
            return Ok(Held::default());
        }
        let (held, waits) = self.hold(channels);
        let ready = async {
            for wait in waits {
                wait.await.map_err(|_| NotReady)?;
            }
            let Some(id) = last_id.and_then(|id| id.parse().ok()) else { return Ok(()) };
            self.pass(id).await
        };
        timeout(READY_WITHIN, ready).await.map_err(|_| NotReady)??;
        Ok(held)
    }

    fn hold(&self, channels: &[ChannelName]) -> (Held, Vec<oneshot::Receiver<()>>) {
        let mut state = self.lock();
        let mut waits = Vec::new();
        for channel in channels {
            let Some(follow) = state.hold(channel) else { continue };
            if follow.standing != Standing::Ready {
                waits.push(wait_in(&mut follow.waiting));
            }
        }
        (Held { hub: Some(self.clone()), channels: channels.into() }, waits)
    }

    /// Finds out whether an id above the head has been given by now, or whether the epoch of an id has begun. A node that
    /// Redis is away from would take one of the next epoch for one of the last, and send its stream back there.
    async fn pass(&self, id: EventId) -> Result<(), NotReady> {
        for _ in 0..PASSES {
            let passed = {
                let mut state = self.lock();
                let is_known = id.epoch == state.epoch && id.seq <= state.head;
                let Some(node) = state.node.as_mut().filter(|_| !is_known) else { return Ok(()) };
                let passed = wait_in(&mut node.passing);
                node.order(Order::Pass);
                passed
            };
            passed.await.map_err(|_| NotReady)?;
        }
        Ok(())
    }
}

/// Waits among others. Those who wait no longer are dropped before more room is made, so that clients who come back again
/// and again while Redis is away do not pile up.
fn wait_in(waiting: &mut Vec<oneshot::Sender<()>>) -> oneshot::Receiver<()> {
    if waiting.len() == waiting.capacity() {
        waiting.retain(|one| !one.is_closed());
        waiting.reserve(waiting.len() + 1);
    }
    let (told, wait) = oneshot::channel();
    waiting.push(told);
    wait
}

impl State {
    /// Holds a channel, which is followed from now on if it was not. None where history is of one node.
    pub(in crate::hub) fn hold(&mut self, channel: &ChannelName) -> Option<&mut Follow> {
        let node = self.node.as_mut()?;
        let Node { follows, orders, .. } = &mut **node;
        let follow = follows.entry(channel.clone()).or_insert_with(|| {
            // Without a link nothing is ever ready.
            let _ = orders.send(Order::Follow { channel: channel.clone() });
            Follow { holds: 0, idle: None, standing: Standing::Asked, waiting: Vec::new() }
        });
        follow.holds += 1;
        follow.idle = None;
        Some(follow)
    }

    /// Gives a hold back.
    pub(in crate::hub) fn release(&mut self, channel: &ChannelName) {
        let Some(node) = self.node.as_mut() else { return };
        let Some(follow) = node.follows.get_mut(channel) else { return };
        follow.holds = follow.holds.saturating_sub(1);
        if follow.holds == 0 {
            let now = Instant::now();
            follow.idle = Some(now);
            node.idle.push_back((now, channel.clone()));
        }
    }

    /// Follows channels no longer that nobody has held for a while; and, for room, such that nobody holds now.
    pub(in crate::hub) fn drop_idle(&mut self) {
        let now = Instant::now();
        let State { node: Some(node), store, marks, .. } = self else { return };
        let crate::store::Store::Mirror(mirror) = store else { return };
        while let Some((since, _)) = node.idle.front() {
            if now.saturating_duration_since(*since) < LINGER && !mirror.is_full() {
                break;
            }
            let Some((since, channel)) = node.idle.pop_front() else { break };
            if node.follows.get(&channel).is_none_or(|follow| follow.idle != Some(since)) {
                // Held again since.
                continue;
            }
            node.follows.remove(&channel);
            node.unready.retain(|of| *of != channel);
            if let Some(gathering) = &mut node.gathering {
                gathering.leave(&channel);
            }
            mirror.remove(&channel);
            marks.remove(&channel);
            node.order(Order::Leave { channel });
        }
    }
}
