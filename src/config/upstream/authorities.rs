//! Whose certificates the servers of an upstream may have.
//!
//! Invariant: there is a configuration of TLS wherever a server asks for one, and it verifies.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::Origin;
use crate::config::FileStamp;
use crate::config::problem::Fault;
use crate::config::reader::Value;

/// The largest file of authorities, in bytes; that of a whole system is a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// How TLS is spoken to the servers of an upstream.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// What a connection is made with.
    pub config: Arc<ClientConfig>,
    /// The file of authorities, as it was; none are the public ones.
    ca: Option<(PathBuf, FileStamp)>,
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.ca == other.ca
    }
}

/// Reads `ca`, and makes of it what servers need.
pub(super) fn read(ca: Option<Value<'_>>, servers: &[Origin], base: &Path) -> Option<UpstreamTls> {
    let Some(ca) = ca else { return public_if_needed(servers) };
    if !servers.is_empty() && !servers.iter().any(Origin::is_tls) {
        ca.fault(Fault::new("is for servers at https://…, and there is none"));
    }
    client_of(&ca, base)
}

/// What verifies by the certificates of a file.
pub(in crate::config) fn client_of(ca: &Value<'_>, base: &Path) -> Option<UpstreamTls> {
    ca.parse(|path| {
        let path = base.join(path);
        let stamp = FileStamp::of(&path);
        let tls = client_config(load(&path)?);
        Ok(tls.map(|tls| UpstreamTls { ca: Some((path, stamp)), ..tls }))
    })?
}

/// What verifies by the public authorities, if a server needs it.
pub(super) fn public_if_needed(servers: &[Origin]) -> Option<UpstreamTls> {
    if !servers.iter().any(Origin::is_tls) {
        return None;
    }
    client_config(RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()))
}

fn load(path: &Path) -> Result<RootCertStore, Fault> {
    let unreadable = |error: io::Error| Fault::new(format!("cannot be read: {error}"));
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(Fault::new("is larger than 1MiB, which no file of authorities is"));
    }
    let text = fs::read(path).map_err(unreadable)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|_| Fault::new("is not valid PEM"))?;
        let unusable = |error| Fault::new(format!("holds a certificate that cannot be used: {error}"));
        roots.add(certificate).map_err(unusable)?;
    }
    if roots.is_empty() {
        return Err(Fault::new("holds no certificate").hint("name the PEM file of the authority"));
    }
    Ok(roots)
}

/// The provider has the versions of TLS that are asked of it, so there always is one.
fn client_config(roots: RootCertStore) -> Option<UpstreamTls> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(UpstreamTls { config: Arc::new(config), ca: None })
}
