//! What authorities ask for while they look whether hosts are ours: pages on port 80 and handshakes on port 443.
//!
//! Invariant: there is an answer only for what an order of ours has in flight; what is not is as if nobody had asked. It is
//! shared by all workers, and costs them a look at a number while nothing is in flight.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::provider;

/// Where the pages are (RFC 8555, section 8.3).
const PAGES: &str = "/.well-known/acme-challenge/";
/// The protocol that such handshakes are for (RFC 8737, section 6.2).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// What is in flight. A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Challenges(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// How many there are of both kinds.
    count: AtomicUsize,
    answers: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    /// By token.
    pages: HashMap<String, String>,
    /// By host.
    handshakes: HashMap<String, Arc<ServerConfig>>,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

impl Challenges {
    /// What the page at a path says, if it is asked for.
    pub fn page(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(PAGES)?;
        if self.0.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.answers().pages.get(token).cloned()
    }

    /// What a handshake is to be made with if it is an authority's, and nothing else comes after it.
    pub fn handshake(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        if self.0.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut protocols = hello.alpn()?;
        if protocols.next() != Some(ACME_TLS) || protocols.next().is_some() {
            return None;
        }
        let host = hello.server_name()?.to_ascii_lowercase();
        self.answers().handshakes.get(&host).cloned()
    }

    /// Answers for a page until what is returned is dropped.
    pub(super) fn put_page(&self, token: &str, text: &str) -> InFlight {
        self.answers().pages.insert(token.to_owned(), text.to_owned());
        self.0.count.fetch_add(1, Ordering::Relaxed);
        InFlight { challenges: self.clone(), what: What::Page(token.to_owned()) }
    }

    /// Answers handshakes for a host with a certificate until what is returned is dropped.
    pub(super) fn put_handshake(
        &self,
        host: &str,
        certificate: CertifiedKey,
    ) -> Result<InFlight, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Only(Arc::new(certificate))));
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        config.send_tls13_tickets = 0;
        self.answers().handshakes.insert(host.to_owned(), Arc::new(config));
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Ok(InFlight { challenges: self.clone(), what: What::Handshake(host.to_owned()) })
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.0.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that is answered for until this is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    challenges: Challenges,
    what: What,
}

#[derive(Debug)]
enum What {
    Page(String),
    Handshake(String),
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut answers = self.challenges.answers();
        match &self.what {
            What::Page(token) => drop(answers.pages.remove(token)),
            What::Handshake(host) => drop(answers.handshakes.remove(host)),
        }
        self.challenges.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One certificate for whatever is asked.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_there_only_while_it_is_in_flight() {
        let challenges = Challenges::default();
        assert_eq!(challenges.page("/.well-known/acme-challenge/one"), None);
        let one = challenges.put_page("one", "one.key");
        let two = challenges.put_page("two", "two.key");
        for (path, text) in [
            ("/.well-known/acme-challenge/one", Some("one.key")),
            ("/.well-known/acme-challenge/two", Some("two.key")),
            ("/.well-known/acme-challenge/", None),
            ("/.well-known/acme-challenge/one/", None),
            ("/.well-known/acme-challenge/ONE", None),
            ("/one", None),
        ] {
            assert_eq!(challenges.page(path).as_deref(), text, "{path}");
        }
        drop(one);
        assert_eq!(challenges.page("/.well-known/acme-challenge/one"), None);
        assert!(challenges.page("/.well-known/acme-challenge/two").is_some());
        drop(two);
        assert_eq!(challenges.0.count.load(Ordering::Relaxed), 0);
    }
}
