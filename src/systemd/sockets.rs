//! The sockets that the service manager has opened for the process (sd_listen_fds(3)).
//!
//! Invariant: each of them is taken over once, at the start, and is closed in whatever the process starts.

use std::env;
use std::fmt::Write as _;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process;

use listenfd::ListenFd;
use rustix::net::AddressFamily;
use rustix::net::sockopt::{socket_acceptconn, socket_domain};

/// The number of the first descriptor.
const FIRST: usize = 3;

/// More sockets than these are a mistake.
const MOST: usize = 1024;

/// What sd_listen_fds(3) calls a socket without a name.
const NAMELESS: &str = "unknown";

/// Of something else.
const NO_LISTENER: &str =
    "what was given is no stream socket of TCP or Unix; its .socket unit needs ListenStream=";

/// The sockets, each with its name.
#[derive(Debug, Default)]
pub struct Sockets(Vec<Given>);

#[derive(Debug)]
struct Given {
    name: String,
    socket: Result<Passed, &'static str>,
}

/// A listening socket that another process has opened.
#[derive(Debug)]
pub enum Passed {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener),
}

impl Passed {
    /// The same socket once more.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }
}

impl TryFrom<OwnedFd> for Passed {
    type Error = io::Error;

    fn try_from(socket: OwnedFd) -> io::Result<Self> {
        Ok(match socket_domain(&socket)? {
            AddressFamily::UNIX => Self::Unix(socket.into()),
            _ => Self::Tcp(socket.into()),
        })
    }
}

impl AsFd for Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Sockets {
    /// Those that another process of this program was given, in their order; where one is missing, it was of no use.
    pub fn handed(sockets: Vec<(String, Option<Passed>)>) -> Self {
        let given =
            |(name, socket): (String, Option<Passed>)| Given { name, socket: socket.ok_or(NO_LISTENER) };
        Self(sockets.into_iter().map(given).collect())
    }

    /// All of them in their order, each with its name, and without those that are of no use.
    pub fn all(&self) -> impl Iterator<Item = (&str, Option<&Passed>)> {
        self.0.iter().map(|given| (&*given.name, given.socket.as_ref().ok()))
    }

    /// Those of `LISTEN_FDS`, if they are for this process.
    pub(super) fn from_env() -> Self {
        let pid = env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok());
        let count = env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok());
        let Some(count) = count.filter(|count| pid == Some(process::id()) && *count <= MOST) else {
            return Self::default();
        };
        let names = names(env::var("LISTEN_FDNAMES").ok().as_deref(), count);
        let mut descriptors = ListenFd::from_env();
        let given = names.into_iter().enumerate();
        Self(given.map(|(index, name)| Given { name, socket: take(&mut descriptors, index) }).collect())
    }

    /// The socket of this name; a name that is a number is that of the descriptor, from 3 on.
    ///
    /// # Errors
    /// If there is none, or several, or it is no socket that clients can come by.
    pub fn named(&self, name: &str) -> io::Result<&Passed> {
        let number = name.parse::<usize>().ok().and_then(|number| number.checked_sub(FIRST));
        let by_number = number.and_then(|index| self.0.get(index));
        let mut by_name = self.0.iter().filter(|given| given.name == name);
        let (given, other) = match by_number {
            Some(given) => (Some(given), None),
            None => (by_name.next(), by_name.next()),
        };
        let error = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        match (given.map(|given| &given.socket), other) {
            (None, _) => error(self.missing()),
            (Some(_), Some(_)) => error(
                "several sockets of that name were given; write a .socket unit with a FileDescriptorName= for each, \
                 or a number: fd:3 is the first of all that were given"
                    .to_owned(),
            ),
            (Some(Err(why)), None) => error((*why).to_owned()),
            (Some(Ok(socket)), None) => Ok(socket),
        }
    }

    fn missing(&self) -> String {
        let mut why = "no socket of that name was given".to_owned();
        if self.0.is_empty() {
            why.push_str(", nor any other: it is for a start by a service manager (LISTEN_FDS)");
        }
        for (place, given) in self.0.iter().enumerate() {
            let before = if place == 0 { "; there are" } else { "," };
            // Writing to a String cannot fail.
            let _ = write!(why, "{before} `fd:{}`", given.name);
        }
        why
    }
}

/// The names of so many sockets.
fn names(given: Option<&str>, count: usize) -> Vec<String> {
    let mut names: Vec<_> =
        given.map_or_else(Vec::new, |names| names.split(':').map(str::to_owned).collect());
    if names.len() != count {
        names = vec![NAMELESS.to_owned(); count];
    }
    names
}

/// Takes a descriptor over and has it closed in other programs.
fn take(descriptors: &mut ListenFd, index: usize) -> Result<Passed, &'static str> {
    let socket = if let Ok(Some(socket)) = descriptors.take_tcp_listener(index) {
        Passed::Tcp(socket)
    } else if let Ok(Some(socket)) = descriptors.take_unix_listener(index) {
        Passed::Unix(socket)
    } else {
        return Err(NO_LISTENER);
    };
    let listens = match &socket {
        Passed::Tcp(socket) => socket_acceptconn(socket),
        Passed::Unix(socket) => socket_acceptconn(socket),
    };
    match listens {
        Ok(true) => Ok(socket),
        _ => Err("the socket that was given does not listen; its .socket unit needs Accept=no"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(names: &[&str]) -> Sockets {
        let listener = || Ok(Passed::Tcp(TcpListener::bind("127.0.0.1:0").unwrap()));
        Sockets(names.iter().map(|name| Given { name: (*name).to_owned(), socket: listener() }).collect())
    }

    #[test]
    fn without_as_many_names_as_sockets_none_has_one() {
        assert_eq!(names(Some("web:publish"), 2), ["web", "publish"]);
        assert_eq!(names(Some("web"), 2), [NAMELESS, NAMELESS]);
        assert_eq!(names(None, 1), [NAMELESS]);
        assert!(names(None, 0).is_empty());
    }

    #[test]
    fn a_socket_is_found_by_its_name_or_its_number() {
        let sockets = sockets(&["web", "two", "two"]);
        assert!(sockets.named("web").is_ok());
        for number in ["3", "4", "5"] {
            assert!(sockets.named(number).is_ok(), "{number}");
        }
        for (name, why) in [
            ("two", "several sockets of that name"),
            ("api", "no socket of that name was given; there are `fd:web`, `fd:two`, `fd:two`"),
            ("6", "no socket of that name"),
            ("2", "no socket of that name"),
        ] {
            let error = sockets.named(name).unwrap_err().to_string();
            assert!(error.starts_with(why), "{name}: {error}");
        }
        let error = Sockets::default().named("web").unwrap_err().to_string();
        assert!(error.contains("nor any other"), "{error}");
    }
}
