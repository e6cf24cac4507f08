//! Catching up: what a stream missed is read from history page by page, as its socket takes it.
//!
//! A stream that has more to read than its first page takes no live events. It reads up to the newest event that the
//! worker has handed out; once it has read that far it is live, and what comes next reaches it like any other. One that
//! starts with what its user has not read is given that first, up to the head at which it was registered, and goes on
//! from there in the same way.
//! Invariants: an event is in history before it is handed out, so what a stream was not handed it reads, and reads
//! once; a worker reads a bounded number of pages before its other tasks get their turn; a stream holds one page, and
//! not for ever.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::{End, Streams, Subscriber};
use crate::event::{ChannelName, EventId, Timestamp};
use crate::hub::{Gap, Start, Subscription};
use crate::store::Page;

/// So many pages are read before other tasks of the worker get their turn. Reading one and writing it takes about as
/// long as ten deliveries.
const PAGES_A_TURN: usize = 4;

/// How long a reader may take for one page. That is a kilobyte a second; one who is slower holds history for nothing,
/// and gets the rest when it comes back.
pub(super) const PAGE_STALL: Duration = Duration::from_secs(60);

/// How far a stream that is catching up has come.
#[derive(Debug)]
pub(super) struct History {
    /// Read up to and with this one.
    pub(super) read: u64,
    /// The head when it was registered: what is newer has counted it as one of its streams.
    pub(super) head: u64,
    /// The channel of its user, if it is what is unread there that is read, up to `head`.
    pub(super) unread: Option<ChannelName>,
    /// The newest event that has counted it.
    pub(super) counted: u64,
    /// When it was given the page that it is to write.
    pub(super) given: Instant,
    /// Whether it stands in line for the next.
    pub(super) waits: bool,
}

impl History {
    /// For a stream that was registered at `head` and has read nothing yet.
    pub(super) fn new(head: u64, unread: Option<ChannelName>, now: Instant) -> Self {
        Self { read: 0, head, unread, counted: head, given: now, waits: false }
    }
}

/// What of history a stream is to read next.
#[derive(Debug)]
pub(super) struct ToRead {
    pub(super) after: EventId,
    pub(super) head: u64,
    pub(super) unread: Option<ChannelName>,
}

/// Where a stream starts that was registered, and its first page: of what its user has not read of the channel `unread`
/// if there is one, else of what it missed. What cannot be read now is tried again like a page that is still to come.
pub(super) fn begin(
    subscription: &Subscription,
    unread: Option<&ChannelName>,
    start: Start,
    now: Timestamp,
) -> (Start, Page) {
    let failed = |read| Page { read, ..Page::default() };
    let (after, head) = (start.cursor.seq, start.head);
    let Some(own) = unread else {
        let page = subscription.page(start.cursor, head, now).unwrap_or_else(|_| failed(after));
        if page.gap {
            return (start.behind(Gap::Expired), page);
        }
        // One that has missed nothing gets the head for its id: it need not be told of a gap later, when history does not
        // reach back to the old one any more.
        let has_missed_nothing = page.records.is_empty() && page.read >= head;
        return (if has_missed_nothing { start.at_head() } else { start }, page);
    };
    match subscription.unread_page(own, EventId { seq: 0, ..start.cursor }, head, now) {
        Ok(page) => (start.before(&page), page),
        // It is given no id at its opening: with one it would come back for what came since, and not for what is unread.
        Err(_) => (start, failed(0)),
    }
}

/// The streams of a worker that are catching up.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// Those that have written all they had, the first in front. Each is there once at most.
    line: RefCell<VecDeque<Weak<Subscriber>>>,
    more: Notify,
    /// Told of the first reader.
    begun: Notify,
    /// All of them, and some that have just ended.
    readers: RefCell<Vec<Weak<Subscriber>>>,
}

impl CatchUp {
    /// Takes note of a stream that has more to read than its first page.
    pub(super) fn add(&self, subscriber: &Rc<Subscriber>) {
        let readers = &mut *self.readers.borrow_mut();
        if readers.is_empty() {
            self.begun.notify_one();
        }
        readers.push(Rc::downgrade(subscriber));
    }

    fn line_up(&self, subscriber: &Rc<Subscriber>) {
        // Not held: a socket is closed when the last hold on its subscriber is gone.
        self.line.borrow_mut().push_back(Rc::downgrade(subscriber));
        self.more.notify_one();
    }
}

impl Streams {
    /// Reads history for the streams that are catching up, for ever.
    pub async fn keep_catching_up(&self) {
        let mut turn = 0;
        loop {
            let next = self.0.catch_up.line.borrow_mut().pop_front();
            let Some(subscriber) = next else {
                self.0.catch_up.more.notified().await;
                continue;
            };
            if let Some(subscriber) = subscriber.upgrade() {
                self.read_page(&subscriber);
                turn += 1;
            }
            if turn >= PAGES_A_TURN {
                turn = 0;
                yield_now().await;
            }
        }
    }

    /// Puts a stream in line if it has written all it had and has more to read. To be called whenever it has written.
    pub(super) fn read_on(&self, subscriber: &Rc<Subscriber>) {
        if subscriber.wants_page() {
            self.0.catch_up.line_up(subscriber);
        }
    }

    fn read_page(&self, subscriber: &Rc<Subscriber>) {
        let Some(ToRead { after, head, unread }) = subscriber.to_read() else { return };
        // What it was handed before, it was not given: all of that must come from here.
        let upto = head.max(self.0.handed.get());
        let now = Timestamp::now();
        let page = {
            let table = self.0.table.borrow();
            let entry = table.streams.get(subscriber.key.get() as usize);
            let Some(entry) = entry.filter(|entry| Rc::ptr_eq(&entry.subscriber, subscriber)) else { return };
            let subscription = &entry.subscription;
            let page = match &unread {
                Some(own) => subscription.unread_page(own, after, head, now),
                None => subscription.page(after, upto, now),
            };
            page.inspect(|page| self.note(subscriber, subscription, page, unread.is_some()))
        };
        let page = match page {
            Ok(page) => page,
            Err(_) if self.hub().is_elsewhere() => {
                // Who comes back finds it there.
                self.end(subscriber, End::Drain);
                return;
            }
            Err(error) => {
                tracing::error!(%error, "history cannot be read");
                self.end(subscriber, End::StoreFailed);
                return;
            }
        };
        self.0.counters.replayed.add(page.records.len() as u64);
        if page.gap {
            self.count_gap(Gap::Expired);
            subscriber.skip(upto, Gap::Expired);
        } else {
            subscriber.take_page(&page, upto);
        }
        // If all of the page had outlived its time, there is nothing to write.
        self.read_on(subscriber);
    }

    /// Waits until a stream catches up, where none did.
    pub async fn catching_up(&self) {
        self.0.catch_up.begun.notified().await;
    }

    /// Ends the streams that do not take their page. To be called now and then. Says whether any are still catching up.
    pub fn end_stalled(&self) -> bool {
        let Some(since) = Instant::now().checked_sub(PAGE_STALL) else { return true };
        let mut stalled = Vec::new();
        self.0.catch_up.readers.borrow_mut().retain(|subscriber| {
            let Some(subscriber) = subscriber.upgrade() else { return false };
            let Some(given) = subscriber.page_given() else { return false };
            if given > since {
                return true;
            }
            stalled.push(subscriber);
            false
        });
        for subscriber in stalled {
            self.0.counters.evicted_stalled.inc();
            self.end(&subscriber, End::Evicted);
        }
        !self.0.catch_up.readers.borrow().is_empty()
    }
}

#[cfg(test)]
mod tests;
