//! What a route says by itself: the event it opens with, heartbeats, and the answer to a gap.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::problem::Fault;
use crate::config::reader::{Section, Value};
use crate::config::schema;
use crate::event::EventName;

/// Below the minute after which most proxies and load balancers cut a silent connection.
const EVERY: Duration = Duration::from_secs(30);
/// The shortest is for tests; a day is as good as never.
const EVERY_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 3600);
/// What is said to everybody again and again should be short.
const MAX_DATA: usize = 64 * 1024;

/// An event that the route itself sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The `event:` field; none is the client's default, `message`. No control characters.
    pub event: Option<String>,
    /// The data, as it is; no NUL.
    pub data: String,
}

impl Said {
    /// Reads `hello`.
    pub(super) fn hello(value: &Value<'_>) -> Option<Self> {
        let section = value.section(&schema::HELLO)?;
        Self::read(&section)
    }

    /// Reads an event whose data must be there.
    fn read(section: &Section<'_>) -> Option<Self> {
        let event = section.value("event").and_then(|value| value.parse(event));
        let data = section.required("data", "write data = \"…\"")?.parse(data)?;
        Some(Self { event: event.map(str::to_owned), data: data.to_owned() })
    }
}

/// What a quiet stream says, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The time between two of them.
    pub every: Duration,
    /// What is said.
    pub form: HeartbeatForm,
}

impl Heartbeat {
    /// Reads `heartbeat`; `false` is none.
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        match value.as_flag() {
            Some(false) => return None,
            Some(true) => {
                value.fault(Fault::new("is true anyway").hint("write false or { every = \"30s\" }"));
                return None;
            }
            None if value.is_text() => {
                value.fault(Fault::new("must be a table, not a string").hint("write { every = \"30s\" }"));
                return None;
            }
            None => {}
        }
        let section = value.section(&schema::HEARTBEAT)?;
        let every = section.duration("every", EVERY, EVERY_BOUNDS);
        let comment = section.value("comment");
        let (event, data, id) = (section.value("event"), section.value("data"), section.value("id"));
        if event.is_none() && data.is_none() && id.is_none() {
            let text = comment.and_then(|value| value.parse(line)).unwrap_or_default();
            let form = HeartbeatForm::Comment(text.to_owned());
            return Some(Self { every, form });
        }
        if let Some(comment) = comment {
            comment.fault(Fault::new("cannot be there beside `event`, `data` and `id`"));
        }
        let said = Said::read(&section)?;
        let id = id.and_then(|value| value.flag()).unwrap_or(false);
        let form = HeartbeatForm::Event { said, id };
        Some(Self { every, form })
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { every: EVERY, form: HeartbeatForm::Comment(String::new()) }
    }
}

/// What a heartbeat is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeartbeatForm {
    /// A comment line of this text (without line breaks), which a client ignores.
    Comment(String),
    /// An event that a client sees.
    Event {
        /// What it says.
        said: Said,
        /// Whether it repeats the subscriber's own cursor as its id.
        id: bool,
    },
}

/// What a subscriber is told whose id history does not reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnGap {
    /// `event: reset`, with the reason.
    Reset,
    /// Nothing: the stream goes on with live events.
    Ignore,
    /// An event of the operator's own.
    Event(Said),
}

impl OnGap {
    /// Reads `on_gap`.
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        if !value.is_table() {
            return value.choice(&[("reset", Self::Reset), ("ignore", Self::Ignore)], &[]);
        }
        let section = value.section(&schema::ON_GAP)?;
        Said::read(&section).map(Self::Event)
    }
}

fn event(text: &str) -> Result<&str, Fault> {
    EventName::configured(text).map_err(|error| Fault::new(error.to_string()))?;
    Ok(text)
}

fn data(text: &str) -> Result<&str, Fault> {
    if text.contains('\0') {
        return Err(Fault::new("must not hold NUL"));
    }
    if text.len() > MAX_DATA {
        return Err(Fault::new(format!("is longer than {MAX_DATA} bytes")));
    }
    Ok(text)
}

/// The text of a comment, which is one line.
fn line(text: &str) -> Result<&str, Fault> {
    if text.contains(['\r', '\n']) {
        return Err(Fault::new("must be one line"));
    }
    data(text)
}
