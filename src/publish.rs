//! Publishing: what a publisher may hand in, by which proof, and what it is told.
//!
//! Invariant: nothing gets past this module that a subscriber's stream, a channel or a log could not hold. The parts
//! here do no I/O; sockets and routes are built on top of them.

mod bearer;
pub mod publication;
pub mod refusal;
pub mod webhook;

pub use bearer::bearer;
pub use publication::Limits;
pub use refusal::{Refusal, RefusalKind};
