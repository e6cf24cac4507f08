//! A stream in the access log, and its span.
//!
//! Invariant: no more of what a client has sent is kept than a line holds.

use std::cell::RefCell;

use super::Subscriber;
use crate::access_log::{Line, cut};
use crate::stream::End;
use crate::trace::Span;

/// What the access log says of a stream when it ends.
#[derive(Debug)]
pub(in crate::stream) struct Logged {
    target: Box<str>,
    /// Until it ends, if it is recorded.
    span: RefCell<Option<Box<Span>>>,
}

impl Logged {
    /// Keeps of the target what a line holds: a client may send as much as a head may be long, and streams are many.
    pub(in crate::stream) fn new(target: &str) -> Self {
        Self { target: cut(target).into(), span: RefCell::default() }
    }

    /// With the stream's span.
    pub(in crate::stream) fn with(self, span: Option<Box<Span>>) -> Self {
        Self { span: RefCell::new(span), ..self }
    }

    /// Ends the stream's span, if there is one.
    pub(in crate::stream) fn end_span(&self, subscriber: &Subscriber, end: End) {
        let Some(mut span) = self.span.take() else { return };
        // The name is the path, and behind it the hosts that the route is for.
        let path = subscriber.settings.name.split(' ').next().unwrap_or_default().to_owned();
        span.name(format!("stream {path}"));
        span.put("http.route", path);
        span.put("sidestream.stream.channels", subscriber.channels.len() as u64);
        span.put("sidestream.stream.events", subscriber.delivered.get());
        span.put("sidestream.stream.end", end.to_string());
        if matches!(end, End::Evicted | End::StoreFailed) {
            span.fail(end.to_string());
        }
        span.end();
    }

    /// Puts the fields that both lines of a stream have.
    pub(in crate::stream) fn put<'l>(&self, client: &str, user: Option<&str>, line: Line<'l>) -> Line<'l> {
        let line = line.text("client", client).target(&self.target);
        match user {
            Some(user) => line.text("user", user),
            None => line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_keeps_no_more_of_its_target_than_is_logged() {
        let target = format!("/events?x={}", "x".repeat(60_000));
        let logged = Logged::new(&target);
        assert_eq!((&*logged.target, logged.target.len()), (&target[..2048], 2048));
    }
}
