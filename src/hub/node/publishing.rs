//! Publications on their way: handed to Redis, answered by it, and counted by the nodes.
//!
//! Invariants: no more are on their way than a store on disk lets wait; who waits for one learns what became of it within
//! [`PATIENCE`]; a batch is handed over whole, and what is wrong with one of it refuses all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{Event, EventId, Timestamp};
use crate::hub::outcome::{NotKept, Outcome};
use crate::hub::publication::Given;
use crate::hub::queue::{QUEUE_BYTES, QUEUE_EVENTS};
use crate::hub::{
    Delivered, DisconnectError, Hub, INBOX_LIMIT, PATIENCE, Publication, PublishError, Receipt, State,
};
use crate::store::redis::{Entry, NotStored, Order, Stored, Ticket};

use super::Node;
use super::census::{Census, WAIT};

/// So many copies, one for each channel of each publication, are handed over in one batch at most. Redis does nothing else
/// meanwhile, and that is a second's work: with more, other nodes would take it to be away.
const MAX_COPIES: usize = 1 << 16;

/// And so many bytes of them.
const MAX_COPIED: usize = 4 * QUEUE_BYTES;

/// A batch that was handed over.
#[derive(Debug)]
pub(super) struct Asked {
    entries: Vec<One>,
    bytes: usize,
    is_answered: bool,
}

/// One publication of it.
#[derive(Debug)]
struct One {
    outcome: Arc<Outcome<Given>>,
    census: Arc<Census>,
    /// Its place in what the publisher handed in.
    place: usize,
    /// To be remembered until then, if it was published before.
    key: Option<(Box<str>, Timestamp)>,
}

/// A kick on its way.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Arc<Outcome<Delivered>>,
    pub(super) census: Arc<Census>,
    pub(super) since: Instant,
}

impl Hub {
    /// Hands a batch to Redis.
    pub(in crate::hub) fn order_all(
        &self,
        batch: Vec<Publication>,
        digests: &[u64],
        (now, until): (Timestamp, Timestamp),
    ) -> Result<Vec<Receipt>, PublishError> {
        let state = &mut *self.lock();
        let window = state.keys.until(now);
        let Some(node) = &mut state.node else { return Err(PublishError::NotKept) };
        if self.0.inboxes.iter().any(|inbox| inbox.len() + node.in_flight + batch.len() > INBOX_LIMIT) {
            return Err(PublishError::Overloaded);
        }
        let size = |of: &Publication| of.event.data.len() * of.channels.len();
        let bytes: usize = batch.iter().map(size).sum();
        let copies: usize = batch.iter().map(|of| of.channels.len()).sum();
        if copies > MAX_COPIES || bytes > MAX_COPIED {
            return Err(PublishError::TooLarge);
        }
        let has_room = node.bytes == 0 || node.bytes.saturating_add(bytes) <= QUEUE_BYTES;
        if !node.is_well() || !has_room || node.in_flight + batch.len() > QUEUE_EVENTS {
            return Err(PublishError::NotKept);
        }
        let mut first_of: HashMap<Box<str>, usize> = HashMap::new();
        let mut entries: Vec<One> = Vec::with_capacity(batch.len());
        let mut receipts: Vec<Receipt> = Vec::with_capacity(batch.len());
        let mut ordered = Vec::with_capacity(batch.len());
        for (place, (publication, &digest)) in batch.into_iter().zip(digests).enumerate() {
            let Publication { channels, event, ttl, key, collapse } = publication;
            if let Some(key) = &key {
                if let Some(&first) = first_of.get(key) {
                    if digests[first] != digest {
                        return Err(PublishError::KeyReused { index: place });
                    }
                    // The same as an earlier one of the batch.
                    receipts.push(receipts[first].clone());
                    continue;
                }
                first_of.insert(key.clone(), place);
            }
            let outcome = Arc::new(Outcome::default());
            receipts.push(Receipt::ordered(outcome.clone()));
            entries.push(One {
                outcome,
                census: Census::new(key.clone(), node.orders.downgrade()),
                place,
                // As on one node, a second use of a key by itself does not make it last.
                key: key.clone().filter(|_| until > now).map(|key| (key, until)),
            });
            let until = window.max(until);
            let ttl_ms = ttl.map(millis);
            let key = key.map(|key| (key, digest, until.0.saturating_sub(now.0)));
            ordered.push(Entry { channels, event, ttl_ms, collapse, key });
        }
        let ticket = node.ticket();
        node.in_flight += entries.len();
        node.bytes += bytes;
        node.asked.insert(ticket, Asked { entries, bytes, is_answered: false });
        node.asked_at.push_back((Instant::now(), ticket));
        node.order(Order::Publish { ticket, batch: ordered });
        node.forget_asked();
        Ok(receipts)
    }
}

impl State {
    /// Orders the end of a user's streams on all nodes.
    pub(in crate::hub) fn order_kick(
        &mut self,
        user: &str,
        event: Option<Event>,
        block: Option<Duration>,
        now: Timestamp,
    ) -> Result<Delivered, DisconnectError> {
        let is_full = block.is_some() && !self.blocks.has_room(user, now);
        let Some(node) = self.node.as_mut().filter(|node| node.is_attached) else {
            return Err(DisconnectError::Away);
        };
        if is_full {
            return Err(DisconnectError::TooManyBlocks);
        }
        let ticket = node.ticket();
        let census = Census::new(None, node.orders.downgrade());
        let outcome = Arc::new(Outcome::default());
        node.kicks.insert(ticket, Ended { outcome: outcome.clone(), census, since: Instant::now() });
        node.order(Order::Kick { ticket, user: user.into(), event, block_ms: block.map(millis) });
        Ok(Delivered::kept(outcome))
    }

    /// Tells the publishers of a batch what became of it.
    pub(super) fn published(&mut self, ticket: Ticket, outcome: Result<Vec<Stored>, NotStored>) {
        let Self { node: Some(node), counts, epoch, .. } = self else { return };
        let epoch = *epoch;
        let Some(asked) = node.asked.get_mut(&ticket).filter(|asked| !asked.is_answered) else { return };
        asked.is_answered = true;
        node.in_flight -= asked.entries.len();
        node.bytes -= asked.bytes;
        let stored = match outcome {
            Ok(stored) => stored,
            Err(why) => {
                counts.refuse(&match why {
                    NotStored::Away | NotStored::Unknown => PublishError::NotKept,
                    NotStored::KeyReused { index } => PublishError::KeyReused { index },
                });
                let why = match why {
                    NotStored::Away => NotKept::Away,
                    NotStored::Unknown => NotKept::Unknown,
                    NotStored::KeyReused { index } => {
                        NotKept::KeyReused { index: asked.entries.get(index).map_or(0, |one| one.place) }
                    }
                };
                asked.entries.iter().for_each(|one| one.outcome.tell(Err(why)));
                node.asked.remove(&ticket);
                return;
            }
        };
        let mut remember = Vec::new();
        for (one, stored) in asked.entries.iter().zip(stored) {
            let (seq, delivered) = match stored {
                Stored::New { seq, copies } => {
                    one.census.expect(seq, copies);
                    counts.published += 1;
                    (seq, Delivered::counted(one.census.clone()))
                }
                // One that is still being counted has not said.
                Stored::Before { seq, streams } => {
                    remember.extend(one.key.clone());
                    one.census.close();
                    (seq, Delivered::now(streams.map_or(0, |streams| streams as usize)))
                }
            };
            one.outcome.tell(Ok(Given { id: EventId { epoch, seq }, delivered }));
        }
        // Such as an answer that is too short has no word for.
        asked.entries.iter().for_each(|one| one.outcome.tell(Err(NotKept::Unknown)));
        if asked.is_over() {
            node.asked.remove(&ticket);
        }
        for (key, until) in remember {
            node.order(Order::Remember { key, until });
        }
    }
}

impl Asked {
    fn is_over(&self) -> bool {
        self.is_answered && self.entries.iter().all(|one| one.census.is_over())
    }
}

impl Node {
    /// The count of a publication or of a kick that this node waits for.
    pub(super) fn census(&self, ticket: Ticket, index: u32) -> Option<Arc<Census>> {
        if let Some(ended) = self.kicks.get(&ticket) {
            return Some(ended.census.clone());
        }
        let one = self.asked.get(&ticket)?.entries.get(index as usize)?;
        Some(one.census.clone())
    }

    /// Tells who ordered a kick how many nodes it went to.
    pub(super) fn ordered(&mut self, ticket: Ticket, outcome: Result<u32, NotStored>) {
        let Some(Ended { outcome: ended, census, .. }) = self.kicks.get(&ticket) else { return };
        ended.tell(match outcome {
            Ok(nodes) => {
                census.expect(0, nodes);
                Ok(Delivered::counted(census.clone()))
            }
            Err(NotStored::Away) => Err(NotKept::Away),
            Err(NotStored::Unknown | NotStored::KeyReused { .. }) => Err(NotKept::Unknown),
        });
    }

    /// Forgets what nobody waits for any more: the oldest of what is counted, and what was never answered.
    pub(in crate::hub) fn forget_asked(&mut self) {
        while let Some((since, ticket)) = self.asked_at.front() {
            let patience = match self.asked.get(ticket) {
                None => Duration::ZERO,
                Some(asked) if asked.is_over() => Duration::ZERO,
                // It is answered before it is counted.
                Some(asked) if asked.is_answered => 4 * WAIT,
                Some(_) => PATIENCE,
            };
            if since.elapsed() < patience {
                break;
            }
            if let Some(asked) = self.asked.remove(ticket) {
                if !asked.is_answered {
                    self.in_flight -= asked.entries.len();
                    self.bytes -= asked.bytes;
                }
                for one in &asked.entries {
                    one.census.close();
                    one.outcome.tell(Err(NotKept::Unknown));
                }
            }
            self.asked_at.pop_front();
        }
        self.kicks.retain(|_, ended| ended.since.elapsed() < PATIENCE);
    }
}

/// Milliseconds, of as much as they can count.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
