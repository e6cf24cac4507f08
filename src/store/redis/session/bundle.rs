//! Publications that go to Redis together: one call of the script for several costs it little more than half.
//!
//! Invariant: nothing waits here unless [`ON_THE_WAY`] calls are on their way, whose answers send it; what has a key goes
//! alone, since a key that was used before refuses its whole call.

use crate::store::redis::{Entry, Order, Ticket};

/// So many calls are on their way before further publications wait to be sent together. They lose nothing by it: Redis
/// does one call after the other.
pub(super) const ON_THE_WAY: usize = 8;
/// So many publications go together at most: Redis does nothing else for about a millisecond.
const MOST: usize = 64;
/// So many bytes of them.
const MOST_BYTES: usize = 256 << 10;

/// What waits to be sent together: whole batches, in order.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    batches: Vec<(Ticket, Vec<Entry>)>,
    count: usize,
    bytes: usize,
}

impl Bundle {
    /// Whether a batch may go with others.
    pub(super) fn takes(batch: &[Entry]) -> bool {
        batch.iter().all(|entry| entry.key.is_none())
    }

    /// Whether a batch finds room.
    pub(super) fn has_room(&self, batch: &[Entry]) -> bool {
        self.is_empty() || self.count + batch.len() <= MOST && self.bytes + bytes(batch) <= MOST_BYTES
    }

    /// Adds a batch.
    pub(super) fn add(&mut self, ticket: Ticket, batch: Vec<Entry>) {
        self.count += batch.len();
        self.bytes += bytes(&batch);
        self.batches.push((ticket, batch));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Takes all of it.
    pub(super) fn take(&mut self) -> Vec<(Ticket, Vec<Entry>)> {
        (self.count, self.bytes) = (0, 0);
        std::mem::take(&mut self.batches)
    }

    /// What was not sent, as it was ordered.
    pub(super) fn unsent(&mut self) -> impl Iterator<Item = Order> + use<> {
        self.take().into_iter().map(|(ticket, batch)| Order::Publish { ticket, batch })
    }
}

fn bytes(batch: &[Entry]) -> usize {
    batch.iter().map(|entry| entry.event.data.len() * entry.channels.len()).sum()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::{ChannelName, Event};

    fn entry(size: usize, key: bool) -> Entry {
        Entry {
            channels: [ChannelName::new("c").unwrap()].into_iter().collect(),
            event: Event { name: None, data: Bytes::from(vec![b'x'; size]), retry: None },
            ttl_ms: None,
            collapse: None,
            key: key.then(|| ("k".into(), 1, 1000)),
        }
    }

    #[test]
    fn a_batch_with_a_key_goes_alone() {
        assert!(Bundle::takes(&[entry(1, false), entry(1, false)]));
        assert!(!Bundle::takes(&[entry(1, false), entry(1, true)]));
    }

    #[test]
    fn there_is_room_for_so_many_and_so_large_and_always_for_one() {
        let mut bundle = Bundle::default();
        let huge: Vec<_> = (0..MOST + 1).map(|_| entry(1, false)).collect();
        assert!(bundle.has_room(&huge) && bundle.has_room(&[entry(MOST_BYTES + 1, false)]));
        for ticket in 1..MOST {
            bundle.add(Ticket(ticket as u64), vec![entry(1, false)]);
        }
        assert!(bundle.has_room(&[entry(1, false)]));
        assert!(!bundle.has_room(&[entry(1, false), entry(1, false)]));
        assert!(!bundle.has_room(&[entry(MOST_BYTES, false)]));
        assert_eq!(bundle.unsent().count(), MOST - 1);
        assert!(bundle.is_empty() && bundle.has_room(&huge));
    }
}
