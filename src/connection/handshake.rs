//! The TLS handshake of a connection: first the host that the client names is looked at, then the work is done.
//!
//! Invariants: a host that the listener does not serve gets no certificate, not even the first one; a bounded number of
//! handshakes is in progress, counted from when a client has said whom it wants, so that silent ones do not count.

use std::io;
use std::sync::Arc;

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
) -> Result<(TlsStream<Socket>, Arc<Credentials>), ConnectionError> {
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
    use std::rc::Rc;
    use std::time::Duration;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::sign::CertifiedKey;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::UnixStream;
    use tokio::time::timeout;

    use super::*;
    use crate::config::{Deadlines, TrustedProxies};
    use crate::tls::Identity;

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

    /// A moment in which what must not happen would.
    const MOMENT: Duration = Duration::from_millis(50);
    const PATIENCE: Duration = Duration::from_secs(10);

    fn settings() -> Settings {
        Settings {
            listener: 0,
            deadlines: Deadlines::default(),
            max_headers: 0,
            server_names: Vec::new(),
            tls: None,
            proxy_protocol: false,
            trusted: TrustedProxies::default(),
        }
    }

    fn tls() -> Tls {
        let made = rcgen::generate_simple_self_signed(["test".to_owned()]).unwrap();
        let der = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).unwrap();
        let key = CertifiedKey::new(vec![made.cert.der().clone()], key);
        Tls::new(Identity { keys: vec![Arc::new(key)], client_ca: None }, true).unwrap()
    }

    /// A client that trusts nobody: its handshake ends when it has seen the server's certificate.
    fn client() -> rustls::ClientConnection {
        let config = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        rustls::ClientConnection::new(Arc::new(config), "test".try_into().unwrap()).unwrap()
    }

    /// What a client says first.
    fn hello() -> Vec<u8> {
        let mut bytes = Vec::new();
        client().write_tls(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn only_so_many_are_in_progress_and_silent_clients_do_not_count() {
        let world = Rc::new((tls(), settings(), Semaphore::new(1)));
        let local = tokio::task::LocalSet::new();
        let begin = || {
            let (client, server) = UnixStream::pair().unwrap();
            let world = world.clone();
            let handshake = async move {
                let (tls, settings, in_progress) = &*world;
                accept(server.into(), tls, settings, in_progress).await.map(drop)
            };
            (client, tokio::task::spawn_local(handshake))
        };
        let run = async {
            let (_silent, _its) = begin();
            let (mut stalls, stalled) = begin();
            stalls.write_all(&hello()).await.unwrap();
            // It is answered, and says no more.
            stalls.read_u8().await.unwrap();
            let (mut waits, _waiting) = begin();
            waits.write_all(&hello()).await.unwrap();
            assert!(timeout(MOMENT, waits.read_u8()).await.is_err(), "it is one too many");
            drop(stalls);
            assert!(stalled.await.unwrap().is_err());
            // The first byte of a handshake record.
            assert_eq!(waits.read_u8().await.unwrap(), 22);
        };
        timeout(PATIENCE, local.run_until(run)).await.unwrap();
    }
}
