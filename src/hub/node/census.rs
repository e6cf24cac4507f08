//! How many streams of all nodes an event was handed to, or a kick has ended.
//!
//! Invariant: whoever waits has an answer within [`WAIT`] of the moment in which it is known who was told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::WeakUnboundedSender;
use tokio::time::{Instant, timeout_at};

use crate::store::redis::{Answer, NodeId, Order};

/// How long a publisher waits for the counts of nodes, once its event is stored. One that is stopped or cut off is not
/// waited for any longer.
pub(in crate::hub) const WAIT: Duration = Duration::from_millis(250);

/// One count over all nodes.
#[derive(Debug)]
pub(in crate::hub) struct Census {
    counts: Mutex<Counts>,
    whole: Notify,
    /// The publication's key, to be remembered with the count.
    key: Option<Box<str>>,
    /// Weak, as in all that outlives a closed hub's orders: the link ends when nobody can give any.
    orders: WeakUnboundedSender<Order>,
}

#[derive(Debug, Default)]
struct Counts {
    /// The event, and how many copies of it nodes were sent.
    expected: Option<(u64, u32)>,
    until: Option<Instant>,
    copies: u32,
    streams: usize,
    is_over: bool,
}

impl Counts {
    fn is_whole(&self) -> bool {
        self.is_over || self.expected.is_some_and(|(_, copies)| self.copies >= copies)
    }
}

impl Census {
    pub(super) fn new(key: Option<Box<str>>, orders: WeakUnboundedSender<Order>) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), whole: Notify::new(), key, orders })
    }

    /// Says how many copies there are to be answered for.
    pub(super) fn expect(&self, seq: u64, copies: u32) {
        let mut counts = self.lock();
        counts.expected = Some((seq, copies));
        counts.until = Some(Instant::now() + WAIT);
        self.end(counts, false);
    }

    /// Takes in what a node says of some copies.
    pub(super) fn answer(&self, copies: u32, streams: usize) {
        let mut counts = self.lock();
        counts.copies = counts.copies.saturating_add(copies);
        counts.streams += streams;
        self.end(counts, false);
    }

    /// Waits no longer.
    pub(super) fn close(&self) {
        self.end(self.lock(), true);
    }

    /// Whether there is nothing left to wait for.
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// The sum, if all have answered.
    pub(in crate::hub) fn known(&self) -> Option<usize> {
        let counts = self.lock();
        counts.is_over.then_some(counts.streams)
    }

    /// The sum; of those who have answered in time.
    pub(in crate::hub) async fn total(&self) -> usize {
        let until = self.lock().until.unwrap_or_else(|| Instant::now() + WAIT);
        loop {
            // Made before the look, so that what is answered in between is not missed.
            let whole = self.whole.notified();
            if let Some(streams) = self.known() {
                return streams;
            }
            if timeout_at(until, whole).await.is_err() {
                self.close();
            }
        }
    }

    fn end(&self, mut counts: MutexGuard<'_, Counts>, is_closed: bool) {
        if counts.is_over || !(is_closed || counts.is_whole()) {
            return;
        }
        counts.is_over = true;
        let (streams, expected) = (counts.streams, counts.expected);
        drop(counts);
        self.whole.notify_waiters();
        if let (Some(key), Some((seq, _))) = (&self.key, expected) {
            let streams = u32::try_from(streams).unwrap_or(u32::MAX);
            // Without a link there is nobody to remember it.
            let _ = self
                .orders
                .upgrade()
                .map(|orders| orders.send(Order::Counted { key: key.clone(), seq, streams }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // A few numbers, which are whole whatever happened elsewhere.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This node's duty to tell how many of its streams one copy of an event has reached.
#[derive(Debug)]
pub(in crate::hub) enum Report {
    /// It was published here.
    Here(Arc<Census>),
    /// It was published by another node.
    Elsewhere { to: NodeId, answer: Answer, orders: WeakUnboundedSender<Order> },
}

impl Report {
    /// Says it.
    pub(in crate::hub) fn say(self, streams: usize) {
        match self {
            Self::Here(census) => census.answer(1, streams),
            Self::Elsewhere { to, answer, orders } => {
                let streams = u32::try_from(streams).unwrap_or(u32::MAX);
                // Without a link nobody can be told.
                let answer = Answer { streams, ..answer };
                let _ = orders.upgrade().map(|orders| orders.send(Order::Tell { to, answer }));
            }
        }
    }
}
