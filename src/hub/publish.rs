//! Publishing: what can refuse a batch, and what of it was published before.
//!
//! Invariant: a batch is refused before anything of it is published, or is published whole with nothing of others in
//! between.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::event::{EventId, Timestamp};
use crate::store::{Kept, KeptKey, Record, Store};

use super::keys::Seen;
use super::outcome::Outcome;
use super::publication::Given;
use super::queue::Pending;
use super::{Delivered, Hub, INBOX_LIMIT, Publication, PublishError, Receipt, State};

impl Hub {
    /// Gives a publication its id, keeps it and hands it to the workers.
    pub fn publish(&self, publication: Publication, now: Timestamp) -> Result<Receipt, PublishError> {
        let mut receipts = self.publish_all(vec![publication], now)?;
        // One publication in, one receipt out.
        receipts.pop().ok_or(PublishError::Overloaded)
    }

    /// Publishes all of a batch, with nothing of others in between, or nothing of it.
    pub fn publish_all(&self, batch: Vec<Publication>, now: Timestamp) -> Result<Vec<Receipt>, PublishError> {
        self.publish_remembered(batch, now, Timestamp::default())
    }

    /// The same, and remembers the keys of the batch until then at least, also those that were used before: for one
    /// who can hand in the same until then.
    pub fn publish_remembered(
        &self,
        batch: Vec<Publication>,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Receipt>, PublishError> {
        let mut wake: SmallVec<[usize; 8]> = SmallVec::new();
        let mut given: Vec<Given> = Vec::with_capacity(batch.len());
        let since = Instant::now();
        // Before the lock: there may be much to read.
        let digests: SmallVec<[u64; 1]> = batch
            .iter()
            .map(|publication| publication.key.as_ref().map_or(0, |_| publication.digest()))
            .collect();
        if self.0.is_node {
            let ordered = self.order_all(batch, &digests, (now, until));
            return ordered.inspect_err(|why| self.lock().counts.refuse(why));
        }
        {
            let mut state = self.lock();
            let admitted = self.admit(&mut state, &batch, &digests, (now, since));
            let seen = admitted.inspect_err(|why| state.counts.refuse(why))?;
            for ((publication, digest), seen) in batch.into_iter().zip(digests).zip(seen) {
                given.push(match seen {
                    Admitted::Before(before) => {
                        state.remember(publication.key.as_deref(), until);
                        before
                    }
                    Admitted::Twin(index) => given[index].clone(),
                    Admitted::New => {
                        self.accept(&mut state, publication, digest, (now, until, since), &mut wake)
                    }
                });
            }
            if state.queue.end_batch() {
                self.0.more.notify_one();
            }
        }
        self.wake(&wake);
        Ok(given.into_iter().map(Receipt::from).collect())
    }

    /// Keeps a publication that was admitted, under an id of its own, and hands it out if that is all it takes.
    fn accept(
        &self,
        state: &mut State,
        publication: Publication,
        digest: u64,
        (now, until, since): (Timestamp, Timestamp, Instant),
        wake: &mut SmallVec<[usize; 8]>,
    ) -> Given {
        state.given += 1;
        state.counts.published += 1;
        let id = EventId { epoch: state.epoch, seq: state.given };
        let Publication { channels, event, ttl, key, collapse } = publication;
        let until = state.keys.until(now).max(until);
        let expires = ttl.map(|ttl| now.after(ttl));
        let frame = event.frame(id).until(expires);
        let record = Record { seq: id.seq, frame: frame.clone(), at: now, expires, collapse };
        let delivered = match &mut state.store {
            Store::Memory(memory) => {
                state.recent.note(&record, &channels);
                memory.append(&channels, record);
                (state.head, state.settled) = (id.seq, id.seq);
                self.hand_out(&state.interest, &channels, (id.seq, since), &frame, None, wake)
            }
            Store::Disk(_) | Store::Mirror(_) => {
                let key = key.clone().map(|name| KeptKey {
                    name,
                    digest,
                    id,
                    streams: state.interest.targets(&channels).streams,
                    until,
                });
                let outcome = Arc::new(Outcome::default());
                let kept = Kept { channels, record, key };
                state.queue.push(Pending { kept, since, is_last: false, outcome: outcome.clone() });
                Delivered::kept(outcome)
            }
        };
        let given = Given { id, delivered };
        if let Some(key) = key {
            state.keys.insert(&key, digest, given.clone(), until);
        }
        given
    }

    /// Checks everything that can refuse a batch, before anything of it is published.
    fn admit(
        &self,
        state: &mut State,
        batch: &[Publication],
        digests: &[u64],
        (now, since): (Timestamp, Instant),
    ) -> Result<Vec<Admitted>, PublishError> {
        let more = state.queue.len() + batch.len();
        if self.0.inboxes.iter().any(|inbox| inbox.len() + more > INBOX_LIMIT) {
            return Err(PublishError::Overloaded);
        }
        let bytes = batch.iter().map(|publication| publication.event.data.len() * publication.channels.len());
        if !state.queue.takes(batch.len(), bytes.sum(), since) {
            return Err(PublishError::NotKept);
        }
        let mut admitted = Vec::with_capacity(batch.len());
        let mut new: HashMap<&str, usize> = HashMap::new();
        for (index, (publication, &digest)) in batch.iter().zip(digests).enumerate() {
            let Some(key) = &publication.key else {
                admitted.push(Admitted::New);
                continue;
            };
            admitted.push(match (state.keys.get(key, digest, now), new.get(&**key)) {
                (Seen::Never, None) => {
                    new.insert(key, index);
                    Admitted::New
                }
                (Seen::Never, Some(&first)) if digests[first] == digest => Admitted::Twin(first),
                (Seen::Same(given), _) => Admitted::Before(given),
                (Seen::Never | Seen::Other, _) => return Err(PublishError::KeyReused { index }),
            });
        }
        let has_room = state.keys.make_room(new.len(), now);
        has_room.map_err(|wait| PublishError::TooManyKeys { wait })?;
        Ok(admitted)
    }
}

impl State {
    /// Remembers a known key until then at least, on disk too if its event is there.
    fn remember(&mut self, key: Option<&str>, until: Timestamp) {
        let Some(name) = key else { return };
        let Some((digest, Given { id, delivered })) = self.keys.extend(name, until) else { return };
        if let (Store::Disk(_), Some(streams)) = (&self.store, delivered.known()) {
            self.queue.keys.push(KeptKey { name: name.into(), digest, id, streams, until });
        }
    }
}

enum Admitted {
    New,
    /// The same as an earlier one of the batch.
    Twin(usize),
    Before(Given),
}
