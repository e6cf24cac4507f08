//! Places at which nobody listens.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use super::PATIENCE;

/// A port that is held by a socket which does not listen: whoever connects is refused, and the system gives it to nobody
/// else, as it could with a port that was looked at and let go.
pub(crate) struct Port {
    address: SocketAddr,
    _held: Socket,
}

impl Port {
    pub(crate) fn held() -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // Lets a listener have the port beside this one.
        held.set_reuse_address(true).unwrap();
        held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = held.local_addr().unwrap().as_socket().unwrap();
        Self { address, _held: held }
    }

    /// As an upstream's server is written.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn number(&self) -> u16 {
        self.address.port()
    }

    /// Somebody listens, until the listener is dropped.
    pub(crate) fn listen(&self) -> TcpListener {
        TcpListener::bind(self.address).unwrap()
    }
}

/// Leaves the file of a socket whose process is gone.
pub(crate) fn leave_stale(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
    // Another test's child process holds it open too for the moment between its fork and its exec.
    let begun = Instant::now();
    while UnixStream::connect(path).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it is not stale");
    }
}
