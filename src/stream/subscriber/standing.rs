//! How a stream stands, for who looks.

use super::{Form, Subscriber};

/// How a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stream) struct Standing {
    pub(in crate::stream) protocol: &'static str,
    /// Whether it has more of history to read than it was given.
    pub(in crate::stream) is_reading: bool,
    /// The oldest event handed to it that has not left as a whole.
    pub(in crate::stream) unwritten: Option<u64>,
    /// How many bytes wait.
    pub(in crate::stream) waiting: usize,
}

impl Subscriber {
    /// How it stands.
    pub(in crate::stream) fn standing(&self) -> Standing {
        let state = self.state.borrow();
        let is_flushed = match &state.form {
            Form::Parked { transport, .. } => transport.is_flushed(),
            Form::Body => true,
        };
        let backlog = state.backlog.as_deref();
        let first = backlog.and_then(|backlog| backlog.first_id());
        // What a session has encrypted and its socket did not take is the end of what was handed last.
        let unwritten = first.or((!is_flushed).then(|| self.cursor.get()));
        Standing {
            protocol: state.protocol(),
            is_reading: backlog.is_some_and(|backlog| backlog.history.is_some()),
            unwritten,
            waiting: backlog.map_or(0, |backlog| backlog.bytes()),
        }
    }
}
