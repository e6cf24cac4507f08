//! What was published, and what became of it.

use std::collections::BTreeMap;
use std::fmt;

/// An event's id. Epochs are numbered in the order in which they were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) epoch: u32,
    pub(super) seq: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

/// What a publisher was told in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was given this id.
    Acknowledged(Id),
    /// It was given an id, and is of use for a while only: it may reach a reader or not.
    Passing,
    /// Every attempt was answered, with an error.
    Refused,
    /// An attempt was not answered, and it was not tried again.
    Unknown,
}

/// One publication.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    /// What tells it from all others. It is its data.
    pub(super) stamp: u64,
    /// Its channels, by bits.
    pub(super) channels: u32,
    /// When it was first handed in, in milliseconds of the run.
    pub(super) begun: u32,
    /// How often it was handed in again.
    pub(super) again: u32,
    /// How many of its attempts got no answer.
    pub(super) unanswered: u32,
    pub(super) outcome: Outcome,
}

/// All publications.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) by_stamp: BTreeMap<u64, Publication>,
    /// The stamps of what was acknowledged.
    pub(super) by_id: BTreeMap<Id, u64>,
}

impl Ledger {
    /// Puts in what one publisher has done. Says what is wrong with it.
    pub(super) fn add(&mut self, publication: Publication) -> Option<String> {
        let Publication { stamp, outcome, .. } = publication;
        self.by_stamp.insert(stamp, publication);
        let Outcome::Acknowledged(id) = outcome else { return None };
        let other = self.by_id.insert(id, stamp)?;
        Some(format!("{id} was given to {other} and to {stamp}"))
    }

    /// What was acknowledged with an id between these two, for some of these channels.
    pub(super) fn between(
        &self,
        after: Id,
        before: Id,
        channels: u32,
    ) -> impl Iterator<Item = (Id, &Publication)> {
        use std::ops::Bound::Excluded;
        // An empty range must not look like one that is the wrong way round.
        let before = before.max(Id { seq: after.seq + 1, ..after });
        let ids = self.by_id.range((Excluded(after), Excluded(before)));
        let publications = ids.filter_map(|(id, stamp)| Some((*id, self.by_stamp.get(stamp)?)));
        publications.filter(move |(_, publication)| publication.channels & channels != 0)
    }
}
