//! Pages: history is read in pieces of bounded size, so that no reader holds a lock or memory for long.

use std::sync::Arc;

use super::Record;
use crate::event::Timestamp;

/// How many events a page holds at most, those that are passed over because their time is up included.
pub const PAGE_EVENTS: usize = 64;

/// How many bytes a page holds at most; one event alone may be more.
pub const PAGE_BYTES: usize = 64 * 1024;

/// Some of what lies past a cursor.
#[derive(Debug, Default)]
pub struct Page {
    /// The events, in order, once each.
    pub records: Vec<Arc<Record>>,
    /// How far this goes: history is read up to and with this number. Above the cursor, unless that was the end.
    pub read: u64,
    /// Whether events past the cursor are gone. Then there are no records.
    pub gap: bool,
}

impl Page {
    /// What is read where history past the cursor is gone.
    pub fn gone(upto: u64) -> Self {
        Self { records: Vec::new(), read: upto, gap: true }
    }
}

/// A page in the making: events are added in order until it is full.
#[derive(Debug)]
pub(super) struct PageBuilder {
    page: Page,
    looked_at: usize,
    bytes: usize,
    last: u64,
    is_full: bool,
}

impl PageBuilder {
    /// An empty page, of history up to `upto`.
    pub(super) fn new(upto: u64) -> Self {
        let page = Page { read: upto, ..Page::default() };
        Self { page, looked_at: 0, bytes: 0, last: 0, is_full: false }
    }

    /// Adds the next event, if there is room for it.
    pub(super) fn add(&mut self, record: &Arc<Record>, now: Timestamp) -> bool {
        let is_first = self.looked_at == 0;
        let bytes = self.bytes + record.frame.len();
        if !is_first && (self.looked_at == PAGE_EVENTS || bytes > PAGE_BYTES) {
            self.is_full = true;
            return false;
        }
        self.looked_at += 1;
        self.last = record.seq;
        if record.is_of_use(now) {
            self.bytes = bytes;
            self.page.records.push(record.clone());
        }
        true
    }

    /// The page.
    pub(super) fn done(mut self) -> Page {
        if self.is_full {
            self.page.read = self.last;
        }
        self.page
    }
}
