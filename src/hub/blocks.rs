//! Blocks: users who may not come back for a while.

use std::collections::HashMap;
use std::time::Duration;

use crate::event::Timestamp;

/// How many users are blocked at most. Further ones are refused: to forget a block early would let somebody in.
pub(super) const MAX_BLOCKS: usize = 100_000;

/// The blocked users, each with the end of the block.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    until: HashMap<Box<str>, Timestamp>,
    /// No block ends before this.
    soonest: Timestamp,
}

impl Blocks {
    /// Blocks a user from `now` on. The last word counts: a shorter block takes the place of a longer one. False if
    /// there is no room, and then nothing has changed.
    pub(super) fn add(&mut self, user: &str, block: Duration, now: Timestamp) -> bool {
        if !self.has_room(user, now) {
            return false;
        }
        let until = now.after(block);
        self.soonest = if self.until.is_empty() { until } else { self.soonest.min(until) };
        self.until.insert(user.into(), until);
        true
    }

    /// Whether a user can be blocked.
    pub(super) fn has_room(&mut self, user: &str, now: Timestamp) -> bool {
        self.sweep(now);
        self.until.len() < MAX_BLOCKS || self.until.contains_key(user)
    }

    /// Takes over blocks that were agreed on elsewhere.
    pub(super) fn set(&mut self, blocks: impl IntoIterator<Item = (Box<str>, Timestamp)>) {
        for (user, until) in blocks {
            self.soonest = if self.until.is_empty() { until } else { self.soonest.min(until) };
            self.until.insert(user, until);
        }
    }

    /// Whether a user is blocked.
    pub(super) fn holds(&self, user: &str, now: Timestamp) -> bool {
        self.until.get(user).is_some_and(|until| now < *until)
    }

    /// Forgets the blocks that are over.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        if self.until.is_empty() || now < self.soonest {
            return;
        }
        self.until.retain(|_, until| now < *until);
        self.soonest = self.until.values().copied().min().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_block_is_over_at_its_end_and_then_forgotten() {
        let mut blocks = Blocks::default();
        assert!(blocks.add("a", MINUTE, NOW));
        assert!(blocks.add("b", 2 * MINUTE, NOW));
        assert!(blocks.holds("a", NOW) && !blocks.holds("c", NOW));
        let later = NOW.after(MINUTE);
        assert!(!blocks.holds("a", later) && blocks.holds("b", later));
        blocks.sweep(later);
        assert_eq!((blocks.until.len(), blocks.soonest), (1, NOW.after(2 * MINUTE)));
        blocks.sweep(NOW.after(3 * MINUTE));
        assert!(blocks.until.is_empty());
    }

    #[test]
    fn the_last_word_counts() {
        let mut blocks = Blocks::default();
        blocks.add("a", MINUTE, NOW);
        blocks.add("a", Duration::from_secs(1), NOW);
        assert!(!blocks.holds("a", NOW.after(Duration::from_secs(2))));
        blocks.add("a", MINUTE, NOW);
        assert!(blocks.holds("a", NOW.after(Duration::from_secs(2))));
    }

    #[test]
    fn when_full_it_takes_nobody_new_and_forgets_nobody() {
        let mut blocks = Blocks::default();
        for n in 0..MAX_BLOCKS {
            assert!(blocks.add(&n.to_string(), MINUTE, NOW));
        }
        assert!(!blocks.add("x", MINUTE, NOW));
        assert!(blocks.add("0", 2 * MINUTE, NOW));
        assert!(blocks.holds("1", NOW) && !blocks.holds("x", NOW));
        assert!(blocks.add("x", MINUTE, NOW.after(MINUTE)), "their time is over");
    }
}
