//! Tokens, made as the app would make them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::Error;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

/// How long a token is good, in seconds; longer than any run.
const LIFE: u64 = 24 * 3600;

/// Signs tokens with HS256.
pub(crate) struct Signer {
    key: EncodingKey,
    expires: u64,
}

impl Signer {
    pub(crate) fn new(secret: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { key: EncodingKey::from_secret(secret.as_bytes()), expires: now + LIFE }
    }

    /// A token whose `sub` is this user.
    pub(crate) fn token(&self, user: &str) -> Result<String, Error> {
        encode(&Header::new(Algorithm::HS256), &json!({ "sub": user, "exp": self.expires }), &self.key)
    }
}
