//! One certificate: looked at, ordered when it is time, and tried for again when that failed.
//!
//! Invariant: whatever happens, there is a wait before the next attempt, and what is served stays as it is until there is
//! something better.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::challenges::Challenges;
use super::client::Client;
use super::error::AcmeError;
use super::folder::Folder;
use super::held::{self, Held};
use super::patience::Patience;
use super::schedule::{self, Chance, FIRST_WAIT, LONGEST_TOLD};
use super::{Figures, account, order};
use crate::config::Acme;

/// How often a certificate is looked at: the machine may have slept, or somebody else have put a new one there.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// The least time from one certificate to the next, whatever their dates and the authority's advice are.
const PAUSE: Duration = Duration::from_secs(10);
/// How long an attempt may take in all.
const ATTEMPT: Duration = Duration::from_secs(600);
/// How often the authority is asked for its advice on when to renew (RFC 9773, section 4.3.2).
const ADVICE_EVERY: Duration = Duration::from_secs(6 * 3600);
/// How long an account is waited for while another process has orders.
const BUSY: Duration = Duration::from_secs(60);

/// One certificate.
#[derive(Debug)]
pub(super) struct Renewal {
    acme: Acme,
    folder: Folder,
    path: PathBuf,
    patience: Patience,
    challenges: Challenges,
    figures: Arc<Figures>,
    /// Whoever has it may order.
    turn: Arc<Mutex<()>>,
    /// When it is renewed, of the time when it may be.
    chance: Chance,
    /// Failed attempts since the last that did not fail.
    failures: u32,
    /// When the authority wants it to be renewed.
    advice: Option<SystemTime>,
}

/// What an attempt came to.
enum Attempt {
    /// There is a new certificate.
    Issued,
    /// Another process is at it.
    Busy,
}

impl Renewal {
    /// A certificate that is kept at `path`. Those that share a turn are ordered one after the other.
    pub(super) fn new(
        acme: &Acme,
        path: PathBuf,
        challenges: Challenges,
        figures: Arc<Figures>,
        turn: Arc<Mutex<()>>,
    ) -> Self {
        Self {
            acme: acme.clone(),
            folder: Folder::of(acme),
            patience: Patience::of(&path),
            path,
            challenges,
            figures,
            turn,
            chance: Chance::new(),
            failures: 0,
            advice: None,
        }
    }

    /// Sees to it for ever.
    pub(super) async fn run(mut self) {
        let mut ask_again = SystemTime::UNIX_EPOCH;
        let mut left = self.patience.rest(&self.acme.domains, SystemTime::now(), LONGEST_TOLD);
        loop {
            let held = self.held();
            if let Some(held) = &held
                && SystemTime::now() >= ask_again
            {
                ask_again = SystemTime::now() + ADVICE_EVERY;
                self.advice = self.ask_advice(held).await;
            }
            if let Some(rest) = self.rest(held.as_ref()) {
                sleep(rest.min(LOOK_EVERY)).await;
                continue;
            }
            if let Some(rest) = left.take() {
                let (domains, again) = (self.acme.domains.join(", "), format!("{}s", rest.as_secs()));
                tracing::info!(
                    domains,
                    again,
                    "the last attempt at a certificate failed; the next one has to wait"
                );
                sleep(rest).await;
                continue;
            }
            let client = Client::new(self.acme.tls.as_ref());
            let attempt = timeout(ATTEMPT, Box::pin(self.attempt(&client)));
            let late = instant_acme::Error::Timeout(None);
            match attempt.await.unwrap_or(Err(AcmeError::Authority(late))) {
                Ok(Attempt::Busy) => sleep(BUSY).await,
                Ok(Attempt::Issued) => {
                    (self.failures, self.advice, self.chance) = (0, None, Chance::new());
                    self.patience.end();
                    // What is new needs no advice yet, and an authority that always says "now" is not heeded.
                    ask_again = SystemTime::now() + ADVICE_EVERY;
                    sleep(PAUSE).await;
                }
                Err(error) => {
                    let wait = self.failed(&error, client.told(), held.as_ref());
                    sleep(wait).await;
                }
            }
        }
    }

    /// The certificate that is there, if it can be used and is for these hosts.
    fn held(&self) -> Option<Held> {
        let held = Held::read(&self.path).ok().flatten();
        self.figures.expires.set(held.as_ref().map_or(0, |held| held::seconds(held.leaf.not_after)));
        held.filter(|held| held.is_for(&self.acme.domains))
    }

    /// How long there is nothing to do; none is not at all.
    fn rest(&self, held: Option<&Held>) -> Option<Duration> {
        let due = schedule::due(&held?.leaf, self.chance);
        let due = self.advice.map_or(due, |advice| due.min(advice));
        due.duration_since(SystemTime::now()).ok().filter(|rest| !rest.is_zero())
    }

    /// When the authority wants the certificate to be renewed, if it says so.
    async fn ask_advice(&self, held: &Held) -> Option<SystemTime> {
        let id = held.id.as_ref()?;
        let _turn = self.turn.lock().await;
        let client = Client::new(self.acme.tls.as_ref());
        let asked = async {
            let account = account::open(&self.acme, &self.folder, client).await?;
            Ok::<_, AcmeError>(account.renewal_info(id).await?.0.suggested_window)
        };
        match timeout(ATTEMPT, Box::pin(asked)).await {
            Ok(Ok(window)) => {
                let (start, end) = (SystemTime::from(window.start), SystemTime::from(window.end));
                let whole = end.duration_since(start).unwrap_or_default();
                Some(start + Chance::new().of(whole))
            }
            Ok(Err(error)) => {
                tracing::debug!(domain = self.figures.name, %error, "the authority gives no advice on renewal");
                None
            }
            Err(_) => None,
        }
    }

    /// Orders a certificate and keeps it.
    async fn attempt(&self, client: &Client) -> Result<Attempt, AcmeError> {
        let _turn = self.turn.lock().await;
        let unusable = |cause| AcmeError::Folder { path: self.path.clone(), cause };
        let Some(_lock) = self.folder.lock().map_err(unusable)? else {
            tracing::info!(
                domain = self.figures.name,
                "another process orders certificates; it is waited for"
            );
            return Ok(Attempt::Busy);
        };
        let replaced = self.held();
        if self.rest(replaced.as_ref()).is_some() {
            // Another process has got it meanwhile.
            return Ok(Attempt::Issued);
        }
        let replaces = replaced.and_then(|held| held.id);
        let mut account = account::open(&self.acme, &self.folder, client.clone()).await;
        if account.as_ref().is_err_and(AcmeError::is_of_account) {
            account::put_aside(&self.folder)?;
            account = account::open(&self.acme, &self.folder, client.clone()).await;
        }
        let account = account?;
        let domains = &self.acme.domains;
        let mut outcome = Err(AcmeError::Other);
        for kind in &self.acme.challenges {
            outcome = order::order(&account, domains, *kind, replaces.as_ref(), &self.challenges).await;
            match &outcome {
                Err(error) if error.is_of_challenge() => {
                    tracing::warn!(domain = self.figures.name, %error, "one way to show that a host is ours failed");
                }
                _ => break,
            }
        }
        if outcome.as_ref().is_err_and(AcmeError::is_of_account) {
            // The next attempt makes a new one.
            account::put_aside(&self.folder)?;
        }
        let leaf = held::keep(self.path.clone(), outcome?, domains.clone()).await?;
        self.figures.issued.inc();
        self.figures.expires.set(held::seconds(leaf.not_after));
        let expires = httpdate::fmt_http_date(leaf.not_after);
        tracing::info!(domains = domains.join(", "), expires, "a certificate was issued");
        Ok(Attempt::Issued)
    }

    /// Counts and tells that an attempt failed. Returns how long to wait.
    fn failed(&mut self, error: &AcmeError, told: Option<Duration>, held: Option<&Held>) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.figures.failed.inc();
        let wait = schedule::wait(self.failures, told, Chance::new());
        let until = SystemTime::now() + told.map_or(FIRST_WAIT, |told| told.min(LONGEST_TOLD)).min(wait);
        if let Err(error) = self.patience.keep(&self.acme.domains, until) {
            tracing::debug!(domain = self.figures.name, %error, "it cannot be noted when to try again");
        }
        let (domains, again) = (self.acme.domains.join(", "), format!("{}s", wait.as_secs()));
        match held.filter(|held| held.leaf.not_after > SystemTime::now()) {
            Some(held) => {
                let expires = httpdate::fmt_http_date(held.leaf.not_after);
                tracing::warn!(domains, %error, again, expires, "a certificate could not be renewed; the old one goes on");
            }
            None => {
                tracing::error!(domains, %error, again, "there is no good certificate, and none could be had")
            }
        }
        wait
    }
}
