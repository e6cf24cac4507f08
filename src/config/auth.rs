//! `[auth.NAME]`: who a subscriber is.

use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::Secret;
use super::problem::Fault;

mod key;

pub use key::{JwtKey, JwtKeyKind};

const LEEWAY: Duration = Duration::from_secs(5);

/// A provider of identities.
#[derive(Debug, Clone)]
pub enum Auth {
    /// `kind = "jwt"`.
    Jwt(JwtProvider),
}

impl Auth {
    /// The provider's name in the file.
    pub fn name(&self) -> &str {
        match self {
            Self::Jwt(provider) => &provider.name,
        }
    }
}

/// Identities from signed tokens.
#[derive(Debug, Clone)]
pub struct JwtProvider {
    /// Its name in the file.
    pub name: String,
    /// What signatures are checked with.
    pub key: JwtKey,
    /// The algorithms a token may use; every one fits the key, and there is at least one.
    pub algorithms: Vec<Algorithm>,
    /// The claim that holds the user's id.
    pub user_claim: String,
    /// The query parameter a token may come in.
    pub query: Option<String>,
    /// The header a token may come in, in lower case; under `authorization` after `Bearer`.
    pub header: Option<String>,
    /// The cookie a token may come in.
    pub cookie: Option<String>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must hold one of; empty is not checked.
    pub audience: Vec<String>,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// Claims that a token must have, and their values.
    pub require: Vec<(String, serde_json::Value)>,
}

impl JwtProvider {
    /// A provider with the defaults of the file.
    pub(super) fn new(name: impl Into<String>, key: JwtKey) -> Self {
        Self {
            name: name.into(),
            algorithms: key.kind.algorithms().to_vec(),
            key,
            user_claim: "sub".to_owned(),
            query: Some("token".to_owned()),
            header: Some("authorization".to_owned()),
            cookie: None,
            issuer: None,
            audience: Vec::new(),
            leeway: LEEWAY,
            require: Vec::new(),
        }
    }

    /// A provider of the command line: a shared secret and the defaults.
    pub(super) fn from_secret(name: &str, secret: &Secret) -> Result<Self, Fault> {
        Ok(Self::new(name, JwtKey::from_secret(secret)?))
    }
}
