//! A certificate chain and its key: read, parsed, and shown to belong together. And the certificates that those of
//! clients are checked against.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{error, fmt, fs, io};

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// The largest certificate or key file, in bytes. A chain is a few KiB.
const MAX_FILE: u64 = 1 << 20;

/// A certificate chain and its key, read, parsed and matched.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// What a TLS server presents and signs with.
    pub key: Arc<CertifiedKey>,
    /// Where the chain was read from.
    pub cert_path: PathBuf,
    /// Where the key was read from.
    pub key_path: PathBuf,
    /// What was there: the certificate's file and the key's.
    pub stamps: [FileStamp; 2],
}

impl PartialEq for Certificate {
    /// Whether both are what was read from the same files while they were the same.
    fn eq(&self, other: &Self) -> bool {
        self.cert_path == other.cert_path && self.key_path == other.key_path && self.stamps == other.stamps
    }
}

/// What tells a file from another one in its place, and from itself when it has been written to. The default is that of no
/// file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileStamp(Option<(u64, u64, i64, i64, u64)>);

impl FileStamp {
    /// What is there now, be it nothing. To be taken before the file is read: a change meanwhile is then seen later.
    pub fn of(path: &Path) -> Self {
        let of = |file: fs::Metadata| (file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.len());
        Self(fs::metadata(path).ok().map(of))
    }
}

impl Certificate {
    /// Reads both files (PEM; the chain with the server's own certificate first) and matches them.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, CertificateError> {
        let stamps = [cert, key].map(FileStamp::of);
        let chain = chain(cert)?;
        let text = read(key).map_err(CertificateError::KeyUnreadable)?;
        let private = match PrivateKeyDer::from_pem_slice(&text) {
            Ok(private) => private,
            Err(pem::Error::NoItemsFound) => return Err(CertificateError::NoKey),
            Err(error) => return Err(CertificateError::KeyNotPem(error)),
        };
        let signing = aws_lc_rs::default_provider()
            .key_provider
            .load_private_key(private)
            .map_err(CertificateError::UnsupportedKey)?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(CertificateError::Mismatch),
            Err(error) => return Err(CertificateError::InvalidCert(error)),
        }
        Ok(Self { key: Arc::new(certified), cert_path: cert.to_owned(), key_path: key.to_owned(), stamps })
    }
}

/// Who vouches for clients.
#[derive(Debug, Clone)]
pub struct ClientCa {
    /// Their certificates.
    pub roots: Arc<RootCertStore>,
    /// Where they were read from.
    pub path: PathBuf,
    /// What was there.
    pub stamp: FileStamp,
}

impl PartialEq for ClientCa {
    /// Whether both are what was read from the same file while it was the same.
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.stamp == other.stamp
    }
}

impl ClientCa {
    /// Reads a file (PEM) of one certificate or several.
    pub fn load(path: &Path) -> Result<Self, CertificateError> {
        let stamp = FileStamp::of(path);
        let mut roots = RootCertStore::empty();
        for certificate in chain(path)? {
            roots.add(certificate).map_err(CertificateError::InvalidCert)?;
        }
        Ok(Self { roots: Arc::new(roots), path: path.to_owned(), stamp })
    }
}

/// Reads certificates; at least one.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = read(path).map_err(CertificateError::CertUnreadable)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(CertificateError::CertNotPem)?;
    if chain.is_empty() { Err(CertificateError::NoCert) } else { Ok(chain) }
}

/// Why a certificate and a key cannot be used.
#[derive(Debug)]
pub enum CertificateError {
    /// The certificate file could not be read.
    CertUnreadable(io::Error),
    /// The certificate file is broken PEM.
    CertNotPem(pem::Error),
    /// The certificate file holds no certificate.
    NoCert,
    /// The first certificate is not one that TLS can use.
    InvalidCert(rustls::Error),
    /// The key file could not be read.
    KeyUnreadable(io::Error),
    /// The key file is broken PEM.
    KeyNotPem(pem::Error),
    /// The key file holds no private key.
    NoKey,
    /// The key is of a kind that TLS cannot use.
    UnsupportedKey(rustls::Error),
    /// The key is not the one that the certificate was made for.
    Mismatch,
}

impl CertificateError {
    /// Whether the key file is at fault, and not the certificate file.
    pub fn is_of_key(&self) -> bool {
        match self {
            Self::CertUnreadable(_) | Self::CertNotPem(_) | Self::NoCert | Self::InvalidCert(_) => false,
            Self::KeyUnreadable(_)
            | Self::KeyNotPem(_)
            | Self::NoKey
            | Self::UnsupportedKey(_)
            | Self::Mismatch => true,
        }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CertUnreadable(_) => "the certificate file cannot be read",
            Self::CertNotPem(_) => "the certificate file is not valid PEM",
            Self::NoCert => "the certificate file holds no certificate",
            Self::InvalidCert(_) => "the certificate cannot be used",
            Self::KeyUnreadable(_) => "the key file cannot be read",
            Self::KeyNotPem(_) => "the key file is not valid PEM",
            Self::NoKey => "the key file holds no private key",
            Self::UnsupportedKey(_) => "the key cannot be used",
            Self::Mismatch => "the key does not belong to the certificate",
        })
    }
}

impl error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::CertUnreadable(error) | Self::KeyUnreadable(error) => Some(error),
            Self::CertNotPem(error) | Self::KeyNotPem(error) => Some(error),
            Self::InvalidCert(error) | Self::UnsupportedKey(error) => Some(error),
            Self::NoCert | Self::NoKey | Self::Mismatch => None,
        }
    }
}

/// Reads a file of bounded size.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1MiB"));
    }
    fs::read(path)
}
