//! Clients that take little at once.

use std::net::{SocketAddr, TcpStream};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::{Client, PATIENCE, tls};

/// A connection whose receiving side holds little, so that a reader who does not read is soon known for it.
pub(crate) fn narrow(address: &str) -> TcpStream {
    let address: SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

pub(crate) fn narrow_client(address: &str) -> Client {
    let stream = narrow(address);
    let handle = stream.try_clone().unwrap();
    Client::over(stream, Some(handle))
}

pub(crate) fn narrow_tls_client(address: &str) -> Client {
    let name = ServerName::try_from("test").unwrap();
    let session = ClientConnection::new(tls::client_config(&["http/1.1"]), name).unwrap();
    Client::over(StreamOwned::new(session, narrow(address)), None)
}
