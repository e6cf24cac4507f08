//! A worker's inbox: what the hub has handed to it, in the hub's order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::event::{EventId, Frame, Timestamp};

use super::node::Report;
use super::{ChannelId, Gap, Kick, Look, ReadNotice};

/// What a worker is handed.
#[derive(Debug)]
pub enum Work {
    /// An event to deliver.
    Deliver(Delivery),
    /// A user's streams to end.
    Kick(Box<Kick>),
    /// Word of what a user has read.
    Read(Box<ReadNotice>),
    /// Word that something is missing.
    Gap(Box<GapNotice>),
    /// A question about a user's streams.
    Look(Box<Look>),
}

/// Word for streams that events up to a certain one may be missing.
#[derive(Debug, Clone)]
pub struct GapNotice {
    /// Those of this channel; none is all.
    pub channel: Option<ChannelId>,
    /// Where they go on: what is missing is not above it.
    pub at: EventId,
    /// The newest event that they could have been handed before. Within an epoch, streams that are past it were registered
    /// since, and have missed nothing.
    pub heard: u64,
    /// Which epoch of this hub it is of, counted. Streams of a later one were registered since.
    pub life: u32,
    /// What they are told of.
    pub gap: Gap,
}

/// One event for the subscribers of one worker.
#[derive(Debug)]
pub struct Delivery {
    /// The event's place in the order.
    pub seq: u64,
    /// Its bytes.
    pub frame: Frame,
    /// Those of its channels that the worker has subscribers for.
    pub channels: SmallVec<[ChannelId; 2]>,
    /// When it was published.
    pub since: Instant,
    tally: Option<Share>,
}

impl Delivery {
    pub(super) fn new(
        seq: u64,
        frame: Frame,
        channels: SmallVec<[ChannelId; 2]>,
        since: Instant,
        tally: Option<Share>,
    ) -> Self {
        Self { seq, frame, channels, since, tally }
    }

    /// Whether it is still to be written.
    pub fn is_of_use(&self, now: Timestamp) -> bool {
        self.frame.expires().is_none_or(|expires| now < expires)
    }

    /// Tells the publisher how many streams of this worker it was handed to. One that is dropped without says none.
    pub fn counted(mut self, streams: usize) {
        if let Some(share) = self.tally.take() {
            share.add(streams);
        }
    }
}

/// What waits for a worker, in the hub's order.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: Mutex<Vec<Work>>,
    notify: Notify,
}

impl Inbox {
    /// Waits until there may be something, then takes all of it into `batch`, which must be empty. Says whether it had to
    /// wait, so that others had their turn.
    pub async fn take(&self, batch: &mut Vec<Work>) -> bool {
        let mut has_waited = false;
        loop {
            std::mem::swap(&mut *self.lock(), batch);
            if !batch.is_empty() {
                return has_waited;
            }
            self.notify.notified().await;
            has_waited = true;
        }
    }

    /// Puts something in. Called under the hub's lock, which makes the order.
    pub(super) fn push(&self, work: Work) {
        self.lock().push(work);
    }

    /// Wakes the worker. Called after the hub's lock is released, since it may be a system call.
    pub(super) fn wake(&self) {
        self.notify.notify_one();
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Work>> {
        // Only pushes and swaps happen under it, so it is whole even after a panic elsewhere.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many streams an event was handed to or a kick has ended, counted by the workers.
#[derive(Debug)]
pub(super) struct Tally {
    count: AtomicUsize,
    missing: AtomicUsize,
    whole: Notify,
    /// Who else is to be told of the sum.
    report: Mutex<Option<Report>>,
}

impl Tally {
    pub(super) fn new(workers: usize, report: Option<Report>) -> Arc<Self> {
        let tally = Self {
            count: AtomicUsize::new(0),
            missing: AtomicUsize::new(workers),
            whole: Notify::new(),
            report: Mutex::new(report),
        };
        if workers == 0 {
            tally.is_whole();
        }
        Arc::new(tally)
    }

    fn is_whole(&self) {
        self.whole.notify_waiters();
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(report) = report {
            report.say(self.count.load(Ordering::Relaxed));
        }
    }

    /// One worker's share; exactly `workers` of them must be made.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share(self.clone())
    }

    /// The sum, if all have counted.
    pub(super) fn known(&self) -> Option<usize> {
        (self.missing.load(Ordering::Acquire) == 0).then(|| self.count.load(Ordering::Relaxed))
    }

    pub(super) async fn total(&self) -> usize {
        loop {
            // Made before the check, so that a worker that ends in between is not missed.
            let whole = self.whole.notified();
            if let Some(total) = self.known() {
                return total;
            }
            whole.await;
        }
    }
}

/// A worker's duty to count, done when it is dropped.
#[derive(Debug)]
pub(super) struct Share(Arc<Tally>);

impl Share {
    /// Counts, and is done.
    pub(super) fn add(self, streams: usize) {
        self.0.count.fetch_add(streams, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.0.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.is_whole();
        }
    }
}
