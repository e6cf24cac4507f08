//! Listeners whose sockets were opened by others: the one socket of a service manager, from which all workers accept, or
//! those of the process before this one.
//!
//! Invariant: whoever waits in a socket that was handed over is accepted by one of the workers, however many there are.

use std::io;

use socket2::SockRef;

use crate::config::Endpoint;
use crate::handover::Claim;
use crate::systemd::Passed;

use super::{Bound, SocketFile, USER_TIMEOUT, Unaccepted};

/// Prepares a socket for a number of workers. Returns with it the address that it has.
pub(super) fn shared(name: &str, socket: &Passed, workers: usize) -> io::Result<(Endpoint, Vec<Unaccepted>)> {
    let endpoint = match socket {
        Passed::Tcp(socket) => {
            socket.set_nonblocking(true)?;
            let options = SockRef::from(socket);
            // As with sockets of our own: every accepted connection inherits them.
            options.set_tcp_nodelay(true)?;
            options.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
            Endpoint::Tcp(socket.local_addr()?)
        }
        Passed::Unix(socket) => {
            socket.set_nonblocking(true)?;
            match socket.local_addr()?.as_pathname() {
                Some(path) => Endpoint::Unix(path.to_owned()),
                None => Endpoint::Inherited(name.to_owned()),
            }
        }
    };
    let sockets = (0..workers).map(|_| socket.try_clone().map(unaccepted)).collect::<io::Result<_>>()?;
    Ok((endpoint, sockets))
}

/// The listener of the process before this one. Where there are fewer sockets than workers, they share them; they are
/// set up as they have to be.
pub(super) fn handed(
    asked: &Endpoint,
    handed: Vec<Passed>,
    claim: &Claim,
    workers: usize,
) -> io::Result<Bound> {
    let endpoint = match handed.first() {
        Some(Passed::Tcp(socket)) => Endpoint::Tcp(socket.local_addr()?),
        _ => asked.clone(),
    };
    let file = match &endpoint {
        Endpoint::Unix(path) => Some(SocketFile::new(path, claim)?),
        _ => None,
    };
    let mut sockets = Vec::with_capacity(workers.max(handed.len()));
    let missing = workers.saturating_sub(handed.len());
    for socket in handed.iter().cycle().take(missing) {
        sockets.push(unaccepted(socket.try_clone()?));
    }
    sockets.extend(handed.into_iter().map(unaccepted));
    Ok(Bound { endpoint, sockets, file })
}

fn unaccepted(socket: Passed) -> Unaccepted {
    match socket {
        Passed::Tcp(socket) => Unaccepted::Tcp(socket),
        Passed::Unix(socket) => Unaccepted::Unix(socket),
    }
}
