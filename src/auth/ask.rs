//! The app's own word on who sends a request.

use std::time::SystemTime;

use super::{Admission, AuthError, Presented};
use crate::config::AskProvider;

/// How one provider asks.
#[derive(Debug)]
pub(super) struct Ask {}

impl Ask {
    pub(super) fn new(_provider: &AskProvider) -> Self {
        Self {}
    }

    /// Asks the app; none when the request has nothing to ask about.
    pub(super) async fn admit(
        &self,
        _presented: Presented<'_>,
        _now: SystemTime,
    ) -> Result<Option<Admission>, AuthError> {
        Err(AuthError::Unavailable)
    }
}
