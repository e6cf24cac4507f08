//! A listener whose socket was opened by the service manager: one socket, from which all workers accept.

use std::io;

use socket2::SockRef;

use crate::config::Endpoint;
use crate::systemd::Passed;

use super::{USER_TIMEOUT, Unaccepted};

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
    let one = || {
        Ok(match socket.try_clone()? {
            Passed::Tcp(socket) => Unaccepted::Tcp(socket),
            Passed::Unix(socket) => Unaccepted::Unix(socket),
        })
    };
    let sockets = (0..workers).map(|_| one()).collect::<io::Result<_>>()?;
    Ok((endpoint, sockets))
}
