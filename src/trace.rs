//! Traces: what requests, streams and publications took their time for, told to a collector by OTLP over HTTP.
//!
//! Who serves a request asks the [`Tracer`] whether its trace is recorded, and says what there is to say in a [`Span`]. A
//! span that has ended goes into a bounded queue, and one thread sends what is there ([`Exporter`]).
//!
//! Invariants: nobody who serves anything waits for the collector; a queue that is full loses spans and counts them. What
//! a client may not decide, it does not: a flag of its own records nothing unless a trusted proxy sends it, and of those
//! there are so many a second.
//!
//! The code is our own and not the crates of OpenTelemetry: those bring a second HTTP client, a second runtime's worth of
//! batching and the generated types of protobuf, for what are a header of 55 bytes and one JSON object here.

mod context;
mod exporter;
mod otlp;
mod post;
mod span;
mod tracer;

pub use exporter::{Exporter, Figures};
pub use span::{Kind, Span, Value};
pub use tracer::Tracer;
