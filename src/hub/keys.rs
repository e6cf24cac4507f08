//! Idempotency keys: the same publication handed in again gets the receipt of the first time.
//!
//! Invariants: a key that was promised to be remembered is never forgotten early: where there is no room for another
//! one, its publication is refused; `due` holds exactly the keys of `known`; what is done at once about keys whose
//! time is over is bounded, so that the hub's lock is not held for long.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::event::{EventId, Timestamp};

use super::publication::Given;

/// How long a key is remembered, unless the operator says otherwise.
const WINDOW: Duration = Duration::from_secs(300);

/// How many keys are remembered at once, unless the operator says otherwise.
const MOST: usize = 1_000_000;

/// So many keys are forgotten by one sweep; a publication with a key forgets two more, if their time is over.
const SWEPT: usize = 10_000;

/// The keys of the last minutes.
#[derive(Debug)]
pub(super) struct Keys {
    known: HashMap<Arc<str>, Memo>,
    /// The same keys by the time until which they are remembered. The number is the event's, which no other key has.
    due: BTreeMap<(Timestamp, u64), Arc<str>>,
    window: Duration,
    most: usize,
    refused: u64,
}

#[derive(Debug)]
struct Memo {
    digest: u64,
    given: Given,
    until: Timestamp,
}

/// What is known of a key.
pub(super) enum Seen {
    Never,
    Same(Given),
    Other,
}

/// How the keys stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyCounts {
    /// Remembered now.
    pub remembered: usize,
    /// Publications refused because there was no room for their keys, since the start.
    pub refused: u64,
}

impl Default for Keys {
    fn default() -> Self {
        Self { known: HashMap::new(), due: BTreeMap::new(), window: WINDOW, most: MOST, refused: 0 }
    }
}

impl Keys {
    /// Sets how long a key is remembered from now on, and how many of them.
    pub(super) fn bound(&mut self, window: Duration, most: usize) {
        (self.window, self.most) = (window, most);
    }

    /// Until when a key is remembered that is used now.
    pub(super) fn until(&self, now: Timestamp) -> Timestamp {
        now.after(self.window)
    }

    pub(super) fn get(&self, key: &str, digest: u64, now: Timestamp) -> Seen {
        match self.known.get(key) {
            Some(memo) if memo.until <= now => Seen::Never,
            Some(memo) if memo.digest == digest => Seen::Same(memo.given.clone()),
            Some(_) => Seen::Other,
            None => Seen::Never,
        }
    }

    /// Makes room for so many more keys. Without room says how long it takes until there is some.
    pub(super) fn make_room(&mut self, keys: usize, now: Timestamp) -> Result<(), Duration> {
        if keys == 0 {
            return Ok(());
        }
        self.forget(now, 2 * keys);
        if self.known.len() + keys <= self.most {
            return Ok(());
        }
        self.refused += keys as u64;
        let first = self.due.keys().next().map_or(now.0, |(until, _)| until.0);
        Err(Duration::from_millis(first.saturating_sub(now.0)))
    }

    pub(super) fn insert(&mut self, key: &str, digest: u64, given: Given, until: Timestamp) {
        let seq = given.id.seq;
        let key: Arc<str> = key.into();
        // One whose time was over, and that no sweep had come to yet.
        if let Some(before) = self.known.insert(key.clone(), Memo { digest, given, until }) {
            self.due.remove(&(before.until, before.given.id.seq));
        }
        self.due.insert((until, seq), key);
    }

    /// Remembers a known key until then at least. Gives what is new about it: a digest and what was given.
    pub(super) fn extend(&mut self, key: &str, until: Timestamp) -> Option<(u64, Given)> {
        let memo = self.known.get_mut(key).filter(|memo| memo.until < until)?;
        let seq = memo.given.id.seq;
        let name = self.due.remove(&(memo.until, seq))?;
        self.due.insert((until, seq), name);
        memo.until = until;
        Some((memo.digest, memo.given.clone()))
    }

    /// Forgets a key whose publication came to nothing.
    pub(super) fn take_back(&mut self, key: &str, id: EventId) {
        if let Some(memo) = self.known.get(key).filter(|memo| memo.given.id == id) {
            self.due.remove(&(memo.until, id.seq));
            self.known.remove(key);
        }
    }

    pub(super) fn sweep(&mut self, now: Timestamp) {
        self.forget(now, SWEPT);
    }

    pub(super) fn counts(&self) -> KeyCounts {
        KeyCounts { remembered: self.known.len(), refused: self.refused }
    }

    /// Forgets keys whose time is over, the oldest first.
    fn forget(&mut self, now: Timestamp, most: usize) {
        for _ in 0..most {
            let Some(oldest) = self.due.first_entry().filter(|oldest| oldest.key().0 <= now) else { return };
            self.known.remove(&oldest.remove());
        }
    }
}

#[cfg(test)]
mod tests;
