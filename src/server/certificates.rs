//! The certificates of the listeners, from the configuration into TLS, and again whenever their files change.
//!
//! Invariants: what is served is always a whole that belongs together; files that are being written, or that are wrong,
//! leave it as it was. No connection is touched.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::config::{Certificate, CertificateError, ClientCa, FileStamp, Listen};
use crate::tls::{Identity, Tls, TlsError};

/// How often the files are looked at. They are read when they have stayed the same from one look to the next, since who
/// renews them writes one after the other.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Makes the TLS of a listener; none is cleartext.
pub(super) fn tls_of(listen: &Listen) -> Result<Option<Tls>, TlsError> {
    if listen.tls.is_empty() {
        return Ok(None);
    }
    let identity = identity(&listen.tls, listen.client_ca.as_ref());
    Tls::new(identity, listen.http2).map(Some)
}

fn identity(certificates: &[Certificate], client_ca: Option<&ClientCa>) -> Identity {
    Identity {
        keys: certificates.iter().map(|certificate| certificate.key.clone()).collect(),
        client_ca: client_ca.map(|ca| ca.roots.clone()),
    }
}

/// Watches over the files of all listeners with TLS.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    listeners: Vec<Kept>,
}

/// The files of one listener.
#[derive(Debug)]
struct Kept {
    /// As people know it.
    listener: String,
    tls: Tls,
    /// Certificates, each with its key.
    pairs: Vec<(PathBuf, PathBuf)>,
    client_ca: Option<PathBuf>,
    /// What was there when the files were read last.
    read: Vec<FileStamp>,
    /// What was there at the last look.
    seen: Vec<FileStamp>,
}

impl Keeper {
    /// Takes a listener's files into its care.
    pub(super) fn add(&mut self, listener: String, tls: Tls, listen: &Listen) {
        let pairs = listen.tls.iter().map(|one| (one.cert_path.clone(), one.key_path.clone())).collect();
        let client_ca = listen.client_ca.as_ref().map(|ca| ca.path.clone());
        let stamps = listen.tls.iter().flat_map(|one| one.stamps);
        let read: Vec<_> = stamps.chain(listen.client_ca.as_ref().map(|ca| ca.stamp)).collect();
        let seen = read.clone();
        self.listeners.push(Kept { listener, tls, pairs, client_ca, read, seen });
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
        let now = self.stamps();
        let is_still = now == self.seen;
        self.seen.clone_from(&now);
        if !is_still || now == self.read {
            return;
        }
        // Read once, whatever comes of it: files that are wrong are spoken of once.
        self.read = now;
        let listener = &self.listener;
        match self.load() {
            Ok(()) => tracing::info!(%listener, "the certificates have changed and are served from now on"),
            Err(error) => tracing::warn!(
                %listener, %error,
                "the certificates have changed and cannot be used; those from before are still served"
            ),
        }
    }

    fn load(&self) -> Result<(), LoadError> {
        let mut certificates = Vec::with_capacity(self.pairs.len());
        for (cert, key) in &self.pairs {
            let loaded = Certificate::load(cert, key).map_err(|error| {
                let path = if error.is_of_key() { key } else { cert };
                LoadError::File { path: path.clone(), cause: error }
            });
            certificates.push(loaded?);
        }
        let load = |path: &PathBuf| {
            ClientCa::load(path).map_err(|cause| LoadError::File { path: path.clone(), cause })
        };
        let client_ca = self.client_ca.as_ref().map(load).transpose()?;
        self.tls.replace(identity(&certificates, client_ca.as_ref())).map_err(LoadError::Tls)
    }

    fn stamps(&self) -> Vec<FileStamp> {
        let files = self.pairs.iter().flat_map(|(cert, key)| [cert, key]).chain(&self.client_ca);
        files.map(|path| FileStamp::of(path)).collect()
    }
}

/// Why certificates that have changed are not served.
#[derive(Debug)]
enum LoadError {
    /// A file is wrong.
    File { path: PathBuf, cause: CertificateError },
    /// TLS cannot be served with them.
    Tls(TlsError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, cause } => write!(f, "{}: {cause}", path.display()),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { cause, .. } => Some(cause),
            Self::Tls(error) => Some(error),
        }
    }
}
