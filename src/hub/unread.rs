//! The unread inbox: the history of a user's channel, less what the user has read.
//!
//! Invariants: only events that are kept in the user's own channel are ever marked, so nobody can mark what is not
//! theirs; marking and telling the user's streams of it are one step under the hub's lock, so that all workers see
//! them in one order with what is published; what is unread is read in pages, like all history, so that the lock is
//! not held for long and the disk never works under it.

mod keeping;
mod nodes;

use std::fmt::Write as _;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::event::{ChannelName, Event, EventId, EventName, Frame, Timestamp};
use crate::store::{DiskError, MAX_UNSETTLED, Mark, Page, Record, Store};

use super::inbox::Work;
use super::{ChannelId, Hub, INBOX_LIMIT, NotKept, NotReady, PATIENCE, State, Watch};

pub(super) use keeping::{Marked, Wanted};
pub(super) use nodes::Wish;

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

/// Why nothing was marked.
#[derive(Debug)]
pub enum MarkError {
    /// A worker is too far behind to be told, or the store to keep it. To be tried again.
    Overloaded,
    /// The store could not keep it.
    NotKept,
    /// What is unread cannot be read.
    Store(UnreadableError),
}

/// Why what is unread cannot be read.
#[derive(Debug)]
pub enum UnreadableError {
    /// The disk cannot be read.
    Disk(DiskError),
    /// It is not here, and the store does not answer.
    NotReady(NotReady),
}

impl std::fmt::Display for UnreadableError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::NotReady(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for UnreadableError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disk(error) => Some(error),
            Self::NotReady(error) => Some(error),
        }
    }
}

impl std::fmt::Display for MarkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Overloaded => "there is too much to do to mark anything as read now; try again",
            Self::NotKept => "what was read could not be kept: the store has failed, or its disk is full",
            Self::Store(_) => "what is unread cannot be read now; try again",
        })
    }
}

impl std::error::Error for MarkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Overloaded | Self::NotKept => None,
        }
    }
}

impl From<NotKept> for MarkError {
    fn from(_: NotKept) -> Self {
        Self::NotKept
    }
}

/// The events of a user's channel that were not read when it was looked through, as far as that went.
#[derive(Debug, Default)]
struct Walked {
    /// Bounded by what a channel keeps.
    seqs: Vec<u64>,
    upto: u64,
}

impl Hub {
    /// What a user has not read, oldest first: the events past `after`, as many as `bytes` of frames hold but at least
    /// one, and at most `limit`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn unread(
        &self,
        user: &str,
        after: Option<EventId>,
        (limit, bytes): (usize, usize),
        now: Timestamp,
    ) -> Result<Unread, UnreadableError> {
        let mut unread = Unread { count: 0, records: Vec::new(), more: false };
        let Ok(own) = ChannelName::of_user(user) else {
            return Ok(unread);
        };
        // A page that was begun in another epoch begins anew.
        let _held =
            self.prepare(std::slice::from_ref(&own), None).await.map_err(UnreadableError::NotReady)?;
        let epoch = self.epoch();
        let after = after.filter(|id| id.epoch == epoch).map_or(0, |id| id.seq);
        let mut held = 0;
        self.walk(&own, now, |record| {
            unread.count += 1;
            if record.seq <= after || unread.more {
                return;
            }
            held += record.frame.len();
            if unread.records.len() >= limit.max(1) || (held > bytes && !unread.records.is_empty()) {
                unread.more = true;
            } else {
                unread.records.push(record);
            }
        })
        .await
        .map_err(UnreadableError::Disk)?;
        Ok(unread)
    }

    /// Marks events of a user as read and tells the user's streams, if that changes anything. Gives the number of events
    /// that are still unread. On disk it is kept before it is told.
    ///
    /// # Errors
    /// Then nothing has happened, unless a store on disk did not answer in time.
    pub async fn mark_read(&self, user: &str, read: &Read, now: Timestamp) -> Result<usize, MarkError> {
        let Ok(own) = ChannelName::of_user(user) else {
            return Ok(0);
        };
        let held = self.prepare(std::slice::from_ref(&own), None).await;
        let _held = held.map_err(|error| MarkError::Store(UnreadableError::NotReady(error)))?;
        let mut walked = Walked::default();
        let walk = self.walk(&own, now, |record| walked.seqs.push(record.seq));
        walked.upto = walk.await.map_err(|error| MarkError::Store(UnreadableError::Disk(error)))?;
        let mut wake = SmallVec::new();
        let told = {
            let state = &mut *self.lock();
            let waiting = state.queue.wanted.len();
            if self.0.inboxes.iter().any(|inbox| inbox.len() + waiting >= INBOX_LIMIT) {
                return Err(MarkError::Overloaded);
            }
            match &state.store {
                Store::Memory(memory) => {
                    let since = memory.logs().kept(&own, walked.upto, now);
                    walked.seqs.extend(since.map(|record| record.seq));
                    let (newly, left) = self.mark(state, &own, &walked.seqs, read, now);
                    self.tell_read(state, &own, (&newly, read, left), &mut wake);
                    Ok(left)
                }
                Store::Disk(_) => Err(self.want(state, own, read.clone(), walked, now)?),
                Store::Mirror(_) => Err(state.wish(own, read, &walked.seqs, now)?),
            }
        };
        match told {
            Ok(left) => {
                self.wake(&wake);
                Ok(left)
            }
            // An end without a word is that of a store that failed.
            Err(answer) => match timeout(PATIENCE, answer).await {
                Ok(Ok(answer)) => answer.map_err(MarkError::from),
                Ok(Err(_)) | Err(_) => Err(MarkError::NotKept),
            },
        }
    }

    /// Marks events that were written to a stream of their user, each with the user's own channel, which must have
    /// carried it. On disk they are kept a moment later.
    pub fn mark_delivered<'c>(&self, written: impl Iterator<Item = (&'c ChannelName, u64)>, now: Timestamp) {
        let mut guard = self.lock();
        let state = &mut *guard;
        for (own, seq) in written {
            self.tell_watch(|watch| watch.note(own, seq));
            let mark = state.marks.change(own, now);
            mark.add(seq);
            match state.store.logs() {
                Ok(logs) => {
                    let place = mark.up_to();
                    mark.settle(logs.kept(own, place, now).map(|record| record.seq));
                }
                Err(_) => mark.hold_to(MAX_UNSETTLED),
            }
            if let Some(node) = &mut state.node {
                node.mark(own, seq);
            }
        }
        if let Some(node) = &mut state.node {
            node.order_marks();
        }
        if state.marks.has_changed() {
            self.0.more.notify_one();
        }
        drop(guard);
        self.tell_watch(Watch::wake);
    }

    /// Reads the first page of what the user of a channel has not read of it, past `after` and up to `upto`. What is
    /// gone is no gap there.
    pub(super) fn unread_page(
        &self,
        own: &ChannelName,
        after: EventId,
        upto: u64,
        now: Timestamp,
    ) -> Result<Page, DiskError> {
        let (disk, place) = {
            let EventId { epoch, seq: after } = after;
            let state = self.lock();
            if epoch != state.epoch {
                return Ok(Page { read: upto, ..Page::default() });
            }
            let place = after.max(state.marks.of(own).map_or(0, Mark::up_to));
            match state.store.logs() {
                Ok(logs) => {
                    let page = logs.kept_page(own, place, upto, now);
                    return Ok(state.less_what_is_read(own, page));
                }
                Err(disk) => (disk.clone(), place),
            }
        };
        let page = disk.kept_page(own, place, upto, now)?;
        Ok(self.lock().less_what_is_read(own, page))
    }

    /// Those of some events that a channel has carried and keeps. What cannot be found out is left out.
    pub(super) fn carried(&self, own: &ChannelName, seqs: impl Iterator<Item = u64>) -> Vec<u64> {
        let disk = {
            let state = self.lock();
            match state.store.logs() {
                Ok(logs) => return seqs.filter(|seq| logs.holds(own, *seq)).collect(),
                Err(disk) => disk.clone(),
            }
        };
        seqs.filter(|seq| disk.holds(own, *seq).unwrap_or(false)).collect()
    }

    /// Looks through all that a user has not read, up to the head of this moment, which it gives. Others get their turn
    /// after each page.
    async fn walk(
        &self,
        own: &ChannelName,
        now: Timestamp,
        mut each: impl FnMut(Arc<Record>),
    ) -> Result<u64, DiskError> {
        let (epoch, upto) = {
            let state = self.lock();
            (state.epoch, state.head)
        };
        let mut place = 0;
        while place < upto {
            if place > 0 {
                yield_now().await;
            }
            let page = self.unread_page(own, EventId { epoch, seq: place }, upto, now)?;
            page.records.into_iter().for_each(&mut each);
            place = page.read;
        }
        Ok(upto)
    }

    /// Marks what is meant of some events. Gives what was not read before, and how much of them is left.
    fn mark(
        &self,
        state: &mut State,
        own: &ChannelName,
        seqs: &[u64],
        read: &Read,
        now: Timestamp,
    ) -> (Vec<u64>, usize) {
        let place = state.marks.of(own).map_or(0, Mark::up_to);
        let (newly, left) = state.of_those(state.marks.of(own), seqs, read);
        if !newly.is_empty() {
            let mark = state.marks.change(own, now);
            newly.iter().for_each(|seq| mark.add(*seq));
            if let Ok(logs) = state.store.logs() {
                mark.settle(logs.kept(own, place, now).map(|record| record.seq));
            }
        }
        (newly, left)
    }

    /// Tells the streams of a user what was marked, if anything was.
    fn tell_read(
        &self,
        state: &State,
        own: &ChannelName,
        (newly, read, left): (&[u64], &Read, usize),
        wake: &mut SmallVec<[usize; 8]>,
    ) {
        if newly.is_empty() {
            return;
        }
        self.tell_watch(|watch| newly.iter().for_each(|seq| watch.note(own, *seq)));
        let frame = state.notice(newly, read, left);
        for (worker, channels) in state.interest.targets(std::slice::from_ref(own)).workers {
            for channel in channels {
                let notice = ReadNotice { channel, frame: frame.clone() };
                self.0.inboxes[worker].push(Work::Read(Box::new(notice)));
            }
            wake.push(worker);
        }
    }
}

impl State {
    /// Which of some events are meant and not read yet, and how many are neither.
    fn of_those(&self, mark: Option<&Mark>, seqs: &[u64], read: &Read) -> (Vec<u64>, usize) {
        let epoch = self.epoch;
        let mut said = Vec::new();
        if let Read::Events(ids) = read {
            said = ids.iter().filter(|id| id.epoch == epoch).map(|id| id.seq).collect();
            said.sort_unstable();
        }
        let is_meant = |seq: u64| match read {
            Read::UpTo(id) => id.epoch == epoch && seq <= id.seq,
            Read::Events(_) => said.binary_search(&seq).is_ok(),
        };
        let unread = seqs.iter().copied().filter(|seq| mark.is_none_or(|mark| !mark.holds(*seq)));
        let (newly, left): (Vec<u64>, Vec<u64>) = unread.partition(|seq| is_meant(*seq));
        (newly, left.len())
    }

    fn notice(&self, newly: &[u64], read: &Read, left: usize) -> Frame {
        let mut data = String::from("{\"read\":[");
        // Ids need no escaping, and writing to a String cannot fail.
        for (place, seq) in newly[newly.len().saturating_sub(MAX_TOLD)..].iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let _ = write!(data, "{comma}\"{}\"", EventId { epoch: self.epoch, seq: *seq });
        }
        data.push(']');
        if let Read::UpTo(id) = read {
            let _ = write!(data, ",\"read_up_to\":\"{id}\"");
        }
        let _ = write!(data, ",\"unread\":{left}}}");
        Event { name: EventName::configured("read").ok(), data: data.into(), retry: None }.frame_without_id()
    }

    /// A page of a user's channel without what the user has read.
    fn less_what_is_read(&self, own: &ChannelName, mut page: Page) -> Page {
        if let Some(mark) = self.marks.of(own) {
            page.records.retain(|record| !mark.holds(record.seq));
        }
        page
    }
}

#[cfg(test)]
mod tests;
