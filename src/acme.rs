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

use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_local};

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

/// The certificates that are got from authorities, each with what sees to it until the process drains.
#[derive(Debug)]
pub struct Renewals {
    challenges: Challenges,
    signal: Signal,
    /// Whoever has it may order.
    turn: Arc<Mutex<()>>,
    all: Vec<Underway>,
}

/// One that is seen to, until this is dropped.
#[derive(Debug)]
struct Underway {
    acme: Acme,
    path: PathBuf,
    figures: Arc<Figures>,
    task: AbortHandle,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Renewals {
    /// None yet. All that come end when the process drains.
    pub fn new(signal: Signal) -> Self {
        Self { challenges: Challenges::default(), signal, turn: Arc::default(), all: Vec::new() }
    }

    /// What authorities may ask the workers for; the same for all configurations.
    pub fn challenges(&self) -> Challenges {
        self.challenges.clone()
    }

    /// What is counted of each.
    pub fn figures(&self) -> Vec<Arc<Figures>> {
        self.all.iter().map(|underway| underway.figures.clone()).collect()
    }

    /// Sees to those of a configuration and to no others. What it says of one as before goes on, an order in flight too; what
    /// it says otherwise begins anew, and is counted with what was counted. Runs within a `LocalSet`.
    pub fn become_those(&mut self, config: &Config) {
        let mut before = std::mem::take(&mut self.all);
        for (acme, path) in wanted(config) {
            let known = before.iter().position(|known| known.path == path);
            let known = known.map(|place| before.swap_remove(place));
            let underway = match known {
                Some(known) if known.acme == *acme => known,
                known => self.begin(acme, path, known.map(|known| known.figures.clone())),
            };
            self.all.push(underway);
        }
    }

    fn begin(&self, acme: &Acme, path: PathBuf, figures: Option<Arc<Figures>>) -> Underway {
        let figures = figures.unwrap_or_else(|| {
            let name = acme.domains.first().cloned().unwrap_or_default();
            Arc::new(Figures { name, ..Figures::default() })
        });
        let (challenges, turn) = (self.challenges.clone(), self.turn.clone());
        let renewal = Renewal::new(acme, path.clone(), challenges, figures.clone(), turn);
        let mut signal = self.signal.clone();
        let task = spawn_local(async move {
            tokio::select! {
                () = renewal.run() => {}
                () = signal.reached(Stage::Draining) => {}
            }
        });
        Underway { acme: acme.clone(), path, figures, task: task.abort_handle() }
    }
}

/// Those of all listeners with the places where they are kept; one that several listeners have is there once.
fn wanted(config: &Config) -> Vec<(&Acme, PathBuf)> {
    let mut all: Vec<(&Acme, PathBuf)> = Vec::new();
    for acme in config.listen.iter().filter_map(|listen| listen.acme.as_ref()) {
        let path = certificate_path(acme);
        if !all.iter().any(|(_, known)| *known == path) {
            all.push((acme, path));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, yield_now};

    use super::*;
    use crate::shutdown;

    fn config(folder: &tempfile::TempDir, listeners: &[(u16, &str)]) -> Config {
        let listen = |(port, acme): &(u16, &str)| {
            format!("[[listen]]\naddress = \":{port}\"\nacme = {{ {acme}, dir = \"kept\" }}\n")
        };
        let route = "[[route]]\npath = \"/\"\n[route.files]\nroot = \".\"\n";
        let text = listeners.iter().map(listen).collect::<String>() + route;
        Config::parse(&text, "test", folder.path()).unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    #[test]
    fn what_several_listeners_have_is_got_once() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(
            &folder,
            &[
                (1, "domains = [\"A.Example\", \"b.example\"]"),
                (2, "domains = [\"a.example\", \"b.example\"]"),
                (3, "domains = [\"c.example\"]"),
            ],
        );
        let wanted = wanted(&config);
        let names: Vec<_> = wanted.iter().map(|(acme, _)| acme.domains[0].as_str()).collect();
        assert_eq!(names, ["a.example", "c.example"]);
        let kept = folder.path().join("kept/acme-v02.api.letsencrypt.org_directory");
        assert_eq!(wanted[0].1, kept.join("a.example.pem"));
        assert!(!kept.exists(), "nothing is made before there is something to keep");
    }

    #[tokio::test]
    async fn what_is_as_it_was_goes_on_and_what_is_not_begins_anew() {
        LocalSet::new().run_until(reconfigure()).await;
    }

    async fn reconfigure() {
        let folder = tempfile::tempdir().unwrap();
        let (_trigger, signal) = shutdown::channel();
        let mut renewals = Renewals::new(signal);
        let (a, b) = ((1, "domains = [\"a.example\"]"), (2, "domains = [\"b.example\"]"));
        let both = config(&folder, &[a, b]);
        for (acme, path) in wanted(&both) {
            // Good for a thousand years, so that no authority is asked.
            let made = rcgen::generate_simple_self_signed(acme.domains.clone()).unwrap();
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, made.signing_key.serialize_pem() + &made.cert.pem()).unwrap();
        }
        let tasks = |renewals: &Renewals| {
            renewals.all.iter().map(|underway| underway.task.clone()).collect::<Vec<_>>()
        };
        renewals.become_those(&both);
        let (first, figures) = (tasks(&renewals), renewals.figures());
        figures[1].issued.inc();

        renewals.become_those(&config(&folder, &[b, a]));
        let ids = tasks(&renewals).iter().map(AbortHandle::id).collect::<Vec<_>>();
        assert_eq!(ids, [first[1].id(), first[0].id()]);
        yield_now().await;
        assert!(!first.iter().any(AbortHandle::is_finished));

        let other = (2, "domains = [\"b.example\"], email = \"ops@b.example\"");
        renewals.become_those(&config(&folder, &[other]));
        yield_now().await;
        assert!(first.iter().all(AbortHandle::is_finished), "neither is seen to any more");
        assert!(!tasks(&renewals)[0].is_finished());
        let figures = renewals.figures();
        assert_eq!((figures.len(), figures[0].name.as_str(), figures[0].issued.get()), (1, "b.example", 1));
    }
}
