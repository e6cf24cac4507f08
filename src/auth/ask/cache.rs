//! Answers that are kept for a while.
//!
//! Invariant: bounded in number and in bytes; the oldest makes room. What could not be answered is not kept.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Verdict;
use super::credential::Key;

/// The most answers of one provider.
const MAX_ANSWERS: usize = 10_000;
/// The most bytes of memory that they take, about.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// What an answer takes besides its claims, about.
const OVERHEAD: usize = 256;

/// How long it is remembered that nobody is signed in: shorter than it takes to sign in and come back.
const SIGNED_OUT: Duration = Duration::from_secs(1);

/// The answers of one provider.
#[derive(Debug, Default)]
pub(super) struct Cache {
    answers: HashMap<Key, Kept>,
    /// The keys, the oldest first. One that was kept anew is there twice, the first time with another number.
    order: VecDeque<(Key, u64)>,
    count: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    verdict: Verdict,
    asked: Instant,
    size: usize,
    number: u64,
}

impl Cache {
    /// An answer to a question that was asked less than `max_age` ago.
    pub(super) fn find(&self, key: &Key, max_age: Duration, now: Instant) -> Option<Verdict> {
        let kept = self.answers.get(key)?;
        let max_age = match kept.verdict {
            Verdict::Known(_) => max_age,
            Verdict::Refused(_) => max_age.min(SIGNED_OUT),
        };
        (now.saturating_duration_since(kept.asked) < max_age).then(|| kept.verdict.clone())
    }

    /// Keeps an answer whose claims take `size` bytes, to a question that was `asked` then.
    pub(super) fn keep(&mut self, key: Key, verdict: Verdict, asked: Instant, size: usize) {
        self.count += 1;
        let size = size + OVERHEAD;
        let kept = Kept { verdict, asked, size, number: self.count };
        self.bytes += size;
        if let Some(old) = self.answers.insert(key, kept) {
            self.bytes -= old.size;
        }
        self.order.push_back((key, self.count));
        while self.answers.len() > MAX_ANSWERS || self.bytes > MAX_BYTES || self.is_oldest_replaced() {
            let Some((key, number)) = self.order.pop_front() else { return };
            if self.answers.get(&key).is_some_and(|kept| kept.number == number)
                && let Some(old) = self.answers.remove(&key)
            {
                self.bytes -= old.size;
            }
        }
        if self.order.len() > 2 * self.answers.len() {
            let answers = &self.answers;
            self.order.retain(|(key, number)| answers.get(key).is_some_and(|kept| kept.number == *number));
        }
    }

    fn is_oldest_replaced(&self) -> bool {
        let Some((key, number)) = self.order.front() else { return false };
        self.answers.get(key).is_none_or(|kept| kept.number != *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Reason;

    const AGE: Duration = Duration::from_secs(30);

    fn key(n: usize) -> Key {
        let mut key = Key::default();
        key[..8].copy_from_slice(&n.to_be_bytes());
        key
    }

    fn known() -> Verdict {
        let identity = crate::auth::Identity { user: "42".into(), expires: None, claims: Default::default() };
        Verdict::Known(identity.into())
    }

    #[test]
    fn an_answer_has_its_time() {
        let begun = Instant::now();
        let mut cache = Cache::default();
        cache.keep(key(1), known(), begun, 10);
        cache.keep(key(2), Verdict::Refused(Reason::SignedOut), begun, 10);
        let found = |n, after| cache.find(&key(n), AGE, begun + after).is_some();
        assert!(found(1, Duration::ZERO) && found(1, AGE - Duration::from_millis(1)) && !found(1, AGE));
        assert!(found(2, Duration::from_millis(999)) && !found(2, SIGNED_OUT));
        assert!(!found(3, Duration::ZERO));
        assert!(cache.find(&key(1), Duration::ZERO, begun).is_none());
    }

    #[test]
    fn the_oldest_makes_room() {
        let now = Instant::now();
        let mut cache = Cache::default();
        for n in 0..MAX_ANSWERS + 5 {
            cache.keep(key(n), known(), now, 10);
        }
        assert_eq!(cache.answers.len(), MAX_ANSWERS);
        assert!(cache.find(&key(4), AGE, now).is_none() && cache.find(&key(5), AGE, now).is_some());
        cache.keep(key(0), known(), now, MAX_BYTES - 10 * OVERHEAD);
        assert!(cache.bytes <= MAX_BYTES && cache.answers.len() <= 10);
        assert!(cache.find(&key(0), AGE, now).is_some());
    }

    #[test]
    fn one_that_is_kept_over_and_over_stays_one() {
        let now = Instant::now();
        let mut cache = Cache::default();
        for _ in 0..1000 {
            cache.keep(key(1), known(), now, 10);
            cache.keep(key(2), known(), now, 10);
        }
        assert_eq!((cache.answers.len(), cache.bytes), (2, 2 * (10 + OVERHEAD)));
        assert!(cache.order.len() <= 5, "{}", cache.order.len());
    }
}
