//! The hub: where publications become events and find their subscribers. The one thing that all threads share.
//!
//! A cheap handle over one `std::sync::Mutex`, never held over an await or a system call. Under it a publication gets
//! its id, is kept, and is put into the inbox of every worker that has subscribers for it; so all workers see one
//! order. Invariants: an event is kept before it is in any inbox, so whoever is registered finds it in history, or in the
//! inbox of its worker, or in both, never in neither; the lock is held for one page of history at a time; workers are
//! woken only after it is released.
//!
//! The hub knows no HTTP and no sockets.

mod blocks;
mod commit;
mod inbox;
mod interest;
mod keys;
mod kick;
mod lending;
mod look;
#[cfg(test)]
pub(crate) mod made_up;
mod node;
mod outcome;
mod publication;
mod publish;
mod queue;
mod ranks;
mod recent;
mod subscription;
mod totals;
mod trace;
mod unread;
mod watch;

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::event::{ChannelName, Epoch, EventId, Frame, Timestamp};
use crate::store::{DiskError, KeptKey, Marks, Memory, OpenDisk, Page, Store, SyncMode};

pub use commit::Committer;
pub use inbox::{Delivery, GapNotice, Inbox, Work};
pub use interest::ChannelId;
pub use keys::KeyCounts;
pub use kick::{Blocked, DisconnectError, Kick};
pub use look::{Answer, Began, Look, MAX_SEEN, StreamRecord};
pub use node::{Held, NotReady, READY_WITHIN};
pub use outcome::{NotKept, PATIENCE};
pub use publication::{Delivered, Publication, PublishError, Receipt};
pub use subscription::{Gap, Position, Start, Subscription};
pub use totals::HubTotals;
pub use trace::{Standing, Trace};
pub use unread::{MarkError, Read, ReadNotice, Unread, UnreadableError};
pub use watch::{Seen, Watch};

use blocks::Blocks;
use inbox::Tally;
use interest::Interest;
use keys::Keys;
use kick::Due;
use node::{Node, Report};
use publication::Given;
use queue::Queue;
use recent::Recent;
use totals::Counts;

/// A publication is refused when a worker that it must reach has this many deliveries waiting: the worker is stuck
/// or hopelessly behind, and what is not taken in cannot be lost.
pub const INBOX_LIMIT: usize = 65_536;

/// The handle. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Whether it is one node of many.
    is_node: bool,
    inboxes: Box<[Arc<Inbox>]>,
    state: Mutex<State>,
    /// Told when there is more for the committer.
    more: Condvar,
    /// Who wants to know which users come, go and read. Told without the lock.
    watch: OnceLock<Box<[Arc<Watch>]>>,
}

#[derive(Debug)]
struct State {
    /// Of every id that is given.
    epoch: Epoch,
    /// How many epochs came before it.
    life: u32,
    /// Ids of it that were never given, or were given and lost.
    holes: Vec<Range<u64>>,
    /// What is to be known of the other nodes, if there are any.
    node: Option<Box<Node>>,
    /// The newest id given.
    given: u64,
    /// The newest event that was kept and handed out.
    head: u64,
    store: Store,
    /// What users have read of it.
    marks: Marks,
    /// What became of all up to this one is known: it was handed out, or could not be kept.
    settled: u64,
    /// Only used where the store is on disk.
    queue: Queue,
    /// Kicks that wait for what was published before them.
    kicks: VecDeque<Due>,
    interest: Interest,
    /// How many streams each worker has.
    streams: Box<[usize]>,
    keys: Keys,
    blocks: Blocks,
    counts: Counts,
    recent: Recent,
}

/// What is known of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInfo {
    /// Streams subscribed to it now, on all workers.
    pub streams: usize,
    /// Events kept.
    pub events: usize,
    /// The newest event it ever had in this epoch.
    pub last_id: Option<EventId>,
}

impl Hub {
    /// A hub for a number of workers, over a store, in an epoch of its own.
    pub fn new(workers: usize, store: Memory, epoch: Epoch) -> Self {
        let marks = store.marks();
        Self::over(workers, Store::Memory(store), marks, epoch, 0, None)
    }

    /// A hub that goes on where a store on disk has ended. Nothing is published unless the committer runs.
    pub fn on_disk(workers: usize, open: OpenDisk, sync: SyncMode) -> (Self, Committer) {
        let OpenDisk { disk, writer, keys, marks, .. } = open;
        let (epoch, head) = (disk.epoch(), disk.head());
        let hub = Self::over(workers, Store::Disk(disk), marks, epoch, head, None);
        for KeptKey { name, digest, id, streams, until } in keys {
            let given = Given { id, delivered: Delivered::now(streams) };
            hub.lock().keys.insert(&name, digest, given, until);
        }
        (
            hub.clone(),
            Committer {
                hub,
                writer,
                sync,
                failure: None,
                unwritten: HashSet::new(),
                unremembered: Vec::new(),
            },
        )
    }

    fn over(
        workers: usize,
        store: Store,
        marks: Marks,
        epoch: Epoch,
        head: u64,
        node: Option<Box<Node>>,
    ) -> Self {
        Self(Arc::new(Shared {
            is_node: node.is_some(),
            inboxes: (0..workers).map(|_| Arc::default()).collect(),
            more: Condvar::new(),
            watch: OnceLock::new(),
            state: Mutex::new(State {
                epoch,
                life: 0,
                holes: Vec::new(),
                node,
                given: head,
                head,
                settled: head,
                kicks: VecDeque::new(),
                marks,
                store,
                queue: Queue::default(),
                interest: Interest::default(),
                streams: vec![0; workers].into(),
                keys: Keys::default(),
                blocks: Blocks::default(),
                counts: Counts::default(),
                recent: Recent::beginning(head),
            }),
        }))
    }

    /// The same hub, which remembers no more than `most` idempotency keys, and those that are used from now on for
    /// `window`. Where there is no room for another key, its publication is refused.
    #[must_use]
    pub fn with_keys(self, window: Duration, most: usize) -> Self {
        self.bound_keys(window, most);
        self
    }

    /// Remembers from now on no more than `most` idempotency keys, and those that are used from now on for `window`. What
    /// is remembered stays so for as long as was promised.
    pub fn bound_keys(&self, window: Duration, most: usize) {
        self.lock().keys.bound(window, most);
    }

    /// The inbox of a worker. Workers are numbered from 0.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn inbox(&self, worker: usize) -> &Arc<Inbox> {
        &self.0.inboxes[worker]
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.0.inboxes.len()
    }

    /// The epoch of every id that is given now.
    pub fn epoch(&self) -> Epoch {
        self.lock().epoch
    }

    /// Puts an event that was kept into the inbox of every worker that has subscribers for it.
    fn hand_out(
        &self,
        interest: &Interest,
        channels: &[ChannelName],
        (seq, since): (u64, Instant),
        frame: &Frame,
        report: Option<Report>,
        wake: &mut SmallVec<[usize; 8]>,
    ) -> Delivered {
        let targets = interest.targets(channels);
        // A stream may be subscribed to several of the channels, or the event may have expired when its turn comes;
        // then only its worker can count it, once.
        let is_counted = !targets.overlap && frame.expires().is_none();
        let (tally, report) = match is_counted {
            true => (None, report),
            false => (Some(Tally::new(targets.workers.len(), report)), None),
        };
        if let Some(report) = report {
            report.say(targets.streams);
        }
        for (worker, channels) in targets.workers {
            let tally = tally.as_ref().map(Tally::share);
            let delivery = Delivery::new(seq, frame.clone(), channels, since, tally);
            self.0.inboxes[worker].push(Work::Deliver(delivery));
            if !wake.contains(&worker) {
                wake.push(worker);
            }
        }
        match tally {
            None => Delivered::now(targets.streams),
            Some(tally) => Delivered::later(tally),
        }
    }

    /// Registers a stream of a worker, and says where it starts: what it missed up to the head of that moment is to be
    /// read from history, what comes after is handed to the worker. Drop the subscription to leave.
    ///
    /// The caller must be that worker, and must be ready to take deliveries for the subscription, and kicks of the
    /// user, before it next takes anything from its inbox.
    ///
    /// # Errors
    /// If the user is blocked.
    pub fn subscribe(
        &self,
        worker: usize,
        user: Option<&str>,
        channels: &[ChannelName],
        from: Position<'_>,
        now: Timestamp,
    ) -> Result<(Subscription, Start), Blocked> {
        let mut state = self.lock();
        if user.is_some_and(|user| state.blocks.holds(user, now)) {
            return Err(Blocked);
        }
        state.streams[worker] += 1;
        channels.iter().for_each(|channel| _ = state.hold(channel));
        let interests =
            channels.iter().map(|name| (state.interest.join(name, worker), name.clone())).collect();
        let (start, life) = (Start::new(&state, from), state.life);
        drop(state);
        self.tell_watch(|watch| watch.changed(channels.iter()));
        Ok((Subscription::new(self.clone(), worker, life, interests), start))
    }

    fn page<'c>(
        &self,
        channels: impl Iterator<Item = &'c ChannelName>,
        after: EventId,
        upto: u64,
        now: Timestamp,
    ) -> Result<Page, DiskError> {
        let EventId { epoch, seq: after } = after;
        if after >= upto {
            return Ok(Page { read: upto, ..Page::default() });
        }
        let disk = {
            let state = self.lock();
            if epoch != state.epoch {
                return Ok(Page::gone(upto));
            }
            match state.store.logs() {
                Ok(logs) => return Ok(logs.page(channels, after, upto, now)),
                Err(disk) => disk.clone(),
            }
        };
        let channels: SmallVec<[_; 2]> = channels.cloned().collect();
        disk.page(&channels, after, upto, now)
    }

    fn leave<'c>(&self, worker: usize, channels: impl Iterator<Item = &'c ChannelName> + Clone) {
        let mut state = self.lock();
        state.streams[worker] -= 1;
        for channel in channels.clone() {
            state.interest.leave(channel, worker);
            state.release(channel);
        }
        drop(state);
        self.tell_watch(|watch| watch.changed(channels.clone()));
    }

    /// What is known of a channel; `None` if nobody is subscribed and nothing is kept.
    pub fn channel(&self, channel: &ChannelName) -> Option<ChannelInfo> {
        let state = self.lock();
        let streams = state.interest.streams(channel);
        let kept = state.store.channel(channel);
        if streams == 0 && kept.is_none() {
            return None;
        }
        let (events, last) = kept.unwrap_or_default();
        let last_id = (last > 0).then_some(EventId { epoch: state.epoch, seq: last });
        Some(ChannelInfo { streams, events, last_id })
    }

    /// Drops history, marks, keys and blocks that are too old. To be called every few seconds.
    pub fn sweep(&self, now: Timestamp) {
        let mut state = self.lock();
        state.marks.sweep(now);
        match &mut state.store {
            Store::Memory(memory) => memory.sweep(now),
            Store::Disk(_) => {
                state.queue.sweep = Some(now);
                self.0.more.notify_one();
            }
            Store::Mirror(mirror) => mirror.sweep(now),
        }
        state.drop_idle();
        state.node.iter_mut().for_each(|node| node.forget_asked());
        state.keys.sweep(now);
        state.blocks.sweep(now);
        let wake = self.kick_overdue(&mut state);
        drop(state);
        self.wake(&wake);
    }

    /// How the idempotency keys stand.
    pub fn keys(&self) -> KeyCounts {
        self.lock().keys.counts()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics by design; if it ever does, one broken publication must not end them all.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
