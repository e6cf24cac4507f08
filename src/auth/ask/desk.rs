//! The desk on the control thread: it asks the app, once for all who want to know the same, and keeps the answers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::super::AuthError;
use super::Question;
use super::answer::{Unclear, Verdict, judge};
use super::cache::Cache;
use super::credential::{Credential, Key};
use crate::config::{AskProvider, Upstream};
use crate::fetch::{self, FetchError, Place};

/// How many questions an app is asked at once; a handful is all that a small app has workers for.
const MAX_AT_ONCE: usize = 32;
/// How many different questions may wait for their turn, beyond which nobody would wait long enough.
const MAX_OPEN: usize = 10_000;
/// The shortest time between two lines in the log: a client can make an app answer nonsense, as by a host that it does not
/// know, as often as it likes.
const TELL: Duration = Duration::from_secs(10);
/// The pause before an app that is not there is asked again, give or take a half.
const RESTART_PAUSE: Duration = Duration::from_millis(50);
/// The largest body of an answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

type Reply = oneshot::Sender<Result<Verdict, AuthError>>;

/// The desk of one provider, before it runs.
#[derive(Debug)]
pub(in crate::auth) struct Desk {
    provider: AskProvider,
    upstream: Upstream,
    questions: mpsc::Receiver<Question>,
}

impl Desk {
    pub(super) fn new(
        provider: AskProvider,
        upstream: Upstream,
        questions: mpsc::Receiver<Question>,
    ) -> Self {
        Self { provider, upstream, questions }
    }

    /// Answers questions for as long as anybody may have one. Runs within a `LocalSet`.
    pub(in crate::auth) async fn run(self) {
        let Self { provider, upstream, mut questions } = self;
        let places = Place::of(&upstream);
        let open = Rc::new(Open {
            provider,
            places,
            retry_for: upstream.retry_for,
            next: Cell::new(0),
            cache: RefCell::default(),
            asked: RefCell::default(),
            turns: Semaphore::new(MAX_AT_ONCE),
            is_failing: Cell::new(false),
            told: Cell::new(None),
        });
        while let Some(question) = questions.recv().await {
            open.take(question);
        }
    }
}

/// The desk while it runs.
struct Open {
    provider: AskProvider,
    places: Vec<Place>,
    /// How long an app that is being restarted is waited for.
    retry_for: Duration,
    /// The server whose turn it is.
    next: Cell<usize>,
    cache: RefCell<Cache>,
    /// Who waits for the answers that are on their way.
    asked: RefCell<HashMap<Key, Vec<Reply>>>,
    turns: Semaphore,
    /// What the log says of the app, and since when.
    is_failing: Cell<bool>,
    told: Cell<Option<Instant>>,
}

impl Open {
    fn take(self: &Rc<Self>, question: Question) {
        let Question { credential, max_age, reply } = question;
        if let Some(verdict) = self.cache.borrow().find(&credential.key, max_age, Instant::now()) {
            // Whoever has gone meanwhile needs no answer.
            let _ = reply.send(Ok(verdict));
            return;
        }
        let mut asked = self.asked.borrow_mut();
        if let Some(waiting) = asked.get_mut(&credential.key) {
            waiting.push(reply);
        } else if asked.len() >= MAX_OPEN {
            let _ = reply.send(Err(AuthError::Unavailable));
        } else {
            asked.insert(credential.key, vec![reply]);
            let open = self.clone();
            spawn_local(async move { open.answer(credential).await });
        }
    }

    async fn answer(&self, credential: Credential) {
        let key = credential.key;
        let verdict = match self.turns.acquire().await {
            Ok(_turn) if self.is_wanted(&key) => self.ask(&credential).await,
            _ => Err(AuthError::Unavailable),
        };
        let waiting = self.asked.borrow_mut().remove(&key).unwrap_or_default();
        for reply in waiting {
            let _ = reply.send(verdict.clone());
        }
    }

    /// Whether anybody still waits for an answer.
    fn is_wanted(&self, key: &Key) -> bool {
        self.asked.borrow().get(key).is_some_and(|waiting| waiting.iter().any(|reply| !reply.is_closed()))
    }

    async fn ask(&self, credential: &Credential) -> Result<Verdict, AuthError> {
        let asked = Instant::now();
        let judged = match self.fetch(credential).await {
            Ok(answer) => judge(&self.provider, &answer),
            Err(error) => Err(Unclear::Fetch(error)),
        };
        self.report(judged.as_ref().err());
        let verdict = judged.map_err(|_| AuthError::Unavailable)?;
        if self.provider.cache > Duration::ZERO {
            self.cache.borrow_mut().keep(credential.key, verdict.clone(), asked, verdict.weight());
        }
        Ok(verdict)
    }

    /// Asks, and waits for an app that is not there, as requests for it do.
    async fn fetch(&self, credential: &Credential) -> Result<fetch::Answer, FetchError> {
        let begun = Instant::now();
        loop {
            let error = match self.fetch_once(credential).await {
                Err(error) if error.is_absence() => error,
                answered => return answered,
            };
            let pause = RESTART_PAUSE.mul_f64(0.5 + fastrand::f64());
            if begun.elapsed() + pause > self.retry_for {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    /// Asks the server whose turn it is, or one behind it if that cannot be reached.
    async fn fetch_once(&self, credential: &Credential) -> Result<fetch::Answer, FetchError> {
        let first = self.next.replace(self.next.get().wrapping_add(1)) % self.places.len().max(1);
        let (behind, begin) = self.places.split_at(first);
        let target = &self.provider.path;
        let question = fetch::Question { target, fields: credential.fields(), max_body: MAX_ANSWER };
        fetch::get_from(begin.iter().chain(behind), question).await
    }

    /// Says that the app does not answer, and once that it does again.
    fn report(&self, unclear: Option<&Unclear>) {
        let is_news = unclear.is_some() != self.is_failing.get();
        let is_early = self.told.get().is_some_and(|told| told.elapsed() < TELL);
        if !is_news || is_early {
            return;
        }
        self.is_failing.set(unclear.is_some());
        self.told.set(Some(Instant::now()));
        let provider = &self.provider.name;
        match unclear {
            Some(error) => {
                tracing::warn!(%provider, path = %self.provider.path, %error, "the app does not say who is signed in");
            }
            None => tracing::info!(%provider, "the app says again who is signed in"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ask::tests::provider;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_a_client_spoils_fills_no_log() {
        let open = Open {
            provider: provider(),
            places: Vec::new(),
            retry_for: Duration::ZERO,
            next: Cell::new(0),
            cache: RefCell::default(),
            asked: RefCell::default(),
            turns: Semaphore::new(1),
            is_failing: Cell::new(false),
            told: Cell::new(None),
        };
        let unclear = Unclear::Status(http::StatusCode::BAD_REQUEST);
        let begun = Instant::now();
        for _ in 0..3 {
            open.report(Some(&unclear));
            open.report(None);
            assert!(open.is_failing.get() && open.told.get() == Some(begun), "one line");
        }
        tokio::time::advance(TELL).await;
        open.report(None);
        assert!(!open.is_failing.get(), "what is so is told in the end");
        assert_eq!(open.told.get(), Some(begun + TELL));
    }
}
