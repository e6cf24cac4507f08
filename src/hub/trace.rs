//! What became of an event: whether it was published, what it was for, and whether history still has it.
//!
//! Invariant: what is not known is said to be unknown. Looking costs the hub's lock a few searches in logs, however many
//! channels there are, and the disk is read without it.

use std::sync::Arc;

use crate::event::{ChannelName, EventId, Timestamp};
use crate::store::{DiskError, Found, Record, Store};

use super::recent::Noted;
use super::{Hub, State, UnreadableError};

/// What is known of an event.
#[derive(Debug, Clone)]
pub struct Trace {
    /// How it stands.
    pub standing: Standing,
    /// Whether it was handed out by this process.
    pub is_ours: bool,
    /// When it was published.
    pub at: Option<Timestamp>,
    /// When its `ttl` is over.
    pub expires: Option<Timestamp>,
    /// The channels that it was for, as far as they are known.
    pub channels: Vec<ChannelName>,
    /// How many there were besides, whose names are not known.
    pub unnamed: usize,
    /// Whether `channels` and `unnamed` are all that it was for; else those of the channels asked about that keep it.
    pub knows_channels: bool,
    /// Whether its user has not read it: known of what is kept in the user's own channel.
    pub unread: Option<bool>,
}

/// How an event stands with history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its id is of another history than the one of now.
    OtherEpoch,
    /// No event has this id yet.
    Later {
        /// The newest that has one.
        newest: EventId,
    },
    /// It waits to be written to the disk.
    Writing,
    /// It is kept, and is given to those who come back from before it.
    Kept,
    /// Its `ttl` is over.
    Outlived,
    /// A later event of the same channel and collapse key took its place.
    Collapsed {
        /// The one that is there now, and when it was published.
        by: Option<(EventId, Timestamp)>,
    },
    /// It is older than history is kept.
    TooOld,
    /// It was dropped for newer ones: by the number or bytes of its channel, or of all.
    Dropped,
    /// The id was given to nothing, or to what the store could not keep.
    NeverKept,
    /// It is not where its user's streams are, and it is not known whether it ever was.
    Unknown,
}

impl Standing {
    /// A word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::OtherEpoch => "other-epoch",
            Self::Later { .. } => "later",
            Self::Writing => "writing",
            Self::Kept => "kept",
            Self::Outlived => "ttl-over",
            Self::Collapsed { .. } => "collapsed",
            Self::TooOld => "too-old",
            Self::Dropped => "dropped",
            Self::NeverKept => "none",
            Self::Unknown => "unknown",
        }
    }
}

impl Hub {
    /// What is known of an event, for one user. `channels` are where it is looked for besides the user's own: those of the
    /// user's streams. If it was for some of them, it counts how it stands there.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub async fn trace(
        &self,
        id: EventId,
        user: &str,
        channels: &[ChannelName],
        now: Timestamp,
    ) -> Result<Trace, UnreadableError> {
        let own = ChannelName::of_user(user).ok();
        // Of a node that Redis is away from there is less to be known, and that is all.
        let _held = self.prepare(own.as_slice(), Some(&id.to_string())).await;
        let (question, disk) = {
            let state = self.lock();
            if let Some(standing) = state.standing_of(id) {
                return Ok(Trace::bare(standing));
            }
            let question = Question::new(&state, (id, self.0.is_node), own, channels, now);
            match &state.store {
                Store::Disk(disk) => (question, Store::Disk(disk.clone())),
                store => return Ok(question.answer(&question.look(store).map_err(UnreadableError::Disk)?)),
            }
        };
        Ok(question.answer(&question.look(&disk).map_err(UnreadableError::Disk)?))
    }
}

impl State {
    /// How an id stands of which nothing needs to be looked up.
    fn standing_of(&self, id: EventId) -> Option<Standing> {
        let EventId { epoch, seq } = id;
        if epoch != self.epoch {
            return Some(Standing::OtherEpoch);
        }
        if seq > self.given.max(self.head) {
            return Some(Standing::Later { newest: EventId { epoch, seq: self.head } });
        }
        if seq > self.head.max(self.settled) {
            return Some(Standing::Writing);
        }
        let is_none = seq == 0 || seq > self.head || self.holes.iter().any(|hole| hole.contains(&seq));
        is_none.then_some(Standing::NeverKept)
    }
}

/// What is looked up of an event, and what is known of it before.
struct Question {
    id: EventId,
    noted: Option<Noted>,
    /// Whether it would be noted, if it had been handed out.
    is_recent: bool,
    is_ours: bool,
    own: Option<ChannelName>,
    /// Where it is looked for.
    channels: Vec<ChannelName>,
    is_unread: bool,
    now: Timestamp,
    oldest: Timestamp,
}

/// What was found.
struct Answer {
    /// Where it is kept.
    here: Vec<ChannelName>,
    record: Option<Arc<Record>>,
    /// Whether there is a channel whose history reaches back to it, and has it not.
    is_missing: bool,
    /// The one that is kept under its collapse key.
    by: Option<Arc<Record>>,
}

impl Question {
    fn new(
        state: &State,
        (id, is_node): (EventId, bool),
        own: Option<ChannelName>,
        channels: &[ChannelName],
        now: Timestamp,
    ) -> Self {
        let noted = state.recent.find(id.seq).cloned();
        let mut wanted: Vec<_> = own.iter().chain(channels).cloned().collect();
        wanted.sort_unstable();
        wanted.dedup();
        if let Some(noted) = &noted {
            let is_own = |channel: &ChannelName| noted.unnamed > 0 && Some(channel) == own.as_ref();
            wanted.retain(|channel| noted.channels.contains(channel) || is_own(channel));
            if !wanted.iter().any(|channel| noted.channels.contains(channel)) {
                wanted.extend(noted.channels.iter().cloned());
            }
        }
        let mark = own.as_ref().and_then(|own| state.marks.of(own));
        Self {
            id,
            // A node hears only of what is for channels that it follows.
            is_ours: id.seq > state.recent.begun(),
            is_recent: !is_node && id.seq > state.recent.since(),
            channels: wanted,
            is_unread: mark.is_none_or(|mark| !mark.holds(id.seq)),
            oldest: state.store.oldest_kept(now),
            noted,
            own,
            now,
        }
    }

    fn look(&self, store: &Store) -> Result<Answer, DiskError> {
        let mut answer = Answer { here: Vec::new(), record: None, is_missing: false, by: None };
        let key = self.noted.as_ref().and_then(|noted| noted.collapse.as_deref());
        for channel in &self.channels {
            match store.find(channel, self.id.seq)? {
                Found::Here(record) => {
                    answer.here.push(channel.clone());
                    answer.record = Some(record);
                }
                Found::Gone => {}
                Found::Not => {
                    answer.is_missing = true;
                    if let Some(key) = key.filter(|_| answer.by.is_none()) {
                        answer.by = store.find_collapsing(channel, key)?;
                    }
                }
            }
        }
        Ok(answer)
    }

    fn answer(&self, found: &Answer) -> Trace {
        let Answer { here, record, .. } = found;
        let (noted, record) = (self.noted.as_ref(), record.as_deref());
        let at = noted.map(|noted| noted.at).or(record.map(|record| record.at));
        let expires = noted.map_or(record.and_then(|record| record.expires), |noted| noted.expires);
        let mut channels: Vec<_> = noted.iter().flat_map(|noted| &noted.channels).cloned().collect();
        channels
            .extend(here.iter().filter(|channel| !channels.contains(channel)).cloned().collect::<Vec<_>>());
        let named = noted.map_or(0, |noted| noted.channels.len() + noted.unnamed);
        let is_own = self.own.as_ref().is_some_and(|own| here.contains(own));
        Trace {
            standing: self.standing((at, expires), found),
            is_ours: self.is_ours,
            at,
            expires,
            unnamed: named.saturating_sub(channels.len()),
            knows_channels: noted.is_some_and(|noted| noted.unnamed == 0),
            channels,
            unread: is_own.then_some(self.is_unread),
        }
    }

    fn standing(&self, (at, expires): (Option<Timestamp>, Option<Timestamp>), found: &Answer) -> Standing {
        let is_too_old = at.is_some_and(|at| at < self.oldest);
        let collapse = self.noted.as_ref().and_then(|noted| noted.collapse.as_ref());
        if expires.is_some_and(|expires| expires <= self.now) {
            return Standing::Outlived;
        }
        match (&found.record, &self.noted) {
            (Some(_), _) if is_too_old => Standing::TooOld,
            (Some(_), _) => Standing::Kept,
            (None, Some(_)) if found.is_missing && collapse.is_some() => {
                let by = found.by.as_ref().filter(|by| by.seq > self.id.seq);
                Standing::Collapsed { by: by.map(|by| (EventId { seq: by.seq, ..self.id }, by.at)) }
            }
            (None, Some(_)) if is_too_old => Standing::TooOld,
            (None, Some(_)) => Standing::Dropped,
            (None, None) if self.is_recent => Standing::NeverKept,
            (None, None) => Standing::Unknown,
        }
    }
}

impl Trace {
    fn bare(standing: Standing) -> Self {
        Self {
            standing,
            is_ours: false,
            at: None,
            expires: None,
            channels: Vec::new(),
            unnamed: 0,
            knows_channels: false,
            unread: None,
        }
    }
}

#[cfg(test)]
mod tests;
