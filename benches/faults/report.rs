//! What a run came to, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use super::reader::Reason;

/// The most breaches of a kind that are told one by one.
const MOST_TOLD: usize = 5;

/// What must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Breach {
    /// An acknowledged event did not reach a reader.
    Loss,
    /// A reader got an event twice, or one publication was stored twice.
    Duplicate,
    /// Events came in another order than that of their ids.
    Order,
    /// A reader got what was refused, or what is not for its channels, or what nobody has published.
    Stray,
    /// A reader was moved on past events and not told.
    Silent,
    /// A reader was told of a gap where there is none.
    Reset,
    /// Sidestream said what makes no sense, or did not come back.
    Protocol,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) mode: &'static str,
    pub(super) seed: u64,
    pub(super) rounds: usize,
    pub(super) epochs: usize,
    pub(super) published: u64,
    pub(super) acknowledged: u64,
    pub(super) resent: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
    pub(super) readers: usize,
    pub(super) streams: u64,
    pub(super) delivered: u64,
    pub(super) failed: u64,
    pub(super) resets: BTreeMap<Reason, u64>,
    pub(super) notes: Vec<String>,
    breaches: BTreeMap<Breach, Vec<String>>,
}

impl Report {
    pub(super) fn new(mode: &'static str, seed: u64) -> Self {
        Self { mode, seed, ..Self::default() }
    }

    pub(super) fn breach(&mut self, breach: Breach, what: impl Into<String>) {
        self.breaches.entry(breach).or_default().push(what.into());
    }

    pub(super) fn count(&self, breach: Breach) -> usize {
        self.breaches.get(&breach).map_or(0, Vec::len)
    }

    /// Whether everything was as promised.
    pub(super) fn is_clean(&self) -> bool {
        self.breaches.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, number: u64| writeln!(f, "{name:<16} {number:>12}");
        line(self.mode, self.rounds as u64)?;
        line("seed", self.seed)?;
        line("epochs", self.epochs as u64)?;
        line("published", self.published)?;
        line("acknowledged", self.acknowledged)?;
        line("handed in again", self.resent)?;
        line("refused", self.refused)?;
        line("never answered", self.unknown)?;
        line("readers", self.readers as u64)?;
        line("streams", self.streams)?;
        line("delivered", self.delivered)?;
        line("unread history", self.failed)?;
        for (name, reason) in [
            ("reset: expired", Reason::Expired),
            ("reset: epoch", Reason::NewEpoch),
            ("reset: unknown", Reason::UnknownId),
        ] {
            line(name, self.resets.get(&reason).copied().unwrap_or(0))?;
        }
        for (name, breach) in [
            ("losses", Breach::Loss),
            ("duplicates", Breach::Duplicate),
            ("order breaks", Breach::Order),
            ("strays", Breach::Stray),
            ("silent gaps", Breach::Silent),
            ("idle resets", Breach::Reset),
            ("other breaches", Breach::Protocol),
        ] {
            line(name, self.count(breach) as u64)?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for (breach, each) in &self.breaches {
            for what in each.iter().take(MOST_TOLD) {
                writeln!(f, "{breach:?}: {what}")?;
            }
        }
        writeln!(f, "{}", if self.is_clean() { "all as promised" } else { "NOT as promised" })
    }
}
