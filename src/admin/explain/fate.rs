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

/// An event and a user.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) id: EventId,
    /// The user's own channel.
    pub(super) own: ChannelName,
    pub(super) trace: Trace,
    /// All streams that have ended since are known; none if a worker did not answer.
    pub(super) since: Option<Timestamp>,
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
        self.trace.at.zip(self.since).is_some_and(|(at, since)| since < at)
    }

    /// What became of it for a stream of the same epoch.
    pub(super) fn fate(&self, record: &StreamRecord) -> Fate {
        let seq = self.id.seq;
        let StreamRecord { first, cursor, handed, is_reading, unwritten, .. } = *record;
        let shares = self.shares_channel(record);
        if shares == Some(false) {
            return if self.was_open(record) { Fate::NotGranted } else { self.beside(record) };
        }
        if record.gaps.iter().any(|(after, upto)| *after < seq && seq <= *upto) {
            return Fate::Gap;
        }
        let waits = if record.ended.is_some() { Fate::CutOff } else { Fate::Queued };
        if seq <= first {
            let is_own = record.began == Began::Unread && self.trace.channels.contains(&self.own);
            return match self.trace.standing {
                _ if !is_own => self.beside(record),
                _ if self.is_of_no_use(record) => Fate::PassedOver,
                Standing::Kept | Standing::Outlived if is_reading && seq > cursor => waits,
                Standing::Kept | Standing::Outlived if unwritten.is_some_and(|oldest| oldest <= seq) => waits,
                Standing::Kept | Standing::Outlived => Fate::Written,
                _ => Fate::Unknown,
            };
        }
        match shares {
            _ if seq > handed && record.ended.is_some() => Fate::EndedBefore,
            None => Fate::Unknown,
            _ if self.is_of_no_use(record) => Fate::PassedOver,
            _ if self.may_be_of_no_use(record) => Fate::Unknown,
            _ if seq <= cursor && unwritten.is_none_or(|oldest| seq < oldest) => Fate::Written,
            _ if seq <= cursor || seq > handed || is_reading || record.ended.is_some() => waits,
            _ if self.trace.expires.is_some() => Fate::PassedOver,
            _ => Fate::Unknown,
        }
    }

    /// Whether a stream has a channel of the event.
    fn shares_channel(&self, record: &StreamRecord) -> Option<bool> {
        let Trace { channels, knows_channels, .. } = &self.trace;
        match record.channels.iter().any(|channel| channels.contains(channel)) {
            true => Some(true),
            false => knows_channels.then_some(false),
        }
    }

    fn was_open(&self, record: &StreamRecord) -> bool {
        let seq = self.id.seq;
        match self.trace.at {
            Some(at) => record.opened <= at && record.ended.is_none_or(|(ended, _)| at <= ended),
            None => record.first < seq && (record.ended.is_none() || seq <= record.handed),
        }
    }

    /// What is said of a stream that was not there.
    fn beside(&self, record: &StreamRecord) -> Fate {
        let is_before = match self.trace.at {
            Some(at) => record.ended.is_some_and(|(ended, _)| ended < at),
            None => self.id.seq > record.first,
        };
        match record.began {
            _ if is_before => Fate::EndedBefore,
            Began::Resumed => Fate::ResumedAfter,
            Began::Now | Began::Unread => Fate::OpenedAfter,
        }
    }

    /// Whether it was of no use any more when a stream was opened.
    fn is_of_no_use(&self, record: &StreamRecord) -> bool {
        let is_over = self.trace.expires.is_some_and(|expires| expires <= record.opened);
        let is_collapsed = match self.trace.standing {
            Standing::Collapsed { by: Some((_, at)) } => at <= record.opened,
            _ => false,
        };
        is_over || is_collapsed
    }

    /// Whether that is not known.
    fn may_be_of_no_use(&self, record: &StreamRecord) -> bool {
        let is_replay = self.trace.at.is_none_or(|at| at <= record.opened);
        is_replay && matches!(self.trace.standing, Standing::Collapsed { by: None })
    }
}
