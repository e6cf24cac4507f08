//! The access log: a line a request, as JSON, logfmt or combined; a stream has one when it opens and one when it ends.
//!
//! Workers format into a buffer of their own and hand full buffers to one writing thread over a bounded queue, so a
//! slow disk never holds a request back: when the queue is full, lines are dropped and counted. A file that was moved away
//! is opened anew when that is asked for ([`Rotation`]).
//! Invariant: a query is written only through [`redacted`]; headers other than the few named here never are.

mod format;
mod line;
mod rotation;
mod sink;
mod syslog;
mod writer;

pub use format::Format;
pub use line::{Line, cut, redacted, without_userinfo};
pub use rotation::Rotation;
pub use sink::{LogFile, Sink};
pub use syslog::Syslog;
pub use writer::{AccessLog, WorkerLog};
