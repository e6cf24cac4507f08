//! Bounds: how much a publisher may send, how long it may take, and how many there may be.

use std::time::Duration;

/// What a line or an object may hold beside its data: names, recipients, white space, in bytes. A thousand recipients
/// of 30 bytes fit.
const OVERHEAD: usize = 64 * 1024;

/// The largest body of an HTTP request with several publications, in bytes.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// The most lines in one `application/x-ndjson` body: their replies are kept until the last is in.
const MAX_LINES: usize = 100_000;

/// The most connections at each door. An app holds a few per process.
const MAX_PUBLISHERS: usize = 1024;

/// How long a begun line of NDJSON may take.
const LINE_TIME: Duration = Duration::from_secs(30);

/// How long the body of an HTTP request may take.
const BODY_TIME: Duration = Duration::from_secs(30);

/// How long the head of an HTTP request may take, and how long an HTTP connection may be idle: longer than the pools
/// of usual HTTP clients keep one.
const HEAD_TIME: Duration = Duration::from_secs(75);

/// The bounds of every way to publish.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// The most bytes of data in one event, as they are sent.
    pub max_event: usize,
    /// The most publications in one JSON array.
    pub max_batch: usize,
    /// The most bytes in the body of an HTTP request with several publications.
    pub max_body: usize,
    /// The most lines in one NDJSON body.
    pub max_lines: usize,
    /// The most connections at each door.
    pub max_publishers: usize,
    /// How long a begun line of NDJSON may take. Between lines there is no limit.
    pub line_time: Duration,
    /// How long the body of an HTTP request may take.
    pub body_time: Duration,
    /// How long the head of an HTTP request may take, the idle time before it included.
    pub head_time: Duration,
}

impl Bounds {
    /// The operator's bounds, and the defaults of all others.
    pub fn new(max_event: usize, max_batch: usize) -> Self {
        Self {
            max_event,
            max_batch,
            max_body: MAX_BODY,
            max_lines: MAX_LINES,
            max_publishers: MAX_PUBLISHERS,
            line_time: LINE_TIME,
            body_time: BODY_TIME,
            head_time: HEAD_TIME,
        }
    }

    /// The most bytes that one publication may be written in. Data of ordinary text at most doubles when it is
    /// escaped for JSON.
    pub(super) fn max_object(&self) -> usize {
        self.max_event.saturating_mul(2).saturating_add(OVERHEAD)
    }

    /// The most bytes that an array of publications may be written in.
    pub(super) fn max_array(&self) -> usize {
        self.max_object().saturating_mul(self.max_batch.max(1)).min(self.max_body)
    }
}
