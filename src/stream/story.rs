//! What is remembered of a stream to tell which events it was given: a few numbers, and nothing for each event.

use std::cell::Cell;
use std::fmt;

use smallvec::SmallVec;

use crate::hub::{Began, Start};

/// So many gaps of a stream are told apart; of more, the oldest are taken for one.
const GAPS: usize = 4;

/// What was missing, each from behind the first up to and with the second.
pub(super) type Gaps = SmallVec<[(u64, u64); 1]>;

/// Where a stream began, and what it was told was missing.
pub(super) struct Story {
    first: Cell<u64>,
    began: Began,
    /// Boxed: few streams ever have one.
    gaps: Cell<Option<Box<Gaps>>>,
}

impl Story {
    /// Of a stream that was registered as it `came`, and given its first page.
    pub(super) fn of(came: &Start, start: &Start, is_unread: bool) -> Self {
        let story = match (is_unread, start.resumed) {
            (true, _) => Self::new(Began::Unread, start.head),
            (false, true) => Self::new(Began::Resumed, came.cursor.seq),
            (false, false) => Self::new(Began::Now, start.head),
        };
        if start.gap.is_some() {
            // An id that is not good says nothing of what its client has.
            story.miss(if came.resumed { came.cursor.seq } else { 0 }, start.head);
        }
        story
    }

    /// It is given what is above `first`.
    pub(super) fn new(began: Began, first: u64) -> Self {
        Self { first: Cell::new(first), began, gaps: Cell::new(None) }
    }

    pub(super) fn first(&self) -> u64 {
        self.first.get()
    }

    pub(super) fn began(&self) -> Began {
        self.began
    }

    /// Notes that it was told of a gap.
    pub(super) fn miss(&self, after: u64, upto: u64) {
        let mut gaps = self.gaps.take().unwrap_or_default();
        if gaps.len() == GAPS {
            let (after, _) = gaps.remove(0);
            gaps[0].0 = after;
        }
        gaps.push((after, upto));
        self.gaps.set(Some(gaps));
    }

    /// Begins anew in another epoch, above `first`.
    pub(super) fn begin_anew(&self, first: u64) {
        self.first.set(first);
        self.gaps.set(None);
    }

    pub(super) fn gaps(&self) -> Gaps {
        let gaps = self.gaps.take();
        let told = gaps.as_deref().cloned().unwrap_or_default();
        self.gaps.set(gaps);
        told
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
    fn many_gaps_become_few_that_hide_none() {
        let story = Story::new(Began::Now, 5);
        assert_eq!(story.gaps().len(), 0);
        for n in 0..10 {
            story.miss(10 * n, 10 * n + 2);
        }
        assert_eq!(story.gaps().to_vec(), [(0, 62), (70, 72), (80, 82), (90, 92)]);
        story.begin_anew(7);
        assert_eq!((story.first(), story.gaps().len()), (7, 0));
    }
}
