//! The session cookie of NextAuth v4 and Auth.js v5, opened without asking the app.

use std::time::SystemTime;

use super::{Admission, AuthError, Presented, Reason};
use crate::config::AuthJsProvider;

/// What one provider opens cookies with.
#[derive(Debug)]
pub(super) struct AuthJs {}

impl AuthJs {
    pub(super) fn new(_provider: &AuthJsProvider) -> Self {
        Self {}
    }

    /// Opens the request's cookie as of `now`; none when there is no such cookie.
    pub(super) fn admit(
        &self,
        _presented: Presented<'_>,
        _now: SystemTime,
    ) -> Result<Option<Admission>, AuthError> {
        Err(Reason::Malformed.into())
    }
}
