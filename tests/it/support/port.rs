//! A port at which nobody listens until a test does.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

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
