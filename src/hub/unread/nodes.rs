//! Marks where many nodes share history: each node holds those of the channels that it follows.
//!
//! Invariant: what somebody says is read is marked when Redis tells it, on all nodes in one order with the events; what was
//! written to a stream counts at once on its own node, and a moment later on the others.

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{MarkError, Read};
use crate::event::{ChannelName, EventId, Timestamp};
use crate::hub::node::{Node, Wake};
use crate::hub::{Hub, NotKept, State};
use crate::store::redis::{NodeId, Order, Ticket};
use crate::store::{Mark, Store};

/// Of an order that nobody waits for, and of which no stream is told.
const NOBODY: Ticket = Ticket(0);

/// Somebody who waits until something is marked.
pub(in crate::hub) type Wish = oneshot::Sender<Result<usize, NotKept>>;

impl State {
    /// Orders that something is marked, and says how much is unread when it is.
    pub(super) fn wish(
        &mut self,
        own: ChannelName,
        read: &Read,
        unread: &[u64],
        now: Timestamp,
    ) -> Result<oneshot::Receiver<Result<usize, NotKept>>, MarkError> {
        let (answer, answered) = oneshot::channel();
        let (newly, left) = self.of_those(self.marks.of(&own), unread, read);
        let Some(node) = &mut self.node else { return Err(MarkError::NotKept) };
        let Some(newest) = newly.last().copied() else {
            // There is nothing to say that is not known.
            let left = if unread.is_empty() { self.unread_now(&own, now).len() } else { left };
            let _ = answer.send(Ok(left));
            return Ok(answered);
        };
        if !node.is_attached {
            return Err(MarkError::NotKept);
        }
        if node.wishes.len() == node.wishes.capacity() {
            // An order that Redis has refused has no answer.
            node.wishes.retain(|_, wish| !wish.is_closed());
        }
        let ticket = node.ticket();
        let (seqs, up_to) = match read {
            Read::Events(_) => (newly, 0),
            Read::UpTo(_) => (Vec::new(), newest),
        };
        node.wishes.insert(ticket, answer);
        node.order(Order::Mark { own, seqs, up_to, ticket });
        Ok(answered)
    }

    /// What is unread of a channel and held here.
    fn unread_now(&self, own: &ChannelName, now: Timestamp) -> Vec<u64> {
        let Store::Mirror(mirror) = &self.store else { return Vec::new() };
        let mark = self.marks.of(own);
        let kept = mirror.logs().kept(own, mark.map_or(0, Mark::up_to), now).map(|record| record.seq);
        kept.filter(|seq| mark.is_none_or(|mark| !mark.holds(*seq))).collect()
    }
}

impl Hub {
    /// Takes in what was marked, and tells the user's streams.
    pub(in crate::hub) fn read(
        &self,
        state: &mut State,
        own: &ChannelName,
        (seqs, up_to): (&[u64], u64),
        (node, ticket): (NodeId, Ticket),
        now: Timestamp,
        wake: &mut Wake,
    ) {
        let unread = state.unread_now(own, now);
        let (newly, left): (Vec<u64>, Vec<u64>) =
            unread.into_iter().partition(|seq| *seq <= up_to || seqs.contains(seq));
        let Some(of) = &mut state.node else { return };
        let wish = if of.id == node { of.wishes.remove(&ticket) } else { None };
        if of.follows(own) {
            let mark = state.marks.change(own, now);
            mark.raise(up_to);
            seqs.iter().for_each(|seq| mark.add(*seq));
            let place = mark.up_to();
            if let Store::Mirror(mirror) = &state.store {
                mark.settle(mirror.logs().kept(own, place, now).map(|record| record.seq));
            }
        }
        if ticket != NOBODY {
            let read = match up_to {
                0 => Read::Events(Vec::new()),
                seq => Read::UpTo(EventId { epoch: state.epoch, seq }),
            };
            let mut workers: SmallVec<[usize; 8]> = SmallVec::new();
            self.tell_read(state, own, (&newly, &read, left.len()), &mut workers);
            wake.extend(workers);
        }
        if let Some(wish) = wish {
            // Nobody may wait any more.
            let _ = wish.send(Ok(left.len()));
        }
    }
}

impl Node {
    /// Notes that an event was written to a stream of its user.
    pub(super) fn mark(&mut self, own: &ChannelName, seq: u64) {
        match self.written.last_mut().filter(|(last, _)| last == own) {
            Some((_, seqs)) => seqs.push(seq),
            None => self.written.push((own.clone(), vec![seq])),
        }
    }

    /// Orders what was noted.
    pub(super) fn order_marks(&mut self) {
        for (own, seqs) in std::mem::take(&mut self.written) {
            self.order(Order::Mark { own, seqs, up_to: 0, ticket: NOBODY });
        }
    }
}
