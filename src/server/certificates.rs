//! The certificates of the listeners, from the configuration into TLS, and again whenever their files change.
//!
//! Invariants: a certificate and its key always belong together; files that are being written, or that are wrong, leave
//! what they were read into before as it was. No connection is touched.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::config::{Certificate, ClientCa, FileStamp, Listen};
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

pub(super) fn identity(certificates: &[Certificate], client_ca: Option<&ClientCa>) -> Identity {
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

/// What one listener serves, and the files it is from.
#[derive(Debug)]
struct Kept {
    /// As people know it.
    listener: String,
    tls: Tls,
    /// The last good ones.
    certificates: Vec<Certificate>,
    client_ca: Option<ClientCa>,
    /// What was there when the files were read last.
    read: Vec<FileStamp>,
    /// What was there at the last look.
    seen: Vec<FileStamp>,
}

impl Keeper {
    /// Takes a listener's files into its care.
    pub(super) fn add(&mut self, listener: String, tls: Tls, listen: &Listen) {
        let (certificates, client_ca) = (listen.tls.clone(), listen.client_ca.clone());
        let stamps = certificates.iter().flat_map(|one| one.stamps);
        let read: Vec<_> = stamps.chain(client_ca.as_ref().map(|ca| ca.stamp)).collect();
        let seen = read.clone();
        self.listeners.push(Kept { listener, tls, certificates, client_ca, read, seen });
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
        let wrong = |path: &Path, error: &dyn fmt::Display| {
            tracing::warn!(
                %listener, path = %path.display(), %error,
                "certificates have changed and cannot be used; what was there before is still served"
            );
        };
        // Each by itself: one that is wrong is in nobody's way.
        let mut is_new = false;
        for kept in &mut self.certificates {
            if kept.stamps == [&kept.cert_path, &kept.key_path].map(|path| FileStamp::of(path)) {
                continue;
            }
            match Certificate::load(&kept.cert_path, &kept.key_path) {
                Ok(loaded) => (*kept, is_new) = (loaded, true),
                Err(error) if error.is_of_key() => wrong(&kept.key_path, &error),
                Err(error) => wrong(&kept.cert_path, &error),
            }
        }
        if let Some(kept) = &mut self.client_ca
            && kept.stamp != FileStamp::of(&kept.path)
        {
            match ClientCa::load(&kept.path) {
                Ok(loaded) => (*kept, is_new) = (loaded, true),
                Err(error) => wrong(&kept.path, &error),
            }
        }
        if is_new {
            match self.tls.replace(identity(&self.certificates, self.client_ca.as_ref())) {
                Ok(()) => tracing::info!(%listener, "new certificates are served from now on"),
                Err(error) => tracing::warn!(%listener, %error, "new certificates cannot be served"),
            }
        }
    }

    fn stamps(&self) -> Vec<FileStamp> {
        let pairs = self.certificates.iter().flat_map(|one| [&one.cert_path, &one.key_path]);
        let files = pairs.chain(self.client_ca.as_ref().map(|ca| &ca.path));
        files.map(|path| FileStamp::of(path)).collect()
    }
}
