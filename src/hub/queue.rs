//! What waits to be written to a store on disk, in the order of ids.
//!
//! Invariants: it is bounded in events and in bytes as they will be written; what a publisher handed in as one batch is
//! taken as one.

use std::sync::Arc;

use tokio::time::Instant;

use super::Delivered;
use super::lending::Lending;
use super::outcome::{NotKept, Outcome, PATIENCE};
use super::unread::Wanted;
use crate::event::Timestamp;
use crate::store::{Kept, KeptKey};

/// How many events may wait to be written; then publications are refused.
pub(super) const QUEUE_EVENTS: usize = 65_536;

/// How many bytes of events may wait to be written, counted once for each of their channels. A single batch of a
/// publisher's may be more.
pub(super) const QUEUE_BYTES: usize = 64 << 20;

/// So many events are written at once, and as many more as the last publisher's batch has. More would only make them
/// all wait longer.
const BATCH: usize = 1024;

/// And about so many bytes: the engine takes a write whole into its memory.
const BATCH_BYTES: usize = 16 << 20;

/// Events that have their id and are not written yet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<Pending>,
    /// Of those that wait and those that are being written.
    bytes: usize,
    /// Of those that are being written.
    writing: usize,
    /// Since when the writer has been at what it took.
    since: Option<Instant>,
    /// When history was to be looked through for what is too old.
    pub(super) sweep: Option<Timestamp>,
    /// Keys of events that are kept, to be remembered for longer than it says there.
    pub(super) keys: Vec<KeptKey>,
    /// Wishes to mark events as read.
    pub(super) wanted: Vec<Wanted>,
    /// Whether nothing more is taken.
    pub(super) is_closed: bool,
    /// Whether the store does not take writes.
    pub(super) is_failing: bool,
    /// Where the store is.
    pub(super) lending: Lending,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) kept: Kept,
    /// When it was published.
    pub(super) since: Instant,
    /// Whether a publisher's batch ends here.
    pub(super) is_last: bool,
    pub(super) outcome: Arc<Outcome<Delivered>>,
}

/// What the writer is to do next.
pub(super) struct Taken {
    pub(super) batch: Vec<Pending>,
    pub(super) keys: Vec<KeptKey>,
    pub(super) sweep: Option<Timestamp>,
    pub(super) is_over: bool,
}

impl Queue {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether so many more events of so many bytes may wait.
    pub(super) fn takes(&self, events: usize, bytes: usize, now: Instant) -> bool {
        let has_room = self.bytes == 0 || self.bytes.saturating_add(bytes) <= QUEUE_BYTES;
        let is_here = matches!(self.lending, Lending::Here);
        has_room
            && is_here
            && self.waiting.len() + self.keys.len() + events <= QUEUE_EVENTS
            && self.is_well(now)
    }

    /// Whether what is handed in now can be expected to be kept.
    pub(super) fn is_well(&self, now: Instant) -> bool {
        let is_stuck = self.since.is_some_and(|since| now.saturating_duration_since(since) > PATIENCE);
        !self.is_closed && !self.is_failing && !is_stuck
    }

    /// Whether there is nothing for the writer.
    pub(super) fn is_idle(&self) -> bool {
        let has_none = self.waiting.is_empty() && self.keys.is_empty() && self.wanted.is_empty();
        let is_settled = matches!(self.lending, Lending::Here | Lending::Away);
        has_none && is_settled && self.sweep.is_none() && !self.is_closed
    }

    pub(super) fn push(&mut self, pending: Pending) {
        self.bytes += pending.len();
        self.waiting.push(pending);
    }

    /// Ends a publisher's batch with what was put in last. Says whether there is anything to write.
    pub(super) fn end_batch(&mut self) -> bool {
        let last = self.waiting.last_mut();
        last.map(|last| last.is_last = true).is_some() || !self.keys.is_empty()
    }

    /// Takes the events that are to be written next. The wishes are taken apart.
    pub(super) fn take(&mut self) -> Taken {
        let (mut count, mut bytes) = (0, 0);
        for pending in &self.waiting {
            let is_full = count >= BATCH || bytes >= BATCH_BYTES;
            if is_full && self.waiting[count - 1].is_last {
                break;
            }
            (count, bytes) = (count + 1, bytes + pending.len());
        }
        let rest = self.waiting.split_off(count);
        let batch = std::mem::replace(&mut self.waiting, rest);
        (self.writing, self.since) = (bytes, Some(Instant::now()));
        let is_over = self.is_closed && self.waiting.is_empty();
        Taken { batch, keys: std::mem::take(&mut self.keys), sweep: self.sweep.take(), is_over }
    }

    /// Takes note that what was taken has been dealt with.
    pub(super) fn is_written(&mut self) {
        self.bytes = self.bytes.saturating_sub(std::mem::take(&mut self.writing));
        self.since = None;
    }

    /// Takes out all that waits.
    pub(super) fn clear(&mut self) -> (Vec<Pending>, Vec<Wanted>) {
        (self.bytes, self.writing) = (0, 0);
        self.keys.clear();
        (std::mem::take(&mut self.waiting), std::mem::take(&mut self.wanted))
    }
}

impl Pending {
    fn len(&self) -> usize {
        self.kept.record.frame.len() * self.kept.channels.len()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // What is known has been said: this is the writer's panic.
        self.outcome.tell(Err(NotKept::Unknown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ChannelName, Epoch, Event, EventId};
    use crate::store::Record;

    fn pending(bytes: usize, is_last: bool) -> Pending {
        let id = EventId { epoch: Epoch::from_bits(1), seq: 1 };
        let frame = Event { name: None, data: vec![b'x'; bytes].into(), retry: None }.frame(id);
        let record = Record { seq: 1, frame, at: Timestamp(0), expires: None, collapse: None };
        let channels = ChannelName::new("a").into_iter().collect();
        Pending {
            kept: Kept { channels, record, key: None },
            since: Instant::now(),
            is_last,
            outcome: Arc::default(),
        }
    }

    #[test]
    fn a_batch_is_taken_whole_and_not_much_more_at_once() {
        let now = Instant::now();
        let mut queue = Queue::default();
        // Alone, then a batch that goes over the bound, then alone.
        for number in 0..BATCH + 100 {
            queue.push(pending(1, number < BATCH - 50 || number == BATCH + 9 || number > BATCH + 90));
        }
        assert_eq!(queue.take().batch.len(), BATCH + 10);
        assert!(queue.takes(QUEUE_EVENTS - queue.len(), 1, now));
        assert!(!queue.takes(QUEUE_EVENTS - queue.len() + 1, 1, now));
        queue.is_written();
        assert_eq!(queue.take().batch.len(), 90);
        queue.is_written();
        assert_eq!((queue.bytes, queue.len()), (0, 0));
        (0..40).for_each(|_| queue.push(pending(1 << 20, true)));
        assert_eq!(queue.take().batch.len(), BATCH_BYTES >> 20);
        // What is being written counts until it is.
        assert!(queue.takes(1, 20 << 20, now) && !queue.takes(1, 30 << 20, now));
        queue.is_written();
        assert!(queue.takes(1, 30 << 20, now));
        assert!(queue.is_well(now + 2 * PATIENCE));
        queue.take();
        assert!(queue.is_well(now) && !queue.is_well(now + 2 * PATIENCE), "it is stuck");
    }
}
