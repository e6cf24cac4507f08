//! TLS for listeners: which certificate for which name, and the protocols offered.
//!
//! Certificates come here read and matched with their keys. A client that names no host, or one that no certificate
//! covers, gets the first certificate, as nginx does; what it then may ask for is [`Certificates::same`]'s to say.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The protocols by ALPN, the preferred first (RFC 7301).
const H2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";

/// The provider of all cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The certificates of one listener, found by name.
#[derive(Debug)]
pub struct Certificates {
    keys: Vec<Arc<CertifiedKey>>,
    /// Names in lower case, a wildcard as `*.example.com`, to the place in `keys`.
    names: HashMap<String, usize>,
}

impl Certificates {
    /// Reads the names out of the certificates. At least one is needed, and the first is the default; of two for the
    /// same name the first is taken.
    pub fn new(keys: Vec<Arc<CertifiedKey>>) -> Self {
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

    /// Whether two hosts are served under one certificate, so that a connection made for the first may be used for
    /// the second (RFC 9110, section 7.4). `None` is a client that named no host.
    pub fn same(&self, sni: Option<&str>, host: &str) -> bool {
        sni.is_none_or(|sni| sni.eq_ignore_ascii_case(host) || self.place(sni) == self.place(host))
    }

    fn place(&self, host: &str) -> usize {
        let host = host.to_ascii_lowercase();
        let wildcard = || {
            let (_, parent) = host.split_once('.')?;
            self.names.get(&format!("*.{parent}"))
        };
        self.names.get(&host).or_else(wildcard).copied().unwrap_or(0)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let place = hello.server_name().map_or(0, |name| self.place(name));
        self.keys.get(place).cloned()
    }
}

/// Makes the configuration of a listener.
pub fn server_config(
    certificates: Arc<Certificates>,
    http2: bool,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = if http2 { vec![H2.to_vec(), HTTP_11.to_vec()] } else { vec![HTTP_11.to_vec()] };
    // Clients carry their sessions themselves, sealed; the cache of the library's default serves the few that cannot.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    // One ticket is what a browser uses; each costs a write in every handshake.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
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
