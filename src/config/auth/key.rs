//! The key that tokens are checked with, and the algorithms that fit it.
//!
//! Invariant: an algorithm is allowed only where it fits the kind of the key, so a public key can never be used as
//! the secret of an HMAC (RFC 8725, section 2.1).

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls::pki_types::pem::{PemObject, SectionKind};

use crate::config::Secret;
use crate::config::problem::Fault;

/// The shortest secret, in bytes. RFC 7518 asks for 32 with HS256; Django's own `SECRET_KEY` has 50.
const MIN_SECRET: usize = 16;

/// What signatures are checked with.
#[derive(Clone)]
pub struct JwtKey {
    /// The key.
    pub decoding: DecodingKey,
    /// What kind of key it is.
    pub kind: JwtKeyKind,
}

impl JwtKey {
    /// The key of an HMAC.
    pub(in crate::config) fn from_secret(secret: &Secret) -> Result<Self, Fault> {
        let text = secret.expose();
        if text.trim_start().starts_with("-----BEGIN ") {
            return Err(
                Fault::new("holds a PEM key, but a secret is shared text").hint("put it under `public_key`")
            );
        }
        if text.len() < MIN_SECRET {
            return Err(Fault::new(format!("is shorter than {MIN_SECRET} bytes"))
                .hint("`openssl rand -hex 32` makes a good one"));
        }
        Ok(Self { decoding: DecodingKey::from_secret(text.as_bytes()), kind: JwtKeyKind::Secret })
    }
}

impl JwtKey {
    /// A public key in PEM, as `openssl pkey -pubout` writes it.
    pub(in crate::config) fn from_pem(pem: &Secret) -> Result<Self, Fault> {
        let pem = pem.expose().as_bytes();
        let (section, der) = <(SectionKind, Vec<u8>)>::from_pem_slice(pem).map_err(|_| {
            Fault::new("is not a public key in PEM").hint("it begins with -----BEGIN PUBLIC KEY-----")
        })?;
        match section {
            SectionKind::PublicKey => {}
            SectionKind::Certificate => {
                return Err(Fault::new("holds a certificate, not a public key")
                    .hint("`openssl x509 -pubkey -noout -in FILE` gives its key"));
            }
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                return Err(Fault::new("holds a private key, which has no business here")
                    .hint("`openssl pkey -pubout -in FILE` gives its public half"));
            }
            _ => return Err(Fault::new("is not a public key in PEM")),
        }
        let kind = kind_of(&der).ok_or_else(|| {
            Fault::new("is a key of a kind that is not supported").hint("RSA, P-256, P-384 and Ed25519 are")
        })?;
        let unusable = || Fault::new("is not a public key that can be used");
        let decoding = match kind {
            JwtKeyKind::Rsa => DecodingKey::from_rsa_pem(pem),
            JwtKeyKind::Ed25519 => DecodingKey::from_ed_pem(pem),
            _ => DecodingKey::from_ec_pem(pem),
        }
        .map_err(|_| unusable())?;
        let bytes = decoding.try_get_as_bytes().map_err(|_| unusable())?;
        let check = |algorithm: &'static dyn VerificationAlgorithm| {
            ParsedPublicKey::new(algorithm, bytes).map(drop).map_err(|_| unusable())
        };
        match kind {
            JwtKeyKind::Rsa => check_rsa(&der)?,
            JwtKeyKind::EcP256 => check(&ECDSA_P256_SHA256_FIXED)?,
            JwtKeyKind::EcP384 => check(&ECDSA_P384_SHA384_FIXED)?,
            JwtKeyKind::Ed25519 | JwtKeyKind::Secret => check(&ED25519)?,
        }
        Ok(Self { decoding, kind })
    }
}

impl PartialEq for JwtKey {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |key: &Self| key.decoding.try_get_as_bytes().map(<[u8]>::to_vec).ok();
        // A key whose bytes cannot be had is like no other.
        self.kind == other.kind && bytes(self).is_some_and(|own| bytes(other) == Some(own))
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtKey({:?})", self.kind)
    }
}

/// The kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtKeyKind {
    /// A shared secret.
    Secret,
    /// An RSA public key.
    Rsa,
    /// A public key on the curve P-256.
    EcP256,
    /// A public key on the curve P-384.
    EcP384,
    /// An Ed25519 public key.
    Ed25519,
}

impl JwtKeyKind {
    /// The algorithms that fit a key of this kind.
    pub fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::Secret => &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
            Self::Rsa => &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            Self::EcP256 => &[Algorithm::ES256],
            Self::EcP384 => &[Algorithm::ES384],
            Self::Ed25519 => &[Algorithm::EdDSA],
        }
    }
}

impl fmt::Display for JwtKeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "a shared secret",
            Self::Rsa => "an RSA key",
            Self::EcP256 => "a key on P-256",
            Self::EcP384 => "a key on P-384",
            Self::Ed25519 => "an Ed25519 key",
        })
    }
}

/// The kind of a key by the object identifiers in its SubjectPublicKeyInfo (RFC 3279, RFC 5480, RFC 8410). The curve
/// has to be told from others of the same length, such as secp256k1.
fn kind_of(der: &[u8]) -> Option<JwtKeyKind> {
    const KINDS: [(&[u8], JwtKeyKind); 4] = [
        (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", JwtKeyKind::Rsa),
        (b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", JwtKeyKind::EcP256),
        (b"\x06\x05\x2b\x81\x04\x00\x22", JwtKeyKind::EcP384),
        (b"\x06\x03\x2b\x65\x70", JwtKeyKind::Ed25519),
    ];
    // The identifiers stand within the first bytes; what follows them is the key.
    let head = &der[..der.len().min(32)];
    KINDS.iter().find(|(oid, _)| memchr::memmem::find(head, oid).is_some()).map(|(_, kind)| *kind)
}

/// RSA keys are good from 2048 bits (RFC 7518, section 3.3) to 8192.
fn check_rsa(der: &[u8]) -> Result<(), Fault> {
    match aws_lc_rs::rsa::PublicEncryptingKey::from_der(der) {
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::new("is not an RSA key of 2048 to 8192 bits")),
    }
}
