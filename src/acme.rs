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
mod held;
mod order;
mod patience;
mod renewal;
mod schedule;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::config::{Acme, Config};
use crate::metrics::Cell;
use crate::shutdown::{Signal, Stage};

pub use challenges::Challenges;
pub use error::AcmeError;

use folder::Folder;
use renewal::Renewal;

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
        let turn = Arc::default();
        let mut all: Vec<Renewal> = Vec::new();
        for acme in config.listen.iter().filter_map(|listen| listen.acme.as_ref()) {
            let path = certificate_path(acme);
            if all.iter().any(|renewal| renewal.path() == path) {
                continue;
            }
            let figures =
                Figures { name: acme.domains.first().cloned().unwrap_or_default(), ..Figures::default() };
            let figures = Arc::new(figures);
            all.push(Renewal::new(acme, path, challenges.clone(), figures, Arc::clone(&turn)));
        }
        Self { challenges, all }
    }

    /// What authorities may ask the workers for.
    pub fn challenges(&self) -> Challenges {
        self.challenges.clone()
    }

    /// What is counted of each.
    pub fn figures(&self) -> Vec<Arc<Figures>> {
        self.all.iter().map(|renewal| renewal.figures()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_listeners_have_is_got_once() {
        let folder = tempfile::tempdir().unwrap();
        let listen = |port, domains| {
            format!("[[listen]]\naddress = \":{port}\"\nacme = {{ domains = {domains}, dir = \"kept\" }}\n")
        };
        let text = [
            listen(1, "[\"A.Example\", \"b.example\"]"),
            listen(2, "[\"a.example\", \"b.example\"]"),
            listen(3, "[\"c.example\"]"),
            "[[route]]\npath = \"/\"\n[route.files]\nroot = \".\"\n".to_owned(),
        ];
        let config =
            Config::parse(&text.concat(), "test", folder.path()).unwrap_or_else(|wrong| panic!("{wrong}"));
        let renewals = Renewals::new(&config);
        let figures = renewals.figures();
        assert_eq!(
            figures.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
            ["a.example", "c.example"]
        );
        assert!(figures.iter().all(|one| one.expires.get() == 0));
        let kept = folder.path().join("kept/acme-v02.api.letsencrypt.org_directory");
        assert_eq!(renewals.all[0].path(), kept.join("a.example.pem"));
        assert!(!kept.exists(), "nothing is made before there is something to keep");
    }
}
