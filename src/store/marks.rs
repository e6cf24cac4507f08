//! What users have read: for each one a place up to which everything is read, and a few events above it.
//!
//! Invariant: a mark is only ever forgotten towards "unread": when a bound is reached, something is told again and
//! nothing is kept back. So that the marks stay few, one that no kept event lies before is part of the place.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::event::{ChannelName, Timestamp};

/// The most events of one user that are marked one by one, with an unread one before them. Of more, the oldest are
/// unread again.
pub const MAX_APART: usize = 1024;

/// The same while they wait to be settled, which a store on disk does a little later.
pub const MAX_UNSETTLED: usize = 8 * MAX_APART;

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

    /// Moves the place up past all that is read, by `kept`, the kept events past the place in order; then holds the
    /// rest to its bound. No more of `kept` is looked at than [`Mark::apart`] and one.
    pub fn settle(&mut self, kept: impl Iterator<Item = u64>) {
        let Some(last) = self.apart.last().copied() else {
            return;
        };
        let unread = kept.take_while(|seq| *seq <= last).find(|seq| !self.apart.contains(seq));
        // Before the oldest that is not read there is nothing that can be told any more.
        self.raise(unread.map_or(last, |unread| unread.saturating_sub(1)));
        self.hold_to(MAX_APART);
    }

    /// Takes note that it changes.
    pub fn touch(&mut self, now: Timestamp) {
        self.touched = self.touched.max(now);
    }

    /// How many events are marked one by one.
    pub fn apart(&self) -> usize {
        self.apart.len()
    }

    /// Takes over what another mark of the same user holds.
    fn absorb(&mut self, other: &Self) {
        self.raise(other.up_to);
        for seq in &other.apart {
            self.add(*seq);
        }
        self.touched = self.touched.max(other.touched);
    }

    /// Forgets the oldest of those marked one by one, as far as they are more.
    pub fn hold_to(&mut self, apart: usize) {
        while self.apart.len() > apart {
            self.apart.pop_first();
        }
    }

    /// The numbers that a store keeps of it.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        [self.touched.0, self.up_to].into_iter().chain(self.apart.iter().copied())
    }

    /// Reads them back, in a history that has given ids up to `head`: what it lost is not read.
    pub(super) fn of_numbers(mut numbers: impl Iterator<Item = u64>, head: u64) -> Option<Self> {
        let (touched, up_to) = (Timestamp(numbers.next()?), numbers.next()?.min(head));
        let apart = numbers.filter(|seq| (up_to + 1..=head).contains(seq)).collect();
        Some(Self { up_to, apart, touched })
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
    /// Whose marks have changed or gone since this was last asked; none where nobody asks.
    changed: Option<HashSet<ChannelName>>,
}

impl Marks {
    /// No marks yet, of at most so many users. Marks that have not changed for `age`, which is how long events are kept,
    /// have nothing left to speak of.
    pub fn new(max_users: usize, age: Duration) -> Self {
        Self { users: HashMap::new(), order: VecDeque::new(), max_users, age, changed: None }
    }

    /// The same for a store that keeps them, with what it has kept. From now on it is noted whose change.
    pub(super) fn kept(mut self, mut kept: Vec<(ChannelName, Mark)>) -> Self {
        self.changed = Some(HashSet::new());
        kept.sort_unstable_by_key(|(_, mark)| mark.touched);
        for (user, mark) in kept {
            let touched = mark.touched;
            *self.change(&user, touched) = mark;
        }
        // Only what there was no room for is news.
        let users = &self.users;
        self.changed.iter_mut().for_each(|changed| changed.retain(|user| !users.contains_key(user)));
        self
    }

    /// Whether it is noted whose marks change, and some have.
    pub fn has_changed(&self) -> bool {
        self.changed.as_ref().is_some_and(|changed| !changed.is_empty())
    }

    /// Whose marks have changed or gone since this was last asked.
    pub fn take_changed(&mut self) -> HashSet<ChannelName> {
        self.changed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What a user has read, if anything.
    pub fn of(&self, user: &ChannelName) -> Option<&Mark> {
        self.users.get(user)
    }

    /// The mark of a user, to be changed.
    pub fn change(&mut self, user: &ChannelName, now: Timestamp) -> &mut Mark {
        self.note(user);
        let mark = self.mark_of(user, now);
        mark.touched = now;
        mark
    }

    /// Takes over a mark that was kept, which is no change.
    pub fn absorb(&mut self, user: &ChannelName, kept: &Mark) {
        let mark = self.mark_of(user, kept.touched);
        mark.absorb(kept);
        mark.hold_to(MAX_UNSETTLED);
    }

    fn mark_of(&mut self, user: &ChannelName, now: Timestamp) -> &mut Mark {
        if !self.users.contains_key(user) {
            while self.users.len() >= self.max_users {
                self.drop_oldest();
            }
            self.order.push_back((now, user.clone()));
        }
        self.users.entry(user.clone()).or_default()
    }

    /// Forgets the mark of a user whose history is not held here any more.
    pub fn remove(&mut self, user: &ChannelName) {
        self.users.remove(user);
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
            _ => {
                self.users.remove(&user);
                self.note(&user);
            }
        }
    }

    fn note(&mut self, user: &ChannelName) {
        if let Some(changed) = &mut self.changed
            && !changed.contains(user)
        {
            changed.insert(user.clone());
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
        mark.settle(1..=many);
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
                mark.settle(kept.range(mark.up_to + 1..).copied());
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
