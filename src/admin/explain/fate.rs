//! What became of an event for one user: judged from what is known of the event and of each stream. Pure.
//!
//! Invariant: what the records do not say is [`Fate::Unknown`] for a stream and [`Outcome::Unknown`] in all; "written" is only
//! said of what was taken by a socket, or by the connection on HTTP/2.

use crate::event::{ChannelName, EventId, Timestamp};
use crate::hub::{Began, Standing, StreamRecord, Trace};

/// What became of it in all. The words are the interface's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    Queued,
    CutOff,
    Gap,
    Expired,
    Collapsed,
    Evicted,
    NotGranted,
    NotConnected,
    NeverPublished,
    OtherEpoch,
    Unknown,
}

impl Outcome {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Queued => "queued",
            Self::CutOff => "cut-off",
            Self::Gap => "gap",
            Self::Expired => "expired",
            Self::Collapsed => "collapsed",
            Self::Evicted => "evicted",
            Self::NotGranted => "not-granted",
            Self::NotConnected => "not-connected",
            Self::NeverPublished => "never-published",
            Self::OtherEpoch => "other-epoch",
            Self::Unknown => "unknown",
        }
    }
}

/// What became of it for one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its last byte was taken.
    Written,
    /// It was handed to the stream or is still to be, and waits.
    Queued,
    /// The stream ended before it was written.
    CutOff,
    /// The stream was told of a gap in its place.
    Gap,
    /// When its turn came, it was of no use any more.
    PassedOver,
    /// The stream was open, and none of its channels is the event's.
    NotGranted,
    /// The stream's client came with a later id, as one that has had it.
    ResumedAfter,
    /// The stream began after it.
    OpenedAfter,
    /// The stream ended before it was handed out.
    EndedBefore,
    Unknown,
}

impl Fate {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Queued => "queued",
            Self::CutOff => "cut-off",
            Self::Gap => "gap",
            Self::PassedOver => "passed-over",
            Self::NotGranted => "not-granted",
            Self::ResumedAfter => "resumed-after",
            Self::OpenedAfter => "opened-after",
            Self::EndedBefore => "ended-before",
            Self::Unknown => "unknown",
        }
    }
}

/// How far the records of streams reach back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// All streams that have ended since are known.
    pub(super) since: Timestamp,
    /// Whether some are not that have ended before; else the process began then.
    pub(super) has_forgotten: bool,
}

/// An event and a user.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) id: EventId,
    /// The user's own channel.
    pub(super) own: ChannelName,
    pub(super) trace: Trace,
    /// How far the records of streams reach back; none if a worker did not answer.
    pub(super) reach: Option<Reach>,
}

impl Case {
    /// What became of it, by what became of it for each of the user's streams.
    pub(super) fn outcome(&self, fates: &[Fate]) -> Outcome {
        let standing = self.trace.standing;
        match standing {
            Standing::OtherEpoch => return Outcome::OtherEpoch,
            Standing::Later { .. } | Standing::NeverKept => return Outcome::NeverPublished,
            Standing::Writing => return Outcome::Queued,
            _ => {}
        }
        let for_streams = [
            (Fate::Written, Outcome::Delivered),
            (Fate::Queued, Outcome::Queued),
            (Fate::CutOff, Outcome::CutOff),
            (Fate::Gap, Outcome::Gap),
        ];
        if let Some((_, outcome)) = for_streams.into_iter().find(|(fate, _)| fates.contains(fate)) {
            return outcome;
        }
        if self.is_for_others() || fates.contains(&Fate::NotGranted) {
            return Outcome::NotGranted;
        }
        let was_there = fates.contains(&Fate::PassedOver);
        if !was_there && !self.reaches_back() {
            return Outcome::Unknown;
        }
        match standing {
            Standing::Outlived | Standing::TooOld => Outcome::Expired,
            Standing::Collapsed { .. } => Outcome::Collapsed,
            Standing::Dropped => Outcome::Evicted,
            Standing::Kept if !fates.contains(&Fate::Unknown) => Outcome::NotConnected,
            _ => Outcome::Unknown,
        }
    }

    /// Whether it was only for other users, whose channels nobody else is given.
    pub(super) fn is_for_others(&self) -> bool {
        let Trace { channels, knows_channels, .. } = &self.trace;
        *knows_channels && channels.iter().all(|channel| channel.belongs_to_user() && *channel != self.own)
    }

    /// Whether all streams are known that were open when it was published.
    pub(super) fn reaches_back(&self) -> bool {
        let Trace { at, is_ours, .. } = self.trace;
        let is_after = |Reach { since, has_forgotten }| !has_forgotten || at.is_some_and(|at| since < at);
        is_ours && self.reach.is_some_and(is_after)
    }

    /// What became of it for a stream of the same epoch, whose worker wrote it `at` this time to those that were live.
    pub(super) fn fate(&self, record: &StreamRecord, at: Option<Timestamp>) -> Fate {
        let seq = self.id.seq;
        let StreamRecord { first, head, cursor, handed, is_reading, unwritten, .. } = *record;
        let has_ended = record.ended.is_some();
        let waits = if has_ended { Fate::CutOff } else { Fate::Queued };
        let shares = self.shares_channel(record);
        if shares == Some(false) {
            return if self.was_open(record) { Fate::NotGranted } else { self.beside(record) };
        }
        if record.gaps.iter().any(|(after, upto)| *after < seq && seq <= *upto) {
            return Fate::Gap;
        }
        let is_unread = record.began == Began::Unread && seq <= head;
        if seq <= first && !(is_unread && self.trace.channels.contains(&self.own)) {
            return self.beside(record);
        }
        if seq > handed.max(head) && has_ended {
            return Fate::EndedBefore;
        }
        if shares.is_none() {
            return Fate::Unknown;
        }
        let doubt = match self.was_of_use(record, at) {
            Some(true) => None,
            Some(false) => return Fate::PassedOver,
            None => Some(Fate::Unknown),
        };
        let has_left = unwritten.is_none_or(|oldest| seq < oldest);
        if seq <= cursor && has_left {
            return doubt.unwrap_or(Fate::Written);
        }
        // One that was handed out and not taken is to be read in history, or was not there any more.
        let is_to_come = seq <= cursor || seq > handed.max(head) || is_reading || has_ended;
        if is_to_come { waits } else { Fate::Unknown }
    }

    /// Whether a stream has a channel of the event.
    fn shares_channel(&self, record: &StreamRecord) -> Option<bool> {
        let Trace { channels, knows_channels, .. } = &self.trace;
        match record.channels.iter().any(|channel| channels.contains(channel)) {
            true => Some(true),
            false => knows_channels.then_some(false),
        }
    }

    /// Whether a stream was open when it was handed out, of which its worker was not told.
    fn was_open(&self, record: &StreamRecord) -> bool {
        let is_later = |ended| self.trace.at.is_some_and(|at| at <= ended);
        self.id.seq > record.head
            && record.ended.is_none_or(|(ended, _)| self.id.seq <= record.handed || is_later(ended))
    }

    /// What is said of a stream that was not there.
    fn beside(&self, record: &StreamRecord) -> Fate {
        match record.began {
            _ if self.id.seq > record.head => Fate::EndedBefore,
            Began::Resumed if self.id.seq <= record.first => Fate::ResumedAfter,
            _ => Fate::OpenedAfter,
        }
    }

    /// Whether it was still of use when a stream's turn came; none if that is not known.
    fn was_of_use(&self, record: &StreamRecord, at: Option<Timestamp>) -> Option<bool> {
        let seq = self.id.seq;
        let StreamRecord { began, head, was_behind, outlived_before, .. } = *record;
        let is_replay = seq <= head;
        if record.outlived.contains(&seq) {
            return Some(false);
        }
        match self.trace.standing {
            // The events of its key were there when it was opened, or came later.
            Standing::Collapsed { by: Some((by, _)) } if is_replay && by.seq <= head => return Some(false),
            Standing::Collapsed { by: Some(_) } if was_behind => return None,
            Standing::Collapsed { by: None } if is_replay => return None,
            // What was gone when the stream was opened was no gap, where it began with what was unread.
            Standing::Dropped | Standing::TooOld if is_replay && began == Began::Unread => return None,
            _ => {}
        }
        let Some(expires) = self.trace.expires else { return Some(true) };
        if is_replay && expires <= record.opened {
            return Some(false);
        }
        let is_over = self.trace.standing == Standing::Outlived;
        let is_known = !was_behind && (is_replay || at.is_some());
        (is_known && seq > outlived_before || !is_over).then_some(true)
    }
}

#[cfg(test)]
mod tests;
