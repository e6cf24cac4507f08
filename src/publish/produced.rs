//! The span of a publication, from when it came until it is acknowledged.
//!
//! Invariant: nothing of what is published is in it, nor for whom it is.

use http::header::HeaderMap;

use crate::event::EventId;
use crate::publish::refusal::Refusal;
use crate::trace::{Kind, Span, Tracer};

/// What a publication's span is called.
const NAME: &str = "publish";

/// A publication that is recorded, or one that is not.
#[derive(Debug, Default)]
pub(super) struct Produced(Option<Box<Span>>);

impl Produced {
    /// Begins it for a request of the app's own, whose word on traces holds.
    pub(super) fn begin(tracer: Option<&Tracer>, fields: &HeaderMap) -> Self {
        Self::of(tracer.and_then(|tracer| tracer.begin_within(fields, Kind::Producer)))
    }

    /// Begins it for what comes without fields.
    pub(super) fn begin_alone(tracer: Option<&Tracer>) -> Self {
        Self::of(tracer.and_then(|tracer| tracer.begin_alone(Kind::Producer)))
    }

    /// Begins it within the span of a request, if that has one.
    pub(super) fn within(span: Option<&Span>) -> Self {
        Self::of(span.map(|span| span.child(Kind::Producer)))
    }

    fn of(span: Option<Span>) -> Self {
        let mut span = span.map(Box::new);
        if let Some(span) = &mut span {
            span.put("messaging.system", env!("CARGO_PKG_NAME"));
            span.put("messaging.operation.type", "send");
            span.put("messaging.operation.name", NAME);
        }
        Self(span)
    }

    /// It is acknowledged: the events, and how many streams each was handed to.
    pub(super) fn put(&mut self, told: impl ExactSizeIterator<Item = (EventId, usize)> + Clone) {
        let Some(span) = &mut self.0 else { return };
        let count = told.len();
        match told.clone().next() {
            Some((id, _)) if count == 1 => span.put("messaging.message.id", id.to_string()),
            _ => span.put("messaging.batch.message_count", count as u64),
        }
        span.put("sidestream.delivered", told.map(|(_, streams)| streams as u64).sum::<u64>());
    }

    /// It is over.
    pub(super) fn end(self, refusal: Option<&Refusal>) {
        let Some(mut span) = self.0 else { return };
        if let Some(refusal) = refusal {
            span.fail(refusal.kind().code());
        }
        span.name(NAME);
        span.end();
    }
}
