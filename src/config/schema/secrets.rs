//! Which keys hold secrets.
//!
//! Invariant: a key that is not known counts as one that does when it looks like it: nothing is shown by mistake.

use crate::config::suggest;

use super::ALL;

/// Keys whose values are secrets or may hold one, and are never shown.
const SECRETS: [&str; 8] =
    ["secret", "token", "webhook", "jwt_secret", "public_key", "passwords", "password", "url"];

/// Whether the value of a key must not be shown. A misspelt or foreign key counts when it looks like a secret's.
pub(in crate::config) fn is_secret(key: &str) -> bool {
    if SECRETS.contains(&key) {
        return true;
    }
    if ALL.iter().any(|shape| shape.keys.contains(&key)) {
        return false;
    }
    let lower = key.to_ascii_lowercase();
    ["secret", "token", "passw", "webhook", "private", "credential", "api_key"]
        .iter()
        .any(|part| lower.contains(part))
        || suggest::closest(&lower, SECRETS).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_also_when_misspelt() {
        for key in ["secret", "token", "webhook", "jwt_secret", "secert", "Token", "tokn", "db_password"] {
            assert!(is_secret(key), "{key}");
        }
        for key in ["socket", "address", "key", "query", "adress", "path"] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
