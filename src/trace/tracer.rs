//! Which requests are recorded, and within which trace.
//!
//! The word of a caller that is trusted holds: what it records is recorded, what it does not is not, as long as it asks
//! for no more than [`ASKED`] a second; beyond that it is one of many. Of anybody else the number of the trace is taken over
//! and nothing more: a share of those requests is recorded, as of the others, and the app is told our decision.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Instant;

use http::header::HeaderMap;

use super::context::{Context, Said, clear, clear_bad_state};
use super::exporter::Queue;
use super::span::{Kind, Span};
use crate::limits::Throttle;

/// How many requests a second are recorded because a trusted caller asks for it. A proxy that passes on what its own
/// clients say is trusted too.
const ASKED: NonZero<u32> = NonZero::new(1000).unwrap();

/// Decides what is recorded. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tracer {
    /// Of 2³² requests, how many.
    share: u64,
    asked: Arc<Throttle>,
    queue: Queue,
}

impl Tracer {
    pub(super) fn new(share: f64, queue: Queue) -> Self {
        // A share is between 0 and 1.
        #[expect(clippy::cast_possible_truncation, reason = "no more than 2^32")]
        let share = (share.clamp(0.0, 1.0) * 4_294_967_296.0) as u64;
        Self { share, asked: Arc::new(Throttle::per_second(ASKED)), queue }
    }

    /// Begins the span of a request, if it is recorded. `fields` are left with what an app is to be told by those who do
    /// not record it.
    pub fn begin(&self, fields: &mut HeaderMap, is_trusted: bool, kind: Kind) -> Option<Span> {
        let said = Said::of(fields);
        let caller = match said {
            Said::Context(caller) => Some(caller),
            Said::Nothing => None,
            Said::Invalid => {
                clear(fields);
                None
            }
        };
        let is_recorded = self.is_recorded(caller, is_trusted);
        match caller {
            Some(_) => clear_bad_state(fields),
            None if is_recorded => clear(fields),
            None => {}
        }
        if let Some(caller) = caller.filter(|caller| caller.is_sampled && !is_recorded) {
            Context { is_sampled: false, ..caller }.put(fields);
        }
        is_recorded.then(|| Span::begin(caller, kind, self.queue.clone()))
    }

    /// Begins the span of what a trusted caller asks for with these fields, if it is recorded.
    pub fn begin_within(&self, fields: &HeaderMap, kind: Kind) -> Option<Span> {
        let caller = match Said::of(fields) {
            Said::Context(caller) => Some(caller),
            Said::Nothing | Said::Invalid => None,
        };
        self.is_recorded(caller, true).then(|| Span::begin(caller, kind, self.queue.clone()))
    }

    /// Begins the span of what came without fields, if it is recorded.
    pub fn begin_alone(&self, kind: Kind) -> Option<Span> {
        self.is_chosen().then(|| Span::begin(None, kind, self.queue.clone()))
    }

    fn is_recorded(&self, caller: Option<Context>, is_trusted: bool) -> bool {
        match caller {
            Some(caller) if is_trusted && !caller.is_sampled => false,
            Some(_) if is_trusted && self.asked.take(Instant::now()).is_ok() => true,
            _ => self.is_chosen(),
        }
    }

    fn is_chosen(&self) -> bool {
        u64::from(fastrand::u32(..)) < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn tracer(share: f64) -> Tracer {
        Tracer::new(share, Queue::nowhere())
    }

    fn fields(traceparent: &str) -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.insert("traceparent", traceparent.parse().unwrap());
        fields.insert("tracestate", "a=1".parse().unwrap());
        fields
    }

    fn parent(flags: &str) -> String {
        format!("00-{TRACE}-00f067aa0ba902b7-{flags}")
    }

    #[test]
    fn a_trusted_callers_flag_is_followed() {
        for share in [0.0, 1.0] {
            for (flags, is_recorded) in [("01", true), ("00", false)] {
                let mut fields = fields(&parent(flags));
                let span = tracer(share).begin(&mut fields, true, Kind::Server);
                assert_eq!(span.map(|span| span.trace()), is_recorded.then(|| TRACE.to_owned()));
                assert_eq!(fields["traceparent"], parent(flags));
                assert_eq!(fields["tracestate"], "a=1");
            }
        }
    }

    #[test]
    fn of_a_stranger_only_the_number_of_its_trace_is_taken() {
        for flags in ["00", "01"] {
            let mut kept = fields(&parent(flags));
            assert!(tracer(0.0).begin(&mut kept, false, Kind::Server).is_none());
            assert_eq!(kept["traceparent"], parent("00"), "and the app is not told to record it");
            let span = tracer(1.0).begin(&mut kept, false, Kind::Server).unwrap();
            assert_eq!(span.trace(), TRACE);
            span.pass_on(&mut kept);
            let told = kept["traceparent"].to_str().unwrap();
            assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-01"), "{told}");
            assert_ne!(told, parent("01"));
        }
    }

    #[test]
    fn a_trusted_caller_cannot_fill_the_collector() {
        let tracer = tracer(0.0);
        let recorded = (0..3 * ASKED.get())
            .filter(|_| tracer.begin(&mut fields(&parent("01")), true, Kind::Server).is_some());
        let recorded = recorded.count();
        assert!((1000..2000).contains(&recorded), "{recorded}");
    }

    #[test]
    fn what_is_invalid_begins_anew() {
        for share in [0.0, 1.0] {
            let mut fields = fields("00-00000000000000000000000000000000-00f067aa0ba902b7-01");
            let span = tracer(share).begin(&mut fields, true, Kind::Server);
            assert_eq!(span.is_some(), share > 0.5);
            assert!(span.is_none_or(|span| !span.trace().starts_with("00000000")));
            assert!(fields.is_empty(), "{fields:?}");
        }
    }

    #[test]
    fn a_share_is_recorded() {
        let tracer = tracer(0.25);
        let recorded = (0..40_000).filter(|_| tracer.begin_alone(Kind::Producer).is_some()).count();
        assert!((8_000..12_000).contains(&recorded), "{recorded}");
    }
}
