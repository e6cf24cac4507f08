//! Certificates from an authority by ACME (RFC 8555): ordered, kept on disk, and renewed ahead of their end.
//!
//! It is for the control thread. What was got is a file, and whoever watches over the files of listeners serves it: so a
//! certificate that is there when the process starts is served at once, and one that cannot be renewed goes on.
//!
//! Invariants: nothing waits for an authority; one order at a time, and no attempt follows a failed one sooner than the
//! schedule and the authority say; keys are in files of mode 0600 and nowhere else.

mod account;
mod challenges;
mod client;
mod error;
mod folder;
mod order;
mod schedule;

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::CertificateIdentifier;
use rustls::pki_types::CertificateDer;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::{Acme, Certificate, CertificateError, Config};
use crate::metrics::Cell;
use crate::shutdown::{Signal, Stage};
use crate::tls::Leaf;

pub use challenges::Challenges;
pub use error::AcmeError;

use client::Client;
use folder::Folder;
use schedule::Chance;

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

/// What is counted of one certificate. Written by the control thread.
#[derive(Debug, Default)]
pub struct Figures {
    /// The host that names it.
    pub name: String,
    /// When it ends, in seconds since 1970; 0 while there is none.
    pub expires: Cell,
    /// How often it was got.
    pub issued: Cell,
    /// How many attempts failed.
    pub failed: Cell,
}

/// Where the certificate is kept, with its key in the same file.
pub fn certificate_path(acme: &Acme) -> PathBuf {
    Folder::of(acme).certificate(&acme.domains)
}

/// The certificates that are got from authorities.
#[derive(Debug, Default)]
pub struct Renewals {
    challenges: Challenges,
    all: Vec<Renewal>,
}

impl Renewals {
    /// Those of all listeners; one that several listeners have is there once.
    pub fn new(config: &Config) -> Self {
        let challenges = Challenges::default();
        let turn = Rc::default();
        let mut all: Vec<Renewal> = Vec::new();
        for acme in config.listen.iter().filter_map(|listen| listen.acme.as_ref()) {
            let path = certificate_path(acme);
            if all.iter().any(|renewal| renewal.path == path) {
                continue;
            }
            let figures =
                Figures { name: acme.domains.first().cloned().unwrap_or_default(), ..Figures::default() };
            all.push(Renewal {
                folder: Folder::of(acme),
                path,
                acme: acme.clone(),
                challenges: challenges.clone(),
                figures: Arc::new(figures),
                turn: Rc::clone(&turn),
                chance: Chance::new(),
                failures: 0,
                advice: None,
            });
        }
        Self { challenges, all }
    }

    /// What authorities may ask the workers for.
    pub fn challenges(&self) -> Challenges {
        self.challenges.clone()
    }

    /// What is counted of each.
    pub fn figures(&self) -> Vec<Arc<Figures>> {
        self.all.iter().map(|renewal| renewal.figures.clone()).collect()
    }

    /// Sees to all of them until the process drains, or this is dropped.
    pub async fn run(self, mut signal: Signal) {
        let mut tasks = JoinSet::new();
        for renewal in self.all {
            tasks.spawn_local(renewal.run());
        }
        signal.reached(Stage::Draining).await;
    }
}

/// One certificate.
#[derive(Debug)]
struct Renewal {
    acme: Acme,
    folder: Folder,
    path: PathBuf,
    challenges: Challenges,
    figures: Arc<Figures>,
    /// Whoever has it may order.
    turn: Rc<Mutex<()>>,
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
    async fn run(mut self) {
        let mut ask_again = SystemTime::UNIX_EPOCH;
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
            let client = Client::new(self.acme.tls.clone());
            let attempt = timeout(ATTEMPT, Box::pin(self.attempt(&client)));
            let late = instant_acme::Error::Timeout(None);
            match attempt.await.unwrap_or(Err(AcmeError::Authority(late))) {
                Ok(Attempt::Busy) => sleep(BUSY).await,
                Ok(Attempt::Issued) => {
                    (self.failures, self.advice, self.chance) = (0, None, Chance::new());
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
        self.figures.expires.set(held.as_ref().map_or(0, |held| seconds(held.leaf.not_after)));
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
        let client = Client::new(self.acme.tls.clone());
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
        let leaf = keep(self.path.clone(), outcome?, domains.clone()).await?;
        self.figures.issued.inc();
        self.figures.expires.set(seconds(leaf.not_after));
        let expires = httpdate::fmt_http_date(leaf.not_after);
        tracing::info!(domains = domains.join(", "), expires, "a certificate was issued");
        Ok(Attempt::Issued)
    }

    /// Counts and tells that an attempt failed. Returns how long to wait.
    fn failed(&mut self, error: &AcmeError, told: Option<Duration>, held: Option<&Held>) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.figures.failed.inc();
        let wait = schedule::wait(self.failures, told, Chance::new());
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

/// A certificate that is kept.
struct Held {
    leaf: Leaf,
    /// How its authority calls it.
    id: Option<CertificateIdentifier<'static>>,
}

impl Held {
    /// Reads a file; none if it is not there.
    fn read(path: &Path) -> Result<Option<Self>, AcmeError> {
        let certificate = match Certificate::load(path, path) {
            Ok(certificate) => certificate,
            Err(CertificateError::CertUnreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(AcmeError::Unusable(error)),
        };
        let own: Option<&CertificateDer<'_>> = certificate.key.cert.first();
        let Some((own, leaf)) = own.and_then(|own| Some((own, Leaf::read(own)?))) else {
            return Err(AcmeError::Other);
        };
        let id = CertificateIdentifier::try_from(own).ok().map(CertificateIdentifier::into_owned);
        Ok(Some(Self { leaf, id }))
    }

    /// Whether it is for these hosts and for no others.
    fn is_for(&self, domains: &[String]) -> bool {
        let names = &self.leaf.names;
        domains.iter().all(|domain| names.contains(domain)) && names.iter().all(|name| domains.contains(name))
    }
}

/// Keeps a key and its chain, once they have been looked at.
async fn keep(path: PathBuf, text: String, domains: Vec<String>) -> Result<Leaf, AcmeError> {
    let to = path.clone();
    let kept = move || {
        let unusable = |cause| AcmeError::Folder { path: to.clone(), cause };
        let new = folder::write_beside(&to, text.as_bytes()).map_err(unusable)?;
        let held = Held::read(&new)?;
        let is_good = |held: &Held| held.is_for(&domains) && held.leaf.not_after > SystemTime::now();
        let held = held.filter(is_good).ok_or(AcmeError::Other)?;
        folder::put_in_place(&new, &to).map_err(unusable)?;
        Ok(held.leaf)
    };
    // Where files may be waited for: publishers are served by this thread.
    let kept = tokio::task::spawn_blocking(kept).await;
    kept.unwrap_or_else(|error| Err(AcmeError::Folder { path, cause: io::Error::other(error) }))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
