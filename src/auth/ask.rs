//! The app's own word on who sends a request: it is asked with the client's cookies.
//!
//! Workers hand a [`Question`] to the desk on the control thread ([`desk`]), which keeps the answers and asks once for
//! all that want to know the same. Invariant: an app that does not say clearly that somebody is signed in lets nobody
//! in; one that cannot be asked is [`AuthError::Unavailable`], never a pass and never a sign-out.

mod answer;
mod cache;
mod credential;
mod desk;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{AuthError, Found, Identity, Presented};
use crate::config::{AskProvider, Upstream};
use crate::fetch;

pub(super) use credential::{Credential, is_ambient};
pub(super) use desk::Desk;

use answer::Verdict;

/// How many questions of all workers may wait for the desk.
const MAX_WAITING: usize = 1024;

/// How long a worker waits for the desk besides `retry_for`. The desk's own bounds are [`fetch::CONNECT_TIMEOUT`] and
/// [`fetch::ANSWER_TIMEOUT`] and a wait for its turn.
const PATIENCE: Duration = fetch::CONNECT_TIMEOUT.saturating_add(fetch::ANSWER_TIMEOUT.saturating_mul(2));

/// Of the time between two questions about an open stream, an answer may be this share old to serve several streams
/// of one user: one in so many.
const SHARED_FOR: u32 = 2;

/// What a worker wants to know.
#[derive(Debug)]
pub(super) struct Question {
    credential: Credential,
    /// How old an answer may be.
    max_age: Duration,
    reply: oneshot::Sender<Result<Verdict, AuthError>>,
}

/// A worker's side of one provider.
#[derive(Debug)]
pub(super) struct Ask {
    cookies: Vec<String>,
    cache: Duration,
    recheck: Duration,
    patience: Duration,
    desk: mpsc::Sender<Question>,
}

/// What it takes to ask again about a stream that is open.
#[derive(Debug, Clone, PartialEq)]
pub struct Recheck {
    credential: Credential,
    /// Who it was when the stream was opened.
    user: Box<str>,
    /// How often.
    pub every: Duration,
}

impl Recheck {
    /// Whether it is still the one who opened the stream.
    pub fn is_same(&self, identity: &Identity) -> bool {
        *self.user == *identity.user
    }
}

impl Ask {
    /// A provider, and its desk, which has to run on the control thread.
    pub(super) fn new(provider: &AskProvider, upstream: Upstream) -> (Self, Desk) {
        let (desk, questions) = mpsc::channel(MAX_WAITING);
        let ask = Self {
            cookies: provider.cookies.clone(),
            cache: provider.cache,
            recheck: provider.recheck,
            patience: PATIENCE + upstream.retry_for,
            desk,
        };
        (ask, Desk::new(provider.clone(), upstream, questions))
    }

    /// Asks the app; none when the request has nothing to ask about.
    pub(super) async fn admit(&self, presented: Presented<'_>) -> Result<Option<Found>, AuthError> {
        let Some((credential, source)) = Credential::of(&presented, &self.cookies)? else { return Ok(None) };
        let identity = self.ask(credential.clone(), self.cache).await?;
        let user = identity.user.as_str().into();
        let recheck = Box::new(Recheck { credential, user, every: self.recheck });
        Ok(Some(Found { identity: Arc::unwrap_or_clone(identity), source, recheck: Some(recheck) }))
    }

    /// Asks again who it is.
    pub(super) async fn admit_again(&self, recheck: &Recheck) -> Result<Arc<Identity>, AuthError> {
        self.ask(recheck.credential.clone(), self.cache.min(self.recheck / SHARED_FOR)).await
    }

    async fn ask(&self, credential: Credential, max_age: Duration) -> Result<Arc<Identity>, AuthError> {
        let (reply, answered) = oneshot::channel();
        let question = Question { credential, max_age, reply };
        // A desk that is behind by so much would answer too late.
        self.desk.try_send(question).map_err(|_| AuthError::Unavailable)?;
        match timeout(self.patience, answered).await {
            Ok(Ok(Ok(Verdict::Known(identity)))) => Ok(identity),
            Ok(Ok(Ok(Verdict::Refused(reason)))) => Err(reason.into()),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) | Err(_) => Err(AuthError::Unavailable),
        }
    }
}

#[cfg(test)]
mod tests;
