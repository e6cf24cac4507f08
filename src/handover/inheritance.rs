//! What a process has been started with: sockets of the service manager, and those of the process before it.
//!
//! Invariant: each of the latter is taken once, by the part of the configuration that asks for the same as before.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::systemd::{Passed, Sockets};

use super::{Letter, Word};

/// Whether this is the process that serves the addresses, and removes the files of Unix sockets. A cheap handle.
#[derive(Debug, Clone)]
pub struct Claim(Arc<watch::Sender<bool>>);

impl Claim {
    fn new(is_ours: bool) -> Self {
        Self(Arc::new(watch::Sender::new(is_ours)))
    }

    /// Whether it is.
    pub fn is_ours(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is, or until it is not.
    pub async fn becomes(&self, is_ours: bool) {
        // The sender is ours.
        let _ = self.0.subscribe().wait_for(|now| *now == is_ours).await;
    }

    /// It is from now on.
    pub fn take(&self) {
        self.0.send_replace(true);
    }

    /// It is another one from now on.
    pub fn give(&self) {
        self.0.send_replace(false);
    }
}

impl Default for Claim {
    fn default() -> Self {
        Self::new(true)
    }
}

/// Which part of a process a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heir {
    /// A listener; it may have several sockets.
    Listener,
    /// The publish socket.
    Publish,
    /// The publishers' address on TCP.
    PublishHttp,
    /// The operator's address.
    Admin,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Inheritance {
    given: Sockets,
    handed: Mutex<Vec<Handed>>,
    claim: Claim,
}

#[derive(Debug)]
struct Handed {
    heir: Heir,
    /// What tells a listener from another that asks for the same.
    place: usize,
    asked: String,
    socket: Passed,
}

impl Inheritance {
    /// Only what the service manager has given.
    pub fn given(given: Sockets) -> Self {
        Self { given, ..Self::default() }
    }

    /// What the process before this one hands over, letter by letter. The files are still its own.
    pub(super) fn handed(letters: Vec<Letter>) -> io::Result<Self> {
        let (mut given, mut handed) = (Vec::new(), Vec::new());
        for letter in letters {
            let text = letter.text()?.to_owned();
            let socket = letter.socket.map(Passed::try_from).transpose()?;
            let heir = match letter.word {
                Word::Given => {
                    given.push((text, socket));
                    continue;
                }
                Word::Listener => Heir::Listener,
                Word::Publish => Heir::Publish,
                Word::PublishHttp => Heir::PublishHttp,
                Word::Admin => Heir::Admin,
                _ => continue,
            };
            let Some(socket) = socket else { continue };
            let (place, asked) = match heir {
                Heir::Listener => text.split_once(' ').unwrap_or(("", &text)),
                _ => ("", &*text),
            };
            let place = place.parse().unwrap_or_default();
            handed.push(Handed { heir, place, asked: asked.to_owned(), socket });
        }
        Ok(Self { given: Sockets::handed(given), handed: Mutex::new(handed), claim: Claim::new(false) })
    }

    /// The sockets that the service manager has opened.
    pub fn sockets(&self) -> &Sockets {
        &self.given
    }

    /// Whether the files of sockets are ours.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Takes the sockets that were handed over for this part, if it asks for the same as before: those of one listener,
    /// the first of those that are left.
    pub fn take(&self, heir: Heir, asked: &str) -> Vec<Passed> {
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |one: &Handed| one.heir == heir && one.asked == asked;
        let Some(place) = handed.iter().find(|one| is_it(one)).map(|one| one.place) else {
            return Vec::new();
        };
        let (taken, left) = handed.drain(..).partition(|one| is_it(one) && one.place == place);
        *handed = left;
        Vec::into_iter(taken).map(|one: Handed| one.socket).collect()
    }

    /// Lets go of what nobody has taken: it was for a part that is not in the configuration any more.
    pub fn let_go(&self) {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn each_part_takes_what_it_had() {
        let letter = |word, text: &str| {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            (address, Letter { word, text: text.into(), socket: Some(OwnedFd::from(socket)) })
        };
        let (a, one) = letter(Word::Listener, "0 127.0.0.1:0");
        let (b, two) = letter(Word::Listener, "0 127.0.0.1:0");
        let (c, three) = letter(Word::Listener, "1 127.0.0.1:0");
        let (_, admin) = letter(Word::Admin, "127.0.0.1:0");
        let (_, web) = letter(Word::Given, "web");
        let bad = Letter { word: Word::Given, text: "bad".into(), socket: None };
        let inherited = Inheritance::handed(vec![one, two, three, admin, bad, web]).unwrap();
        let addresses = |sockets: Vec<Passed>| -> Vec<_> {
            let address = |socket: Passed| match socket {
                Passed::Tcp(socket) => socket.local_addr().unwrap(),
                Passed::Unix(_) => unreachable!(),
            };
            sockets.into_iter().map(address).collect()
        };
        assert!(inherited.take(Heir::Listener, "127.0.0.1:1").is_empty());
        assert!(inherited.take(Heir::Publish, "127.0.0.1:0").is_empty());
        assert_eq!(addresses(inherited.take(Heir::Listener, "127.0.0.1:0")), [a, b]);
        assert_eq!(addresses(inherited.take(Heir::Listener, "127.0.0.1:0")), [c]);
        assert!(inherited.take(Heir::Listener, "127.0.0.1:0").is_empty());
        inherited.let_go();
        assert!(inherited.take(Heir::Admin, "127.0.0.1:0").is_empty());
        assert!(!inherited.claim().is_ours());
        // The numbers of the service manager's sockets stay the same.
        assert!(inherited.sockets().named("3").is_err() && inherited.sockets().named("4").is_ok());
    }
}
