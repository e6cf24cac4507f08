//! The TLS handshake of a connection: first the host that the client names is looked at, then the work is done.
//!
//! Invariants: a host that the listener does not serve gets no certificate, not even the first one; a bounded number of
//! handshakes is in progress, counted from when a client has said whom it wants, so that silent ones do not count.

use std::io;

use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::{ConnectionError, Credentials, Settings, Tls};
use crate::http::covers;
use crate::tls::is_address;
use crate::transport::Socket;

/// The most handshakes of a worker in progress. Each holds some tens of KiB, and a core makes a few thousand a second.
pub const MAX_HANDSHAKES: usize = 1024;

/// A fatal alert, `unrecognized_name` (RFC 8446, section 6.2; RFC 6066, section 3), as a record before any key is known.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Shakes hands.
pub(super) async fn accept(
    socket: Socket,
    tls: &Tls,
    settings: &Settings,
    in_progress: &Semaphore,
) -> Result<(TlsStream<Socket>, std::sync::Arc<Credentials>), ConnectionError> {
    let mut hello =
        LazyConfigAcceptor::new(Acceptor::default(), socket).await.map_err(ConnectionError::Handshake)?;
    if !is_served(&settings.server_names, hello.client_hello().server_name()) {
        // Whether it arrives or not, the connection ends.
        let _ = hello.io.write_all(&UNRECOGNIZED_NAME).await;
        return Err(ConnectionError::UnknownName);
    }
    // It is never closed.
    let _permit =
        in_progress.acquire().await.map_err(|error| ConnectionError::Handshake(io::Error::other(error)))?;
    let credentials = tls.current();
    let handshake = hello.into_stream(credentials.config.clone());
    let stream = handshake.await.map_err(ConnectionError::Handshake)?;
    Ok((stream, credentials))
}

/// Whether a listener with these names serves a client that named this host, or none: such a one may have asked for an
/// address.
fn is_served(names: &[String], sni: Option<&str>) -> bool {
    names.is_empty()
        || match sni {
            Some(sni) => names.iter().any(|name| covers(name, sni)),
            None => names.iter().any(|name| is_address(name)),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_served_if_it_is_one_of_the_listeners() {
        let names = ["shop.example".to_owned(), "*.shop.example".to_owned()];
        for (sni, served) in [
            ("shop.example", true),
            ("SHOP.Example", true),
            ("a.shop.example", true),
            ("A.B.SHOP.EXAMPLE", true),
            ("myshop.example", false),
            ("example", false),
        ] {
            assert_eq!(is_served(&names, Some(sni)), served, "{sni}");
            assert!(is_served(&[], Some(sni)));
        }
        assert!(is_served(&[], None));
        assert!(!is_served(&names, None));
        assert!(is_served(&["[::1]".to_owned()], None));
        assert!(is_served(&["shop.example".to_owned(), "10.0.0.1".to_owned()], None));
    }
}
