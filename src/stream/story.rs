//! What is remembered of a stream to tell which events it was given: a few numbers, and nothing for each event.

use std::cell::Cell;
use std::fmt;

use smallvec::SmallVec;

use crate::hub::{Began, Start};
use crate::store::Page;

/// So many gaps of a stream are told apart; of more, the oldest are taken for one.
const GAPS: usize = 4;

/// So many events that it was not written, since their `ttl` was over while they waited, are known one by one.
const OUTLIVED: usize = 16;

/// Where a stream began, and what of the events since it was not given.
pub(super) struct Story {
    first: Cell<u64>,
    /// The head when it was registered.
    head: Cell<u64>,
    began: Began,
    was_behind: bool,
    /// Boxed: few streams ever miss anything.
    missed: Cell<Option<Box<Missed>>>,
}

/// What a stream was not given.
#[derive(Debug, Clone, Default)]
pub(super) struct Missed {
    /// What its client was told was missing, each from behind the first up to and with the second.
    pub(super) gaps: SmallVec<[(u64, u64); 1]>,
    /// Events whose time was over while they waited.
    pub(super) outlived: SmallVec<[u64; 1]>,
    /// There may be more of them up to and with this one.
    pub(super) outlived_before: u64,
}

impl Story {
    /// Of a stream that was registered as it `came`, and given its first page.
    pub(super) fn of(came: &Start, start: &Start, page: &Page, is_unread: bool) -> Self {
        let head = start.head;
        let (began, first) = match (is_unread, start.resumed) {
            (true, _) => (Began::Unread, head),
            (false, true) => (Began::Resumed, came.cursor.seq),
            (false, false) => (Began::Now, head),
        };
        let story = Self { was_behind: page.read < head, ..Self::new(began, first, head) };
        if start.gap.is_some() {
            // An id that is not good says nothing of what its client has.
            story.miss(if came.resumed { came.cursor.seq } else { 0 }, head);
        }
        story
    }

    /// Of one that is given what is above `first`.
    pub(super) fn new(began: Began, first: u64, head: u64) -> Self {
        let (first, head) = (Cell::new(first), Cell::new(head));
        Self { first, head, began, was_behind: false, missed: Cell::new(None) }
    }

    pub(super) fn first(&self) -> u64 {
        self.first.get()
    }

    pub(super) fn head(&self) -> u64 {
        self.head.get()
    }

    pub(super) fn was_behind(&self) -> bool {
        self.was_behind
    }

    pub(super) fn began(&self) -> Began {
        self.began
    }

    /// Notes that its client was told of a gap.
    pub(super) fn miss(&self, after: u64, upto: u64) {
        self.change(|Missed { gaps, .. }| {
            if gaps.len() == GAPS {
                let (after, _) = gaps.remove(0);
                gaps[0].0 = after;
            }
            gaps.push((after, upto));
        });
    }

    /// Notes that the time of an event was over while it waited.
    pub(super) fn outlive(&self, seq: u64) {
        self.change(|Missed { outlived, outlived_before, .. }| {
            if outlived.len() == OUTLIVED {
                *outlived_before = outlived.remove(0);
            }
            outlived.push(seq);
        });
    }

    /// Begins anew in another epoch, at its head.
    pub(super) fn begin_anew(&self, head: u64) {
        self.first.set(head);
        self.head.set(head);
        self.missed.set(None);
    }

    pub(super) fn missed(&self) -> Missed {
        let missed = self.missed.take();
        let told = missed.as_deref().cloned().unwrap_or_default();
        self.missed.set(missed);
        told
    }

    fn change(&self, change: impl FnOnce(&mut Missed)) {
        let mut missed = self.missed.take().unwrap_or_default();
        change(&mut missed);
        self.missed.set(Some(missed));
    }
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Story")
            .field("began", &self.began)
            .field("first", &self.first)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_that_was_missed_becomes_little_that_hides_nothing() {
        let story = Story::new(Began::Now, 5, 5);
        assert_eq!(story.missed().gaps.len(), 0);
        for n in 0..10 {
            story.miss(10 * n, 10 * n + 2);
        }
        for seq in 100..100 + OUTLIVED as u64 + 3 {
            story.outlive(seq);
        }
        let Missed { gaps, outlived, outlived_before } = story.missed();
        assert_eq!(gaps.to_vec(), [(0, 62), (70, 72), (80, 82), (90, 92)]);
        assert_eq!((outlived_before, outlived[0], outlived.len()), (102, 103, OUTLIVED));
        story.begin_anew(7);
        assert_eq!((story.first(), story.missed().gaps.len()), (7, 0));
    }
}
