//! What was handed out lately, by id: history does not say for what channels an event was, nor that it has let go of it.
//!
//! Invariant: what came after [`Recent::since`] and was handed out here is noted, at a cost for each publication and none
//! for each stream.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::event::{ChannelName, Timestamp};
use crate::store::Record;

/// How many are noted: some hundred bytes each.
const NOTED: usize = 16_384;

/// Of how many channels of each the names are noted.
const NAMED: usize = 8;

/// An event that was handed out.
#[derive(Debug, Clone)]
pub(super) struct Noted {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) expires: Option<Timestamp>,
    pub(super) collapse: Option<Box<str>>,
    pub(super) channels: SmallVec<[ChannelName; 1]>,
    /// Channels whose names are not noted.
    pub(super) unnamed: usize,
}

/// The newest of them.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// In the order of their numbers.
    noted: VecDeque<Noted>,
    since: u64,
    begun: u64,
}

impl Recent {
    /// Nothing yet, of an epoch whose head is known to be this.
    pub(super) fn beginning(head: u64) -> Self {
        Self { noted: VecDeque::new(), since: head, begun: head }
    }

    /// Notes an event, which must be newer than all before it.
    pub(super) fn note(&mut self, record: &Record, channels: &[ChannelName]) {
        if self.noted.len() == NOTED
            && let Some(oldest) = self.noted.pop_front()
        {
            self.since = oldest.seq;
        }
        let named = &channels[..channels.len().min(NAMED)];
        self.noted.push_back(Noted {
            seq: record.seq,
            at: record.at,
            expires: record.expires,
            collapse: record.collapse.clone(),
            channels: named.iter().cloned().collect(),
            unnamed: channels.len() - named.len(),
        });
    }

    /// What is noted of an event.
    pub(super) fn find(&self, seq: u64) -> Option<&Noted> {
        let place = self.noted.binary_search_by_key(&seq, |noted| noted.seq).ok()?;
        self.noted.get(place)
    }

    /// The newest event before this process, or before the epoch was known to it.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// What is not newer may have been forgotten.
    pub(super) fn since(&self) -> u64 {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Epoch, Event, EventId};

    fn note(recent: &mut Recent, seq: u64, channels: usize) {
        let event = Event { name: None, data: "x".into(), retry: None };
        let frame = event.frame(EventId { epoch: Epoch::from_bits(1), seq });
        let record = Record { seq, frame, at: Timestamp(seq), expires: None, collapse: None };
        let channels: Vec<_> = (0..channels).map(|n| ChannelName::new(&format!("c{n}")).unwrap()).collect();
        recent.note(&record, &channels);
    }

    #[test]
    fn the_newest_are_noted_and_it_is_known_how_far_they_reach() {
        let mut recent = Recent::beginning(10);
        assert_eq!((recent.since(), recent.begun()), (10, 10));
        let newest = 10 + 2 * (NOTED as u64 + 5);
        for seq in (12..=newest).step_by(2) {
            note(&mut recent, seq, 1);
        }
        assert_eq!((recent.since(), recent.begun(), recent.noted.len()), (20, 10, NOTED));
        for (seq, is_noted) in [(20, false), (21, false), (22, true), (newest, true), (newest + 2, false)] {
            assert_eq!(recent.find(seq).map(|noted| noted.at.0), is_noted.then_some(seq));
        }
    }

    #[test]
    fn of_many_channels_some_are_named() {
        let mut recent = Recent::beginning(0);
        note(&mut recent, 1, 3);
        note(&mut recent, 2, 1000);
        let named = |seq| recent.find(seq).map(|noted| (noted.channels.len(), noted.unnamed));
        assert_eq!((named(1), named(2)), (Some((3, 0)), Some((NAMED, 1000 - NAMED))));
    }
}
