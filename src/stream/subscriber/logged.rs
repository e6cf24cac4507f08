//! A stream in the access log.
//!
//! Invariant: no more of what a client has sent is kept than a line holds.

use crate::access_log::{Line, cut};

/// What the access log says of a stream when it ends.
#[derive(Debug)]
pub(in crate::stream) struct Logged {
    target: Box<str>,
}

impl Logged {
    /// Keeps of the target what a line holds: a client may send as much as a head may be long, and streams are many.
    pub(in crate::stream) fn new(target: &str) -> Self {
        Self { target: cut(target).into() }
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
