//! Holds what a reader was told against what was published.

use std::collections::HashMap;

use super::ledger::{Id, Ledger, Outcome};
use super::options::{Options, Store};
use super::reader::{Reason, Said, Seen};
use super::report::{Breach, Report};
use super::world::LAST;

/// So many publications may be on their way with each publisher when a reader is told of a gap.
const ON_THEIR_WAY: u64 = 16;

/// Holds all that readers saw against the ledger.
pub(super) struct Verdict<'a> {
    pub(super) options: &'a Options,
    pub(super) ledger: &'a Ledger,
    pub(super) report: &'a mut Report,
    /// The id under which each publication was first seen, in its epoch.
    known: HashMap<(u64, u32), Id>,
}

impl<'a> Verdict<'a> {
    pub(super) fn new(options: &'a Options, ledger: &'a Ledger, report: &'a mut Report) -> Self {
        Self { options, ledger, report, known: HashMap::new() }
    }

    /// One reader's record.
    pub(super) fn hold(&mut self, reader: usize, seen: &Seen) {
        let mut walk = Walk { reader, channels: seen.channels, at: None, moved: None };
        for said in &seen.said {
            if let Some(to) = walk.moved
                && !matches!(said, Said::Reset { .. })
            {
                let from = walk.at.unwrap_or(to);
                self.report.breach(Breach::Silent, format!("reader {reader}: from {from} to {to}"));
                (walk.at, walk.moved) = (Some(to), None);
            }
            match *said {
                Said::Opened(id) => {
                    self.report.streams += 1;
                    walk.moved = id.and_then(|id| self.moved(&mut walk, id));
                }
                // It is cut then, and has to come back like any other.
                Said::Failed if self.options.disk_full || self.options.redis => self.report.failed += 1,
                Said::Failed => {
                    self.report
                        .breach(Breach::Protocol, format!("reader {reader}: history could not be read"));
                }
                Said::Event { id, stamp } => self.event(&mut walk, id, stamp),
                Said::Reset { id, reason, newest, at } => {
                    self.reset(&walk, id, reason, newest, at);
                    (walk.at, walk.moved) = (Some(id), None);
                }
            }
        }
        if !seen.is_whole {
            let at = walk.at.map_or_else(|| "nowhere".to_owned(), |at| at.to_string());
            self.report
                .breach(Breach::Protocol, format!("reader {reader} never saw the last event: at {at}"));
        }
    }

    /// Where a stream that opens with an id has moved its reader to without a word; past what is not for its channels it may.
    fn moved(&self, walk: &mut Walk, id: Id) -> Option<Id> {
        let at = *walk.at.get_or_insert(id);
        let behind = Id { seq: id.seq + 1, ..id };
        let is_free = id.epoch == at.epoch
            && id >= at
            && self.ledger.between(at, behind, walk.channels).next().is_none();
        if is_free {
            walk.at = Some(id);
        }
        (!is_free).then_some(id)
    }

    fn event(&mut self, walk: &mut Walk, id: Id, stamp: u64) {
        let reader = walk.reader;
        self.report.delivered += 1;
        let at = walk.at.unwrap_or(Id { seq: id.seq - 1, ..id });
        if id <= at {
            let breach = if id == at { Breach::Duplicate } else { Breach::Order };
            self.report.breach(breach, format!("reader {reader}: {id} after {at}"));
            return;
        }
        if id.epoch != at.epoch {
            self.report.breach(Breach::Silent, format!("reader {reader}: from {at} to {id}"));
        }
        self.nothing_missing(walk, at, id);
        walk.at = Some(id);
        let first = *self.known.entry((stamp, id.epoch)).or_insert(id);
        if first != id {
            self.report.breach(Breach::Duplicate, format!("{stamp} was stored as {first} and as {id}"));
        }
        let Some(publication) = self.ledger.by_stamp.get(&stamp) else {
            self.report.breach(Breach::Stray, format!("reader {reader}: nobody has published {stamp}"));
            return;
        };
        if publication.channels & walk.channels == 0 {
            self.report.breach(Breach::Stray, format!("reader {reader}: {stamp} is not for its channels"));
        }
        match publication.outcome {
            // In another epoch it may be there from an attempt that was not answered.
            Outcome::Acknowledged(own) if own == id || own.epoch > id.epoch && publication.unanswered > 0 => {
            }
            Outcome::Acknowledged(own) => {
                self.report.breach(Breach::Duplicate, format!("{stamp} is {own}, but came as {id}"));
            }
            Outcome::Refused => {
                self.report
                    .breach(Breach::Stray, format!("reader {reader}: {stamp} was refused, but came as {id}"));
            }
            Outcome::Unknown | Outcome::Passing => {}
        }
    }

    fn nothing_missing(&mut self, walk: &Walk, after: Id, before: Id) {
        for (id, publication) in self.ledger.between(after, before, walk.channels) {
            let (reader, stamp) = (walk.reader, publication.stamp);
            self.report.breach(
                Breach::Loss,
                format!("reader {reader}: {id} ({stamp}), between {after} and {before}"),
            );
        }
    }

    fn reset(&mut self, walk: &Walk, id: Id, reason: Reason, newest: Id, at: u32) {
        *self.report.resets.entry(reason).or_default() += 1;
        let Some(from) = walk.at else { return };
        let is_right = match reason {
            Reason::Expired => self.may_have_gone(walk, from, id.max(newest), at),
            // How often one may begin is held elsewhere.
            Reason::NewEpoch => {
                (self.options.redis || self.options.store == Store::Memory) && id.epoch > from.epoch
            }
            // Nobody asks for anything but what they were told.
            Reason::UnknownId => false,
        };
        if !is_right {
            let what = format!("reader {}: {reason:?} from {from} to {id}", walk.reader);
            self.report.breach(Breach::Reset, what);
        }
        if id < from {
            self.report.breach(Breach::Order, format!("reader {}: reset from {from} to {id}", walk.reader));
        }
    }

    /// Whether events past this id may have left the history of one of the channels: there have been more since than it
    /// keeps, or the first is too old.
    fn may_have_gone(&self, walk: &Walk, from: Id, newest: Id, at: u32) -> bool {
        let on_their_way = ON_THEIR_WAY * u64::from(self.options.publishers);
        let before = Id { seq: newest.seq + on_their_way, ..newest };
        (0..32).map(|bit| walk.channels & (1 << bit)).filter(|channel| *channel != 0).any(|channel| {
            let mut past = self.ledger.between(from, before, channel).peekable();
            let first = past.peek().map(|(_, publication)| publication.begun);
            // What is handed in is stamped later, so it is no older than this.
            let is_old =
                first.is_some_and(|begun| at.saturating_sub(begun) >= self.options.age.saturating_mul(1000));
            // One that was never answered may be kept too.
            is_old || past.count() as u64 + on_their_way > self.options.history as u64
        })
    }
}

/// A reader on its way through what it was told.
struct Walk {
    reader: usize,
    channels: u32,
    /// Its last id.
    at: Option<Id>,
    /// The id that a stream opened with, if that is another.
    moved: Option<Id>,
}

/// Adds up what became of the publications.
pub(super) fn count(ledger: &Ledger, report: &mut Report) {
    for publication in ledger.by_stamp.values().filter(|publication| publication.stamp != LAST) {
        report.published += 1;
        report.resent += u64::from(publication.again);
        match publication.outcome {
            Outcome::Acknowledged(_) | Outcome::Passing => report.acknowledged += 1,
            Outcome::Refused => report.refused += 1,
            Outcome::Unknown => report.unknown += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::ledger::Publication;
    use super::*;

    fn id(seq: u64) -> Id {
        Id { epoch: u32::try_from(seq / 100).unwrap(), seq }
    }

    fn event(seq: u64) -> Said {
        Said::Event { id: id(seq), stamp: seq }
    }

    fn reset(seq: u64, reason: Reason) -> Said {
        Said::Reset { id: id(seq), reason, newest: id(seq), at: 0 }
    }

    /// Events 1 to 9, of which the even ones are for its channel, but 8 was refused; and in another epoch 102.
    fn found(words: &str, said: &[Said]) -> Vec<(Breach, usize)> {
        let words = ["faults", "--publishers", "1"].into_iter().chain(words.split_whitespace());
        let options = Options::parse_from(words);
        let mut ledger = Ledger::default();
        for seq in (1..10).chain([102]) {
            let outcome = if seq == 8 { Outcome::Refused } else { Outcome::Acknowledged(id(seq)) };
            let channels = if seq % 2 == 0 { 1 } else { 2 };
            let publication =
                Publication { stamp: seq, channels, begun: 0, again: 0, unanswered: 0, outcome };
            assert_eq!(ledger.add(publication), None);
        }
        let mut report = Report::new("", 0);
        let said = [&[Said::Opened(Some(id(1)))], said].concat();
        let mut verdict = Verdict::new(&options, &ledger, &mut report);
        verdict.hold(0, &Seen { channels: 1, said, is_whole: true });
        use Breach::{Duplicate, Loss, Order, Protocol, Silent, Stray};
        let all = [Loss, Duplicate, Order, Stray, Silent, Breach::Reset, Protocol];
        all.into_iter().map(|breach| (breach, report.count(breach))).filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn what_is_not_as_promised_is_found() {
        use Said::Opened;
        let whole = [event(2), event(4), event(6)];
        assert_eq!(found("", &whole), []);
        assert_eq!(found("", &[event(2), Opened(Some(id(2))), event(4), event(6)]), []);
        assert_eq!(found("", &[event(2), event(6)]), [(Breach::Loss, 1)]);
        assert_eq!(found("", &[event(2), event(2), event(4)]), [(Breach::Duplicate, 1)]);
        assert_eq!(found("", &[event(2), event(4), event(2)]), [(Breach::Order, 1)]);
        let twice = Said::Event { id: id(7), stamp: 6 };
        assert_eq!(found("", &[&whole[..], &[twice]].concat()), [(Breach::Duplicate, 2)]);
        assert_eq!(found("", &[&whole[..], &[event(8)]].concat()), [(Breach::Stray, 1)]);
        assert_eq!(found("", &[event(2), event(3)]), [(Breach::Stray, 1)]);
        assert_eq!(
            found("", &[event(2), event(4), Said::Event { id: id(5), stamp: 77 }]),
            [(Breach::Stray, 1)]
        );
        // Moved on past 3, which is not for it.
        assert_eq!(found("", &[event(2), Opened(Some(id(3))), event(4), event(6)]), []);
        // Moved on past 4, with and without a word, and with a word that came too late.
        assert_eq!(found("", &[event(2), Opened(Some(id(5))), event(6)]), [(Breach::Silent, 1)]);
        assert_eq!(
            found("", &[event(2), Opened(Some(id(5))), Opened(Some(id(5))), event(6)]),
            [(Breach::Silent, 1)]
        );
        let told = [event(2), Opened(None), reset(5, Reason::Expired), event(6)];
        assert_eq!(found("--history 1", &told), []);
        assert_eq!(found("", &told), [(Breach::Reset, 1)]);
        let told = [event(2), Opened(None), reset(101, Reason::NewEpoch), event(102)];
        assert_eq!(found("--store memory", &told), []);
        assert_eq!(found("", &told), [(Breach::Reset, 1)]);
        assert_eq!(found("", &[event(2), Said::Failed]), [(Breach::Protocol, 1)]);
        assert_eq!(found("--disk-full", &[event(2), Said::Failed, Opened(Some(id(2))), event(4)]), []);
    }
}
