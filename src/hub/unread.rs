//! The unread inbox: the history of a user's channel, less what the user has read.
//!
//! Invariants: only events that are kept in the user's own channel are ever marked, so nobody can mark what is not
//! theirs; marking and telling the user's streams of it are one step under the hub's lock, so that all workers see
//! them in one order with what is published.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::event::{ChannelName, Event, EventId, EventName, Frame, Timestamp};
use crate::store::{Mark, Record};

use super::inbox::Work;
use super::{ChannelId, Hub, INBOX_LIMIT, State};

/// The most ids that streams are told of at once; of more, the newest.
const MAX_TOLD: usize = 1000;

/// What is to be marked as read. Ids of another epoch, and such that are not kept, are passed over: there is nothing
/// left to mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// These events.
    Events(Vec<EventId>),
    /// All events up to and with this one.
    UpTo(EventId),
}

/// A part of what is unread.
#[derive(Debug)]
pub struct Unread {
    /// How many events are unread in all.
    pub count: usize,
    /// Some of them, oldest first.
    pub records: Vec<Arc<Record>>,
    /// Whether there are more past them.
    pub more: bool,
}

/// Word for the streams of a user that something was read.
#[derive(Debug)]
pub struct ReadNotice {
    /// The user's channel.
    pub channel: ChannelId,
    /// What they are told. It has no id and is not kept.
    pub frame: Frame,
}

/// Nothing was marked: a worker is too far behind to be told. To be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overloaded;

impl std::fmt::Display for Overloaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a worker is too far behind to be told what was read; try again")
    }
}

impl std::error::Error for Overloaded {}

impl Hub {
    /// What a user has not read, oldest first: the events past `after`, as many as `bytes` of frames hold but at least
    /// one, and at most `limit`.
    pub fn unread(
        &self,
        user: &str,
        after: Option<EventId>,
        (limit, bytes): (usize, usize),
        now: Timestamp,
    ) -> Unread {
        let all = ChannelName::of_user(user).map_or_else(|_| Vec::new(), |own| self.lock().unread(&own, now));
        // A page that was begun in another epoch begins anew.
        let after = after.filter(|id| id.epoch == self.epoch()).map_or(0, |id| id.seq);
        let count = all.len();
        let past = all.into_iter().skip_while(|record| record.seq <= after);
        let (mut records, mut held, mut more) = (Vec::new(), 0, false);
        for record in past {
            held += record.frame.len();
            if records.len() >= limit.max(1) || (held > bytes && !records.is_empty()) {
                more = true;
                break;
            }
            records.push(record);
        }
        Unread { count, records, more }
    }

    /// Marks events of a user as read and tells the user's streams, if that changes anything. Gives the number of events
    /// that are still unread.
    ///
    /// # Errors
    /// Then nothing has happened.
    pub fn mark_read(&self, user: &str, read: &Read, now: Timestamp) -> Result<usize, Overloaded> {
        let Ok(channel) = ChannelName::of_user(user) else {
            return Ok(0);
        };
        let mut woken = Vec::new();
        let left = {
            let mut state = self.lock();
            if self.0.inboxes.iter().any(|inbox| inbox.len() >= INBOX_LIMIT) {
                return Err(Overloaded);
            }
            let unread = state.unread(&channel, now);
            let newly = self.of_those(&unread, read);
            let left = unread.len() - newly.len();
            if newly.is_empty() {
                return Ok(left);
            }
            state.mark(&channel, &newly, now);
            let frame = self.notice(&newly, read, left);
            for (worker, channels) in state.interest.targets(&[channel]).workers {
                for channel in channels {
                    let notice = ReadNotice { channel, frame: frame.clone() };
                    self.0.inboxes[worker].push(Work::Read(Box::new(notice)));
                }
                woken.push(worker);
            }
            left
        };
        for worker in woken {
            self.0.inboxes[worker].wake();
        }
        Ok(left)
    }

    /// Marks events that were written to a stream of their user, each with the user's own channel. What is not an event
    /// of that channel is passed over.
    pub fn mark_delivered<'c>(&self, written: impl Iterator<Item = (&'c ChannelName, u64)>, now: Timestamp) {
        let mut state = self.lock();
        for (own, seq) in written {
            let first = state.store.kept(own, seq.saturating_sub(1), now).next().map(|record| record.seq);
            if first == Some(seq) {
                state.mark(own, &[seq], now);
            }
        }
    }

    /// Which unread events are meant.
    fn of_those(&self, unread: &[Arc<Record>], read: &Read) -> Vec<u64> {
        let seqs = unread.iter().map(|record| record.seq);
        match read {
            Read::UpTo(id) if id.epoch == self.epoch() => seqs.take_while(|seq| *seq <= id.seq).collect(),
            Read::UpTo(_) => Vec::new(),
            Read::Events(ids) => {
                let mut said: Vec<u64> =
                    ids.iter().filter(|id| id.epoch == self.epoch()).map(|id| id.seq).collect();
                said.sort_unstable();
                seqs.filter(|seq| said.binary_search(seq).is_ok()).collect()
            }
        }
    }

    fn notice(&self, newly: &[u64], read: &Read, left: usize) -> Frame {
        let mut data = String::from("{\"read\":[");
        // Ids need no escaping, and writing to a String cannot fail.
        for (place, seq) in newly[newly.len().saturating_sub(MAX_TOLD)..].iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let _ = write!(data, "{comma}\"{}\"", EventId { epoch: self.epoch(), seq: *seq });
        }
        data.push(']');
        if let Read::UpTo(id) = read {
            let _ = write!(data, ",\"read_up_to\":\"{id}\"");
        }
        let _ = write!(data, ",\"unread\":{left}}}");
        Event { name: EventName::configured("read").ok(), data: data.into(), retry: None }.frame_without_id()
    }
}

impl State {
    /// What the user of a channel has not read, oldest first. What history has dropped is not unread any more.
    pub(super) fn unread(&self, own: &ChannelName, now: Timestamp) -> Vec<Arc<Record>> {
        let mark = self.marks.of(own);
        let up_to = mark.map_or(0, Mark::up_to);
        let kept = self.store.kept(own, up_to, now);
        kept.filter(|record| mark.is_none_or(|mark| !mark.holds(record.seq))).cloned().collect()
    }

    fn mark(&mut self, own: &ChannelName, seqs: &[u64], now: Timestamp) {
        let mark = self.marks.change(own, now);
        for seq in seqs {
            mark.add(*seq);
        }
        mark.settle(|place| self.store.kept(own, place, now).next().map(|record| record.seq));
    }
}

#[cfg(test)]
mod tests;
