//! A certificate on disk: read, and put there once it has been looked at.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use instant_acme::CertificateIdentifier;
use rustls::pki_types::CertificateDer;

use super::error::AcmeError;
use super::folder;
use crate::config::{Certificate, CertificateError};
use crate::tls::Leaf;

/// A certificate that is kept.
pub(super) struct Held {
    /// What it says of itself.
    pub(super) leaf: Leaf,
    /// How its authority calls it.
    pub(super) id: Option<CertificateIdentifier<'static>>,
}

impl Held {
    /// Reads a file; none if it is not there.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, AcmeError> {
        let certificate = match Certificate::load(path, path) {
            Ok(certificate) => certificate,
            Err(CertificateError::CertUnreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(AcmeError::Unusable(error)),
        };
        let own: Option<&CertificateDer<'_>> = certificate.key.cert.first();
        let Some((own, leaf)) = own.and_then(|own| Some((own, Leaf::read(own)?))) else {
            return Err(AcmeError::Other);
        };
        let id = CertificateIdentifier::try_from(own).ok().map(CertificateIdentifier::into_owned);
        Ok(Some(Self { leaf, id }))
    }

    /// Whether it is for these hosts and for no others.
    pub(super) fn is_for(&self, domains: &[String]) -> bool {
        let names = &self.leaf.names;
        domains.iter().all(|domain| names.contains(domain)) && names.iter().all(|name| domains.contains(name))
    }
}

/// Keeps a key and its chain, once they have been looked at.
pub(super) async fn keep(path: PathBuf, text: String, domains: Vec<String>) -> Result<Leaf, AcmeError> {
    let to = path.clone();
    let kept = move || {
        let unusable = |cause| AcmeError::Folder { path: to.clone(), cause };
        let new = folder::write_beside(&to, text.as_bytes()).map_err(unusable)?;
        let held = Held::read(&new)?;
        let is_good = |held: &Held| held.is_for(&domains) && held.leaf.not_after > SystemTime::now();
        let held = held.filter(is_good).ok_or(AcmeError::Other)?;
        folder::put_in_place(&new, &to).map_err(unusable)?;
        Ok(held.leaf)
    };
    // Where files may be waited for: publishers are served by this thread.
    let kept = tokio::task::spawn_blocking(kept).await;
    kept.unwrap_or_else(|error| Err(AcmeError::Folder { path, cause: io::Error::other(error) }))
}

/// A time as it is counted, in seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_looked_at_before_it_takes_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.example.pem");
        let hosts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let made = |names: &[&str]| {
            let made = rcgen::generate_simple_self_signed(hosts(names)).unwrap();
            (made.signing_key.serialize_pem(), made.cert.pem())
        };
        let keep = |text: String| {
            let kept = keep(path.clone(), text, hosts(&["a.example", "b.example"]));
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(kept)
        };
        let (key, chain) = made(&["b.example", "a.example"]);
        let (other_key, other) = made(&["a.example"]);
        for wrong in
            [format!("{key}{other}"), format!("{other_key}{other}"), key.clone(), "<html>".to_owned()]
        {
            assert!(keep(wrong).is_err());
            assert!(!path.exists());
        }
        let leaf = keep(format!("{key}{chain}")).unwrap();
        assert_eq!(Held::read(&path).unwrap().unwrap().leaf, leaf);
        assert!(keep("nothing".to_owned()).is_err());
        assert!(Held::read(&path).unwrap().is_some(), "what was there is still there");
    }
}
