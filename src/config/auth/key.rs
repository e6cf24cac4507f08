//! The key that tokens are checked with, and the algorithms that fit it.
//!
//! Invariant: an algorithm is allowed only where it fits the kind of the key, so a public key can never be used as
//! the secret of an HMAC (RFC 8725, section 2.1).

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey};

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
