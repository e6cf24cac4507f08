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

// STUB
#[derive(Debug, Clone)]
pub struct Publisher {
    pub hub: crate::hub::Hub,
}
pub mod route {
    pub async fn receive(
        _p: &super::Publisher,
        _c: &crate::config::PublishCheck,
        _parts: &http::request::Parts,
        _body: hyper::body::Incoming,
        _now: std::time::SystemTime,
    ) -> http::Response<bytes::Bytes> {
        http::Response::default()
    }
}
