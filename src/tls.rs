//! TLS for listeners: which certificate for which name, and the protocols offered.
//!
//! Certificates come here read and matched with their keys. A client that names no host, or one that no certificate
//! covers, gets the first certificate, as nginx does (a listener with `server_names` has turned away whom it does not
//! serve); what it then may ask for is [`Credentials::serve`]'s to say.
//!
//! Invariant: what a connection was made with stays as it is to its end. New certificates are for new connections.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, VerifierBuilderError,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

/// The protocols by ALPN, the preferred first (RFC 7301).
const H2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";

/// The provider of all cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Why TLS cannot be served with what is there.
#[derive(Debug)]
pub enum TlsError {
    /// The library refuses it.
    Config(rustls::Error),
    /// Nobody can vouch for clients.
    ClientCa(VerifierBuilderError),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::ClientCa(error) => write!(f, "client_ca cannot be used: {error}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::ClientCa(error) => Some(error),
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Config(error)
    }
}

/// What a listener shows its clients, and asks of them.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Certificates with their keys, at least one; the first is the default.
    pub keys: Vec<Arc<CertifiedKey>>,
    /// Who vouches for clients; none asks them for none.
    pub client_ca: Option<Arc<RootCertStore>>,
}

/// The TLS of a listener. A cheap handle; what is behind it is replaced as a whole.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    http2: bool,
    /// Shared by the workers, and kept when certificates change: sessions go on.
    ticketer: Arc<dyn ProducesTickets>,
    current: Mutex<Arc<Credentials>>,
}

impl Tls {
    /// Serves TLS with these certificates.
    ///
    /// # Errors
    /// If the library cannot serve with them.
    pub fn new(identity: Identity, http2: bool) -> Result<Self, TlsError> {
        let ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        let current = Credentials::new(identity, http2, &ticketer)?;
        Ok(Self(Arc::new(Shared { http2, ticketer, current: Mutex::new(Arc::new(current)) })))
    }

    /// Serves new connections with other certificates.
    ///
    /// # Errors
    /// If the library cannot serve with them; then everything is as it was.
    pub fn replace(&self, identity: Identity) -> Result<(), TlsError> {
        let credentials = Arc::new(Credentials::new(identity, self.0.http2, &self.0.ticketer)?);
        *self.0.current.lock().unwrap_or_else(PoisonError::into_inner) = credentials;
        Ok(())
    }

    /// What a new connection is made with.
    pub fn current(&self) -> Arc<Credentials> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What connections are made with.
#[derive(Debug)]
pub struct Credentials {
    certificates: Arc<Certificates>,
    is_mutual: bool,
    /// What a handshake is made with.
    pub config: Arc<ServerConfig>,
}

impl Credentials {
    fn new(identity: Identity, http2: bool, ticketer: &Arc<dyn ProducesTickets>) -> Result<Self, TlsError> {
        let Identity { keys, client_ca } = identity;
        let certificates = Arc::new(Certificates::new(keys));
        let is_mutual = client_ca.is_some();
        let verifier = match client_ca {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(roots) => WebPkiClientVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(TlsError::ClientCa)?,
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(certificates.clone());
        config.alpn_protocols =
            if http2 { vec![H2.to_vec(), HTTP_11.to_vec()] } else { vec![HTTP_11.to_vec()] };
        if is_mutual {
            // No session is taken up again: each connection shows its certificate to those who vouch for it now.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else {
            // Clients carry their sessions themselves, sealed; the cache of the library's default serves the few that
            // cannot.
            config.ticketer = ticketer.clone();
            // One ticket is what a browser uses; each costs a write in every handshake.
            config.send_tls13_tickets = 1;
        }
        Ok(Self { certificates, is_mutual, config: Arc::new(config) })
    }

    /// The server's own certificates, without those above them.
    pub fn leaves(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.certificates.keys.iter().filter_map(|key| key.cert.first())
    }

    /// Whether a certificate names a host.
    pub fn name(&self, host: &str) -> bool {
        self.certificates.find(host).is_some()
    }

    /// Whether a connection made for one host may be used for another (RFC 9110, section 7.4): if both have the same
    /// certificate. Where clients show certificates, it is good for the very host it was made for (or for addresses,
    /// if none was named). `None` is a client that named no host.
    pub fn serve(&self, sni: Option<&str>, host: &str) -> bool {
        match (self.is_mutual, sni) {
            (true, Some(sni)) => sni.eq_ignore_ascii_case(host),
            (true, None) => is_address(host),
            (false, sni) => self.certificates.same(sni, host),
        }
    }
}

/// Whether a host, as `Host` has it, is an address: that is what a client which names none has asked for.
pub fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok()
}

/// The certificates of one listener, found by name.
#[derive(Debug)]
struct Certificates {
    keys: Vec<Arc<CertifiedKey>>,
    /// Names in lower case, a wildcard as `*.example.com`, to the place in `keys`.
    names: HashMap<String, usize>,
}

impl Certificates {
    /// Reads the names out of the certificates. At least one is needed, and the first is the default; of two for the
    /// same name the first is taken.
    fn new(keys: Vec<Arc<CertifiedKey>>) -> Self {
        let mut names = HashMap::new();
        for (place, key) in keys.iter().enumerate() {
            let Some(leaf) = key.cert.first() else { continue };
            let Ok(leaf) = webpki::EndEntityCert::try_from(leaf) else {
                continue;
            };
            for name in leaf.valid_dns_names() {
                names.entry(name.to_ascii_lowercase()).or_insert(place);
            }
        }
        Self { keys, names }
    }

    /// Whether two hosts are served under one certificate.
    fn same(&self, sni: Option<&str>, host: &str) -> bool {
        sni.is_none_or(|sni| sni.eq_ignore_ascii_case(host) || self.place(sni) == self.place(host))
    }

    fn place(&self, host: &str) -> usize {
        self.find(host).unwrap_or(0)
    }

    /// The place of the certificate that names a host.
    fn find(&self, host: &str) -> Option<usize> {
        let host = host.to_ascii_lowercase();
        let wildcard = || {
            let (_, parent) = host.split_once('.')?;
            self.names.get(&format!("*.{parent}"))
        };
        self.names.get(&host).or_else(wildcard).copied()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let place = hello.server_name().map_or(0, |name| self.place(name));
        self.keys.get(place).cloned()
    }
}

/// Whether the client chose HTTP/2.
pub fn is_h2(alpn: Option<&[u8]>) -> bool {
    alpn == Some(H2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(names: &[&str]) -> Arc<CertifiedKey> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let der = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).unwrap();
        Arc::new(CertifiedKey::new(vec![made.cert.der().clone()], key))
    }

    #[test]
    fn names_find_their_certificate() {
        let certificates = Certificates::new(vec![
            key(&["a.example", "b.example"]),
            key(&["*.c.example"]),
            key(&["d.example"]),
        ]);
        for (host, place) in [
            ("a.example", 0),
            ("B.Example", 0),
            ("x.c.example", 1),
            ("c.example", 0),
            ("x.y.c.example", 0),
            ("d.example", 2),
        ] {
            assert_eq!(certificates.place(host), place, "{host}");
        }
        assert!(certificates.same(Some("a.example"), "b.example"));
        assert!(!certificates.same(Some("a.example"), "d.example"));
        assert!(certificates.same(Some("d.example"), "d.example"));
        assert!(certificates.same(None, "d.example"));
    }
}
