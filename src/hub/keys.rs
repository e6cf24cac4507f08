//! Idempotency keys: the same publication handed in again gets the receipt of the first time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::event::{EventId, Timestamp};

use super::Receipt;

/// How long a key is remembered. Publishers are promised five minutes; a webhook's id has to be remembered for as long
/// as its signature can be good, which is from five minutes before its time to five minutes after.
pub(super) const REMEMBERED: Duration = Duration::from_secs(600);

/// How many keys are remembered at most; then the oldest is forgotten early.
const MAX_KEYS: usize = 100_000;

/// The keys of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: HashMap<Box<str>, Memo>,
    /// The same keys, oldest first.
    order: VecDeque<(Timestamp, Box<str>)>,
}

#[derive(Debug)]
struct Memo {
    digest: u64,
    receipt: Receipt,
    until: Timestamp,
}

/// What is known of a key.
pub(super) enum Seen {
    Never,
    Same(Receipt),
    Other,
}

impl Keys {
    pub(super) fn get(&self, key: &str, digest: u64, now: Timestamp) -> Seen {
        match self.known.get(key) {
            Some(memo) if memo.until <= now => Seen::Never,
            Some(memo) if memo.digest == digest => Seen::Same(memo.receipt.clone()),
            Some(_) => Seen::Other,
            None => Seen::Never,
        }
    }

    pub(super) fn insert(&mut self, key: Box<str>, digest: u64, receipt: Receipt, until: Timestamp) {
        if self.order.len() >= MAX_KEYS {
            self.forget_oldest();
        }
        self.order.push_back((until, key.clone()));
        self.known.insert(key, Memo { digest, receipt, until });
    }

    /// Forgets a key whose publication came to nothing.
    pub(super) fn take_back(&mut self, key: &str, id: EventId) {
        if self.known.get(key).is_some_and(|memo| memo.receipt.id == id) {
            self.known.remove(key);
        }
    }

    pub(super) fn sweep(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((until, key)) = self.order.pop_front() else {
            return;
        };
        // A key that was used again after its time has a younger memo, which stays.
        if self.known.get(&key).is_some_and(|memo| memo.until <= until) {
            self.known.remove(&key);
        }
    }
}
