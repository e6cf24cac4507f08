//! What users have read: for each one a place up to which everything is read, and a few events above it.
//!
//! Invariant: a mark is only ever forgotten towards "unread": when a bound is reached, something is told again and
//! nothing is kept back. So that the marks stay few, one that no kept event lies before is part of the place.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::event::{ChannelName, Timestamp};

/// The most events of one user that are marked one by one, with an unread one before them. Of more, the oldest are
/// unread again.
pub const MAX_APART: usize = 1024;

/// What one user has read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Mark {
    up_to: u64,
    apart: BTreeSet<u64>,
    /// When it changed last.
    touched: Timestamp,
}

impl Mark {
    /// Everything up to and with this event is read; 0 is nothing.
    pub fn up_to(&self) -> u64 {
        self.up_to
    }

    /// Whether an event is read.
    pub fn holds(&self, seq: u64) -> bool {
        seq <= self.up_to || self.apart.contains(&seq)
    }

    /// Marks one event.
    pub fn add(&mut self, seq: u64) {
        if seq > self.up_to {
            self.apart.insert(seq);
        }
    }

    /// Marks everything up to and with an event.
    pub fn raise(&mut self, seq: u64) {
        if seq > self.up_to {
            self.up_to = seq;
            self.apart = self.apart.split_off(&(seq + 1));
        }
    }

    /// Moves the place up past all that is read, by `next`, which gives the first kept event past a place; then holds
    /// the rest to its bound.
    pub fn settle(&mut self, mut next: impl FnMut(u64) -> Option<u64>) {
        while let Some(last) = self.apart.last() {
            match next(self.up_to) {
                // The oldest kept event is not read, and nothing before it can be told any more.
                Some(unread) if !self.apart.contains(&unread) => {
                    self.raise(unread - 1);
                    break;
                }
                Some(read) => self.raise(read),
                None => self.raise(*last),
            }
        }
        while self.apart.len() > MAX_APART {
            self.apart.pop_first();
        }
    }
}

/// The marks of all users, by the channels that belong to them.
#[derive(Debug)]
pub struct Marks {
    users: HashMap<ChannelName, Mark>,
    /// Every user once, roughly in the order in which their marks changed last: who has changed since is put back
    /// when the turn comes.
    order: VecDeque<(Timestamp, ChannelName)>,
    max_users: usize,
    age: Duration,
}

impl Marks {
    /// No marks, and no room for any.
    pub(super) fn none() -> Self {
        Self::new(0, Duration::ZERO)
    }

    /// No marks yet, of at most so many users. Marks that have not changed for `age`, which is how long events are kept,
    /// have nothing left to speak of.
    pub fn new(max_users: usize, age: Duration) -> Self {
        Self { users: HashMap::new(), order: VecDeque::new(), max_users, age }
    }

    /// What a user has read, if anything.
    pub fn of(&self, user: &ChannelName) -> Option<&Mark> {
        self.users.get(user)
    }

    /// The mark of a user, to be changed.
    pub fn change(&mut self, user: &ChannelName, now: Timestamp) -> &mut Mark {
        if !self.users.contains_key(user) {
            while self.users.len() >= self.max_users {
                self.drop_oldest();
            }
            self.order.push_back((now, user.clone()));
        }
        let mark = self.users.entry(user.clone()).or_default();
        mark.touched = now;
        mark
    }

    /// Drops the marks of events that are gone. Cheap when there are none.
    pub fn sweep(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|(at, _)| at.after(self.age) < now) {
            self.drop_oldest();
        }
    }

    /// Drops the user at the front, or puts one back whose mark has changed since.
    fn drop_oldest(&mut self) {
        let Some((at, user)) = self.order.pop_front() else {
            return;
        };
        match self.users.get(&user) {
            Some(mark) if mark.touched > at => self.order.push_back((mark.touched, user)),
            _ => drop(self.users.remove(&user)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn marks_go_with_the_events_they_speak_of() {
        let [a, b, c] = ["a", "b", "c"].map(|user| ChannelName::of_user(user).unwrap());
        let mut marks = Marks::new(2, HOUR);
        marks.change(&a, Timestamp(0)).raise(1);
        marks.change(&b, Timestamp(1)).raise(2);
        marks.change(&a, Timestamp(10)).raise(3);
        // A third user takes the place of the one who has been quiet the longest.
        marks.change(&c, Timestamp(11)).raise(4);
        assert_eq!((marks.of(&a).map(Mark::up_to), marks.of(&b)), (Some(3), None));
        let hour = 3_600_000;
        marks.sweep(Timestamp(10 + hour));
        assert!(marks.of(&a).is_some());
        marks.sweep(Timestamp(11 + hour));
        assert_eq!((marks.of(&a), marks.of(&c).map(Mark::up_to)), (None, Some(4)));
        marks.sweep(Timestamp(12 + hour));
        assert!(marks.users.is_empty() && marks.order.is_empty());
    }

    #[test]
    fn too_many_apart_are_unread_again() {
        let mut mark = Mark::default();
        let many = MAX_APART as u64 + 10;
        for seq in 2..=many {
            mark.add(seq);
        }
        mark.settle(|_| Some(1));
        assert_eq!(mark.apart.len(), MAX_APART);
        assert!(!mark.holds(1) && !mark.holds(2) && mark.holds(many));
    }

    proptest! {
        /// Against a set that is never settled: of the events that are kept, the same are read.
        #[test]
        fn settling_changes_nothing_that_can_be_asked(
            steps in prop::collection::vec((1u64..60, prop::option::of(1u64..60), any::<bool>()), 1..60),
        ) {
            let mut kept: BTreeSet<u64> = (1..60).collect();
            let (mut mark, mut model) = (Mark::default(), BTreeSet::new());
            for (seq, gone, raise) in steps {
                if let Some(gone) = gone { kept.remove(&gone); }
                if raise {
                    mark.raise(seq);
                    model.extend(1..=seq);
                } else if kept.contains(&seq) {
                    mark.add(seq);
                    model.insert(seq);
                }
                mark.settle(|place| kept.range(place + 1..).next().copied());
                for seq in &kept {
                    prop_assert_eq!(mark.holds(*seq), model.contains(seq), "{}", seq);
                }
                // Nothing is held apart that could be part of the place.
                let first = kept.range(mark.up_to + 1..).next();
                prop_assert!(mark.apart.is_empty() || first.is_some_and(|first| !mark.apart.contains(first)));
            }
        }
    }
}
