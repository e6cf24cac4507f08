//! One span: a piece of work with its place in a trace.
//!
//! Invariant: no text in it is longer than [`MAX_TEXT`], whatever a client sends.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use http::header::HeaderMap;

use super::context::Context;
use super::exporter::Queue;

/// The longest text of an attribute or a name, in bytes; the rest is cut.
const MAX_TEXT: usize = 1024;

/// What a span is of, as OTLP numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Work within the process.
    Internal = 1,
    /// A request that came.
    Server = 2,
    /// A request of ours.
    Client = 3,
    /// Something handed on that is taken later.
    Producer = 4,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(u64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// What is sent of a span.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) trace: u128,
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) kind: Kind,
    pub(super) name: Cow<'static, str>,
    pub(super) start: SystemTime,
    pub(super) time: Duration,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) has_failed: bool,
}

/// A span that has not ended. One that is dropped is not sent.
#[derive(Debug)]
pub struct Span {
    recorded: Recorded,
    begun: Instant,
    is_random: bool,
    queue: Queue,
}

impl Span {
    /// Begins the first span of the trace in this process: within what the caller said, or a trace of its own.
    pub(super) fn begin(caller: Option<Context>, kind: Kind, queue: Queue) -> Self {
        let trace = caller.map_or_else(|| not_zero(|| fastrand::u128(..)), |caller| caller.trace);
        let is_random = caller.is_some_and(|caller| caller.is_random);
        let parent = caller.map(|caller| caller.span);
        Self::new(trace, parent, kind, is_random, queue)
    }

    fn new(trace: u128, parent: Option<u64>, kind: Kind, is_random: bool, queue: Queue) -> Self {
        let recorded = Recorded {
            trace,
            id: not_zero(|| fastrand::u64(..)),
            parent,
            kind,
            name: "".into(),
            start: SystemTime::now(),
            time: Duration::ZERO,
            attributes: Vec::new(),
            has_failed: false,
        };
        Self { recorded, begun: Instant::now(), is_random, queue }
    }

    /// Begins one within it.
    #[must_use]
    pub fn child(&self, kind: Kind) -> Self {
        let Recorded { trace, id, .. } = self.recorded;
        Self::new(trace, Some(id), kind, self.is_random, self.queue.clone())
    }

    /// The number of its trace, in hexadecimal digits.
    pub fn trace(&self) -> String {
        format!("{:032x}", self.recorded.trace)
    }

    /// Says in the fields of a request that what is asked for is done within it.
    pub fn pass_on(&self, fields: &mut HeaderMap) {
        let Recorded { trace, id, .. } = self.recorded;
        Context { trace, span: id, is_sampled: true, is_random: self.is_random }.put(fields);
    }

    /// Adds an attribute. Each is added once.
    pub fn put(&mut self, key: &'static str, value: impl Into<Value>) {
        let value = match value.into() {
            Value::Text(Cow::Owned(text)) => Value::Text(cut(text).into()),
            value => value,
        };
        self.recorded.attributes.push((key, value));
    }

    /// It has failed, for the reason that this word is for.
    pub fn fail(&mut self, word: impl Into<Value>) {
        self.recorded.has_failed = true;
        self.put("error.type", word);
    }

    /// Gives it its name.
    pub fn name(&mut self, name: impl Into<Cow<'static, str>>) {
        self.recorded.name = match name.into() {
            Cow::Owned(name) => cut(name).into(),
            name => name,
        };
    }

    /// Ends it now.
    pub fn end(self) {
        let Self { mut recorded, begun, queue, .. } = self;
        recorded.time = begun.elapsed();
        queue.put(recorded);
    }
}

/// As much of a text as is sent.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

fn not_zero<N: Default + PartialEq>(mut random: impl FnMut() -> N) -> N {
    loop {
        let number = random();
        if number != N::default() {
            return number;
        }
    }
}
