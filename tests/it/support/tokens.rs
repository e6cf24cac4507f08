//! Tokens, made as an app makes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// The secret that the configurations of the tests share with their apps.
pub(crate) const SECRET: &str = "a secret of the tests, thirty-two bytes and more";

/// A good token for a user, for an hour.
pub(crate) fn token(user: &str) -> String {
    signed(&json!({ "sub": user, "exp": now() + 3600 }))
}

/// A token with these claims.
pub(crate) fn signed(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Seconds since 1970 at which a moment from now is over, with what is behind their point.
pub(crate) fn in_a(moment: Duration) -> f64 {
    (SystemTime::now() + moment).duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
