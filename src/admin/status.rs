//! How things stand, as the status page shows it: a reading every two seconds, and the last quarter of an hour of them.
//!
//! Invariants: what is read are cells that somebody writes anyway, so looking costs traffic nothing; what is kept and who
//! watches are bounded; a watcher that is slow gets what it missed as long as that is kept, and then all of it anew.
//! No user, channel or address is in it: it is shown without a token, as metrics are.

mod feed;
mod reading;
mod sample;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{View, door};
use crate::event::{Epoch, Event, EventId, EventName};

pub(super) use feed::Feed;

use reading::Reading;
use sample::{COLUMNS, Sample};

/// How often it is read.
const EVERY: Duration = Duration::from_secs(2);

/// How many samples are kept: a quarter of an hour of them.
const KEPT: usize = 450;

/// Tables show what happened during the last so many readings: ten seconds.
const WINDOW: usize = 5;

/// The most watchers at once; the connections that they leave are for scrapers and probes.
const MAX_WATCHERS: usize = 16;

/// How things stand and stood. A cheap handle.
#[derive(Debug, Clone)]
pub(super) struct Status(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: RefCell<Kept>,
    told: Notify,
    watchers: Cell<usize>,
}

#[derive(Debug)]
struct Kept {
    /// Ids of an earlier process are of another one.
    epoch: Epoch,
    /// How many samples there ever were.
    count: u64,
    /// The last of them, oldest first.
    samples: VecDeque<Sample>,
    /// The last readings, oldest first.
    readings: VecDeque<Reading>,
    /// What is only of interest now.
    now: String,
}

impl Status {
    /// Begins with one reading.
    pub(super) fn new(view: &View) -> Self {
        let mut kept = Kept {
            epoch: Epoch::from_bits(fastrand::u32(..)),
            count: 0,
            samples: VecDeque::with_capacity(KEPT),
            readings: VecDeque::with_capacity(WINDOW + 1),
            now: String::new(),
        };
        kept.take(Reading::now(view), view);
        Self(Rc::new(Shared { kept: RefCell::new(kept), told: Notify::new(), watchers: Cell::new(0) }))
    }

    /// Reads it, over and over.
    pub(super) async fn keep(&self, view: &View) {
        let mut ticks = interval_at(Instant::now() + EVERY, EVERY);
        // After a pause of the machine one reading tells all of it.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.0.kept.borrow_mut().take(Reading::now(view), view);
            self.0.told.notify_waiters();
        }
    }

    /// Answers with what is kept and all that comes.
    pub(super) fn watch(&self, fields: &HeaderMap) -> Result<Response<Feed>, Box<Response<Bytes>>> {
        let last = fields.get("last-event-id").and_then(|id| id.to_str().ok());
        let Some(feed) = Feed::open(self.clone(), last.and_then(|id| id.parse().ok())) else {
            let message = format!("{MAX_WATCHERS} are watching already; close one of them");
            let busy = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Box::new(door::refusal(busy, "too_many_watchers", &message)));
        };
        let mut response = Response::new(feed);
        let kind = header::HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(response)
    }
}

impl Kept {
    fn take(&mut self, reading: Reading, view: &View) {
        if let Some(last) = self.readings.back() {
            if self.samples.len() == KEPT {
                self.samples.pop_front();
            }
            self.samples.push_back(Sample::between(last, &reading, SystemTime::now()));
            self.count += 1;
        }
        let before = self.readings.front().unwrap_or(&reading);
        self.now = sample::now(view, before, &reading).to_string();
        if self.readings.len() > WINDOW {
            self.readings.pop_front();
        }
        self.readings.push_back(reading);
    }

    /// What one is told who has had so many samples, if there are more. One who has had fewer than are kept, or none, is
    /// told all of them.
    fn since(&self, had: Option<u64>) -> Option<Bytes> {
        let first = self.count - self.samples.len() as u64;
        let known = had.filter(|had| (first..=self.count).contains(had));
        if known == Some(self.count) {
            return None;
        }
        let skipped = usize::try_from(known.unwrap_or(first) - first).unwrap_or(usize::MAX);
        let rows: Vec<_> = self.samples.iter().skip(skipped).map(ToString::to_string).collect();
        let (name, rows, now) =
            (if known.is_some() { "sample" } else { "history" }, rows.join(","), &self.now);
        let every = EVERY.as_secs();
        let data = match known {
            Some(_) => format!("{{\"rows\":[{rows}],\"now\":{now}}}"),
            None => {
                let columns = serde_json::json!(COLUMNS);
                format!(
                    "{{\"every\":{every},\"kept\":{KEPT},\"columns\":{columns},\"rows\":[{rows}],\"now\":{now}}}"
                )
            }
        };
        let event =
            Event { name: EventName::configured(name).ok(), data: data.into(), retry: Some(RETRY_MS) };
        Some(event.frame(EventId { epoch: self.epoch, seq: self.count }).text())
    }
}

/// How soon a watcher comes back whose stream has ended, in milliseconds.
const RETRY_MS: u32 = 2000;
