//! What a worker remembers of its streams for who asks why an event did not arrive.
//!
//! A stream that ends leaves a record, and an event that was written leaves its time: once for all streams, so that a
//! delivery costs nothing more. Invariants: both are bounded, over all workers; what was forgotten is known to be; a look
//! at streams takes turns with the worker's other tasks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::SystemTime;

use smallvec::SmallVec;
use tokio::task::{spawn_local, yield_now};
use tokio::time::Instant;

use super::review::LOOKS_A_TURN;
use super::table::Entry;
use super::{End, Streams};
use crate::event::Timestamp;
use crate::hub::{Answer, Look, MAX_SEEN, StreamRecord};

/// So many streams that have ended are remembered by all workers together: a few hundred bytes each.
const ENDED: usize = 4096;

/// Of so many events all workers together remember when they were written.
const WRITTEN: usize = 16_384;

/// What one worker remembers.
#[derive(Debug)]
pub(super) struct Records {
    ended: RefCell<VecDeque<(Box<str>, StreamRecord)>>,
    most_ended: usize,
    /// All that have ended since are there.
    since: Cell<Timestamp>,
    has_forgotten: Cell<bool>,
    /// When events were written, by their numbers, oldest first.
    written: RefCell<VecDeque<(u64, Instant)>>,
    most_written: usize,
}

impl Records {
    /// Nothing yet, of one of so many workers.
    pub(super) fn new(workers: usize) -> Self {
        let share = |of: usize| of.div_ceil(workers.max(1));
        Self {
            ended: RefCell::default(),
            most_ended: share(ENDED),
            since: Cell::new(Timestamp::now()),
            has_forgotten: Cell::new(false),
            written: RefCell::default(),
            most_written: share(WRITTEN),
        }
    }

    /// Notes that an event has been written to the streams that were live.
    pub(super) fn written(&self, seq: u64, at: Instant) {
        let written = &mut *self.written.borrow_mut();
        if written.len() == self.most_written {
            written.pop_front();
        }
        written.push_back((seq, at));
    }

    /// Forgets when events were written, of an epoch that is over.
    pub(super) fn begin_anew(&self) {
        self.written.borrow_mut().clear();
    }

    fn keep(&self, user: Box<str>, record: StreamRecord) {
        let ended = &mut *self.ended.borrow_mut();
        if ended.len() == self.most_ended
            && let Some((_, StreamRecord { ended: Some((at, _)), .. })) = ended.pop_front()
        {
            self.since.set(at);
            self.has_forgotten.set(true);
        }
        ended.push_back((user, record));
    }

    fn written_at(&self, seq: u64) -> Option<Timestamp> {
        let written = self.written.borrow();
        let place = written.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        written.get(place).map(|(_, at)| before_now(*at))
    }
}

impl Streams {
    /// Remembers a stream that is about to end, unless it is nobody's.
    pub(super) fn remember(&self, entry: &Entry, end: End) {
        if let Some(user) = &entry.subscriber.user {
            let record = self.record(entry, Some(end));
            self.0.records.keep(user.clone(), record);
        }
    }

    /// Answers, without holding up deliveries.
    pub(super) fn show(&self, look: Look) {
        let streams = self.clone();
        spawn_local(async move {
            let mut found = streams.open_streams_of(&look.user).await;
            let records = &streams.0.records;
            for (user, record) in records.ended.borrow().iter().rev() {
                // One that has ended while it was looked for is there twice.
                if **user == *look.user && found.iter().all(|open| open.serial != record.serial) {
                    found.push(record.clone());
                }
            }
            let left_out = found.len().saturating_sub(MAX_SEEN);
            found.truncate(MAX_SEEN);
            let written = records.written_at(look.id.seq).filter(|_| streams.0.hub.epoch() == look.id.epoch);
            look.answer(Answer {
                streams: found,
                left_out,
                since: records.since.get(),
                has_forgotten: records.has_forgotten.get(),
                written,
            });
        });
    }

    async fn open_streams_of(&self, user: &str) -> Vec<StreamRecord> {
        let mut found = Vec::new();
        let mut key = 0;
        loop {
            {
                let streams = &self.0.table.borrow().streams;
                let upto = streams.capacity().min(key + LOOKS_A_TURN);
                let those = (key..upto).filter_map(|key| streams.get(key));
                let own = those.filter(|entry| entry.subscriber.user.as_deref() == Some(user));
                found.extend(own.map(|entry| self.record(entry, None)));
                if upto == streams.capacity() {
                    break;
                }
                key = upto;
            }
            yield_now().await;
        }
        found.sort_unstable_by_key(|record| std::cmp::Reverse(record.opened));
        found
    }

    fn record(&self, entry: &Entry, end: Option<End>) -> StreamRecord {
        let subscriber = &entry.subscriber;
        let cursor = subscriber.cursor();
        let story = &subscriber.story;
        let standing = subscriber.standing();
        let missed = story.missed();
        StreamRecord {
            serial: subscriber.serial,
            route: subscriber.settings.name.trim_end().into(),
            protocol: standing.protocol,
            channels: entry.subscription.names().cloned().collect::<SmallVec<_>>(),
            opened: before_now(subscriber.opened),
            ended: end.map(|end| (Timestamp::now(), end.name())),
            epoch: cursor.epoch,
            began: story.began(),
            first: story.first(),
            head: story.head(),
            was_behind: story.was_behind(),
            cursor: cursor.seq,
            handed: self.0.handed.get(),
            gaps: missed.gaps,
            outlived: missed.outlived,
            outlived_before: missed.outlived_before,
            is_reading: standing.is_reading,
            unwritten: standing.unwritten,
            events: subscriber.delivered.get(),
            waiting: standing.waiting,
        }
    }
}

/// A moment that is over, by the system's clock.
fn before_now(at: Instant) -> Timestamp {
    SystemTime::now().checked_sub(at.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH).into()
}
