//! The certificates of the listeners, from the configuration into TLS, and again whenever their files change.
//!
//! Invariants: a certificate and its key always belong together; files that are being written, or that are wrong, leave
//! what they were read into before as it was. No connection is touched.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::acme::certificate_path;
use crate::config::{Certificate, CertificateError, ClientCa, FileStamp, Listen};
use crate::tls::{Identity, Tls, TlsError};

/// How often the files are looked at. They are read when they have stayed the same from one look to the next, since who
/// renews them writes one after the other.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Makes the TLS of a listener, and says what it serves; none is cleartext.
pub(super) fn tls_of(listen: &Listen) -> Result<Option<(Tls, Served)>, TlsError> {
    if !listen.is_tls() {
        return Ok(None);
    }
    let served = Served::new(listen, None);
    let tls = Tls::new(served.identity(), listen.http2)?;
    Ok(Some((tls, served)))
}

/// The certificates of a listener: the last good ones.
#[derive(Debug)]
pub(super) struct Served {
    certificates: Vec<Slot>,
    client_ca: Option<ClientCa>,
}

/// A certificate, or the place where an authority's will be.
#[derive(Debug)]
struct Slot {
    cert_path: PathBuf,
    key_path: PathBuf,
    certificate: Option<Certificate>,
}

impl Served {
    /// What is to be served; `before` is what the listener serves now, of which an authority's certificate goes on if what
    /// is kept of it cannot be used.
    pub(super) fn new(listen: &Listen, before: Option<&Self>) -> Self {
        let slot = |certificate: &Certificate| Slot {
            cert_path: certificate.cert_path.clone(),
            key_path: certificate.key_path.clone(),
            certificate: Some(certificate.clone()),
        };
        let mut certificates: Vec<_> = listen.tls.iter().map(slot).collect();
        if let Some(acme) = &listen.acme {
            let path = certificate_path(acme);
            let slots = before.into_iter().flat_map(|before| &before.certificates);
            let served = slots.filter(|slot| slot.cert_path == path && slot.key_path == path);
            let served = served.filter_map(|slot| slot.certificate.clone()).next();
            let certificate = match Certificate::load(&path, &path) {
                Ok(certificate) => Some(certificate),
                // Whoever looks after the files says what is wrong.
                Err(_) if served.is_some() => served,
                Err(CertificateError::CertUnreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
                    let listener = listen.endpoint.to_string();
                    tracing::warn!(
                        listener,
                        domains = acme.domains.join(", "),
                        "there is no certificate yet: handshakes for these hosts are refused until it has come"
                    );
                    None
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "what is kept of a certificate cannot be used");
                    None
                }
            };
            certificates.push(Slot { cert_path: path.clone(), key_path: path, certificate });
        }
        Self { certificates, client_ca: listen.client_ca.clone() }
    }

    /// What TLS makes of them.
    pub(super) fn identity(&self) -> Identity {
        let certificates = self.certificates.iter().filter_map(|slot| slot.certificate.as_ref());
        Identity {
            keys: certificates.map(|certificate| certificate.key.clone()).collect(),
            client_ca: self.client_ca.as_ref().map(|ca| ca.roots.clone()),
        }
    }

    /// What the certificates were read from: their stamps then.
    fn read(&self) -> Vec<FileStamp> {
        // A file that was not there, or not good, is as if it had not been.
        let absent = FileStamp::default();
        let stamps = self
            .certificates
            .iter()
            .flat_map(|slot| slot.certificate.as_ref().map_or([absent; 2], |certificate| certificate.stamps));
        stamps.chain(self.client_ca.as_ref().map(|ca| ca.stamp)).collect()
    }

    /// What is there now.
    fn there(&self) -> Vec<FileStamp> {
        let pairs = self.certificates.iter().flat_map(|slot| [&slot.cert_path, &slot.key_path]);
        let files = pairs.chain(self.client_ca.as_ref().map(|ca| &ca.path));
        files.map(|path| FileStamp::of(path)).collect()
    }
}

/// Watches over the files of all listeners with TLS.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    listeners: Vec<Kept>,
}

/// What one listener serves, and the files it is from.
#[derive(Debug)]
struct Kept {
    /// As people know it.
    listener: String,
    tls: Tls,
    served: Arc<Mutex<Served>>,
    /// What was there when the files were read last.
    read: Vec<FileStamp>,
    /// What was there at the last look.
    seen: Vec<FileStamp>,
}

impl Keeper {
    /// Takes a listener's files into its care.
    pub(super) fn add(&mut self, listener: String, tls: Tls, served: Arc<Mutex<Served>>) {
        let read = served.lock().unwrap_or_else(PoisonError::into_inner).read();
        let seen = read.clone();
        self.listeners.push(Kept { listener, tls, served, read, seen });
    }

    /// Looks at the files for ever.
    pub(super) async fn run(mut self) {
        if self.listeners.is_empty() {
            return;
        }
        let mut looks: Interval = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            for kept in &mut self.listeners {
                kept.look();
            }
        }
    }
}

impl Kept {
    /// Reads the files if they have changed and no longer do.
    fn look(&mut self) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let now = served.there();
        let is_still = now == self.seen;
        self.seen.clone_from(&now);
        if !is_still || now == self.read {
            return;
        }
        // Read once, whatever comes of it: files that are wrong are spoken of once.
        self.read = now;
        let listener = &self.listener;
        let wrong = |path: &Path, error: &dyn fmt::Display| {
            tracing::warn!(
                %listener, path = %path.display(), %error,
                "certificates have changed and cannot be used; what was there before is still served"
            );
        };
        // Each by itself: one that is wrong is in nobody's way.
        let mut is_new = false;
        for slot in &mut served.certificates {
            let stamps = [&slot.cert_path, &slot.key_path].map(|path| FileStamp::of(path));
            if slot.certificate.as_ref().is_some_and(|certificate| certificate.stamps == stamps) {
                continue;
            }
            match Certificate::load(&slot.cert_path, &slot.key_path) {
                Ok(loaded) => (slot.certificate, is_new) = (Some(loaded), true),
                // An authority's, which has not come yet.
                Err(_) if slot.certificate.is_none() && stamps[0] == FileStamp::default() => {}
                Err(error) if error.is_of_key() => wrong(&slot.key_path, &error),
                Err(error) => wrong(&slot.cert_path, &error),
            }
        }
        if let Some(kept) = &mut served.client_ca
            && kept.stamp != FileStamp::of(&kept.path)
        {
            match ClientCa::load(&kept.path) {
                Ok(loaded) => (*kept, is_new) = (loaded, true),
                Err(error) => wrong(&kept.path, &error),
            }
        }
        if is_new {
            match self.tls.replace(served.identity()) {
                Ok(()) => tracing::info!(%listener, "new certificates are served from now on"),
                Err(error) => tracing::warn!(%listener, %error, "new certificates cannot be served"),
            }
        }
    }
}
