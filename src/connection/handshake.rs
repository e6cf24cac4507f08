//! The TLS handshake of a connection: first the host that the client names is looked at, then the work is done.
//!
//! Invariants: a host that the listener does not serve gets no certificate, not even the first one (but an authority that
//! was asked to look whether it is ours gets what it looks for, and nothing else); a bounded number of
//! handshakes is in progress, counted from when a client has said whom it wants, so that silent ones do not count. When
//! there is one too many the oldest is given up, so nobody keeps others out by beginning many and finishing none: who
//! goes on with his own needs a moment of his own network, and to be overtaken by so many within it takes more of them
//! than a core can make.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::{ConnectionError, Credentials, Settings, Tls};
use crate::acme::Challenges;
use crate::http::covers;
use crate::tls::is_address;
use crate::transport::Socket;

/// The most handshakes of a worker in progress. Each holds some tens of KiB, and a core makes a few thousand a second.
const MAX_HANDSHAKES: usize = 1024;

/// The handshakes of a worker that are in progress.
#[derive(Debug)]
pub struct Handshakes {
    most: usize,
    count: Cell<u64>,
    /// By when they were begun.
    begun: RefCell<BTreeMap<u64, Rc<Notify>>>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self::new(MAX_HANDSHAKES)
    }
}

impl Handshakes {
    fn new(most: usize) -> Self {
        Self { most, count: Cell::new(0), begun: RefCell::default() }
    }

    /// One more, for which the oldest makes room if there is none.
    fn begin(&self) -> InProgress<'_> {
        let mut begun = self.begun.borrow_mut();
        if begun.len() >= self.most
            && let Some((_, oldest)) = begun.pop_first()
        {
            oldest.notify_one();
        }
        let (number, overtaken) = (self.count.get(), Rc::new(Notify::new()));
        self.count.set(number + 1);
        begun.insert(number, overtaken.clone());
        InProgress { all: self, number, overtaken }
    }
}

/// A handshake, until this is dropped.
struct InProgress<'h> {
    all: &'h Handshakes,
    number: u64,
    /// Told when it is given up.
    overtaken: Rc<Notify>,
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.all.begun.borrow_mut().remove(&self.number);
    }
}

/// A fatal alert, `unrecognized_name` (RFC 8446, section 6.2; RFC 6066, section 3), as a record before any key is known.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Shakes hands. None is an authority that has looked whether a host is ours, and is done (RFC 8737).
pub(super) async fn accept(
    socket: Socket,
    tls: &Tls,
    settings: &Settings,
    handshakes: &Handshakes,
    challenges: &Challenges,
) -> Result<Option<(TlsStream<Socket>, Arc<Credentials>)>, ConnectionError> {
    let mut hello =
        LazyConfigAcceptor::new(Acceptor::default(), socket).await.map_err(ConnectionError::Handshake)?;
    let authority = challenges.handshake(&hello.client_hello());
    if authority.is_none() && !is_served(&settings.server_names, hello.client_hello().server_name()) {
        // Whether it arrives or not, the connection ends.
        let _ = hello.io.write_all(&UNRECOGNIZED_NAME).await;
        return Err(ConnectionError::UnknownName);
    }
    let in_progress = handshakes.begin();
    let credentials = tls.current();
    let config = authority.as_ref().unwrap_or(&credentials.config).clone();
    let made = tokio::select! {
        biased;
        made = hello.into_stream(config) => made,
        () = in_progress.overtaken.notified() => Err(io::Error::other("too many were begun after it")),
    };
    let mut stream = made.map_err(ConnectionError::Handshake)?;
    if authority.is_some() {
        // Whether it arrives or not, the connection ends.
        let _ = stream.shutdown().await;
        return Ok(None);
    }
    Ok(Some((stream, credentials)))
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

    const PATIENCE: Duration = Duration::from_secs(60);

    fn settings() -> Settings {
        Settings {
            listener: 0,
            drain: std::rc::Rc::default(),
            addresses: None,
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
    async fn the_oldest_makes_room_and_silent_clients_do_not_count() {
        let world = Rc::new((tls(), settings(), Handshakes::new(2)));
        let local = tokio::task::LocalSet::new();
        let begin = || {
            let (client, server) = UnixStream::pair().unwrap();
            let world = world.clone();
            let handshake = async move {
                let (tls, settings, handshakes) = &*world;
                accept(server.into(), tls, settings, handshakes, &Challenges::default()).await.map(drop)
            };
            (client, tokio::task::spawn_local(handshake))
        };
        let run = async {
            let (_silent, silent) = begin();
            // Each is answered, and says no more.
            let mut stalled = Vec::new();
            for _ in 0..4 {
                let (mut client, handshake) = begin();
                client.write_all(&hello()).await.unwrap();
                // The first byte of a handshake record.
                assert_eq!(client.read_u8().await.unwrap(), 22);
                stalled.push((client, handshake));
            }
            let mut stalled = stalled.into_iter();
            for (_client, handshake) in stalled.by_ref().take(2) {
                assert!(handshake.await.unwrap().is_err());
            }
            assert!(!silent.is_finished() && stalled.all(|(_client, handshake)| !handshake.is_finished()));
            // Those that have ended leave nothing behind.
            assert_eq!(world.2.begun.borrow().len(), 2);
        };
        timeout(PATIENCE, local.run_until(run)).await.unwrap();
    }
}
