//! A set of public keys (RFC 7517), and which of them is for a token.
//!
//! Invariant: a key checks only algorithms of its own kind, so a token cannot make an HMAC's secret of it; keys that
//! are symmetric, for encryption, or too weak are passed over.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::config::JwtKeyKind;

/// The most keys of a set that are looked at.
const MAX_KEYS: usize = 100;
/// The sizes of RSA keys that are taken, in bits (RFC 7518, section 3.3).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The keys that can be used.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    key: Arc<DecodingKey>,
    algorithms: Vec<Algorithm>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

/// What came of looking for a key.
#[derive(Debug)]
pub(super) enum Sought {
    /// This one.
    Found(Arc<DecodingKey>),
    /// The key that is named is not for this algorithm.
    Unfit,
    /// There is none, or it is not clear which.
    Unknown,
}

impl KeySet {
    /// Reads a set; none when it is not one or holds no key that can be used.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let set: Value = serde_json::from_slice(text).ok()?;
        let keys: Vec<_> = set.get("keys")?.as_array()?.iter().take(MAX_KEYS).filter_map(read).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key of that id. Without one, the only key that fits: where several do, a guess could be the wrong one.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Sought {
        let fits = |key: &&Key| key.algorithms.contains(&algorithm);
        let Some(id) = id else {
            let mut fitting = self.0.iter().filter(fits);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Sought::Found(key.key.clone()),
                _ => Sought::Unknown,
            };
        };
        let named = || self.0.iter().filter(|key| key.id.as_deref() == Some(id));
        match named().find(fits) {
            Some(key) => Sought::Found(key.key.clone()),
            None if named().next().is_some() => Sought::Unfit,
            None => Sought::Unknown,
        }
    }
}

/// Reads one key; none when it cannot be used to check signatures.
fn read(jwk: &Value) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if jwk.get("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    if let Some(operations) = jwk.get("key_ops").and_then(Value::as_array)
        && !operations.iter().any(|operation| operation == "verify")
    {
        return None;
    }
    let (key, kind) = match (text("kty")?, text("crv")) {
        ("RSA", _) => (rsa(text("n")?, text("e")?)?, JwtKeyKind::Rsa),
        ("EC", Some("P-256")) => (ec(text("x")?, text("y")?, &ECDSA_P256_SHA256_FIXED)?, JwtKeyKind::EcP256),
        ("EC", Some("P-384")) => (ec(text("x")?, text("y")?, &ECDSA_P384_SHA384_FIXED)?, JwtKeyKind::EcP384),
        ("OKP", Some("Ed25519")) => {
            let key = DecodingKey::from_ed_components(text("x")?).ok()?;
            (checked(key, &ED25519)?, JwtKeyKind::Ed25519)
        }
        _ => return None,
    };
    let mut algorithms = kind.algorithms().to_vec();
    if let Some(own) = jwk.get("alg") {
        let own = own.as_str()?.parse().ok()?;
        algorithms.retain(|algorithm| *algorithm == own);
    }
    let id = text("kid").map(str::to_owned);
    (!algorithms.is_empty()).then(|| Key { id, key: Arc::new(key), algorithms })
}

fn rsa(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    let number = URL_SAFE_NO_PAD.decode(modulus).ok()?;
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[zeros..];
    let bits = number.len() * 8 - number.first()?.leading_zeros() as usize;
    let is_strong = RSA_BITS.contains(&bits);
    is_strong.then(|| DecodingKey::from_rsa_components(modulus, exponent).ok())?
}

fn ec(x: &str, y: &str, algorithm: &'static dyn VerificationAlgorithm) -> Option<DecodingKey> {
    checked(DecodingKey::from_ec_components(x, y).ok()?, algorithm)
}

/// A key that is a point of its curve.
fn checked(key: DecodingKey, algorithm: &'static dyn VerificationAlgorithm) -> Option<DecodingKey> {
    ParsedPublicKey::new(algorithm, key.try_get_as_bytes().ok()?).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const P256: [&str; 2] =
        ["f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"];
    const ED: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn ec(more: Value) -> Value {
        let mut key = json!({"kty": "EC", "crv": "P-256", "x": P256[0], "y": P256[1]});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    }

    fn ed(id: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": ED, "kid": id})
    }

    fn set(keys: &[Value]) -> Option<KeySet> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn a_key_is_chosen_by_its_id() {
        let set = set(&[ec(json!({"kid": "a"})), ed("b"), ed("c")]).unwrap();
        assert_eq!(set.len(), 3);
        assert!(matches!(set.find(Some("a"), Algorithm::ES256), Sought::Found(_)));
        assert!(matches!(set.find(Some("b"), Algorithm::EdDSA), Sought::Found(_)));
        for algorithm in [Algorithm::HS256, Algorithm::RS256, Algorithm::EdDSA, Algorithm::ES384] {
            assert!(matches!(set.find(Some("a"), algorithm), Sought::Unfit), "{algorithm:?}");
        }
        assert!(matches!(set.find(Some("d"), Algorithm::ES256), Sought::Unknown));
        // Without an id, only where it is clear.
        assert!(matches!(set.find(None, Algorithm::ES256), Sought::Found(_)));
        assert!(matches!(set.find(None, Algorithm::EdDSA), Sought::Unknown));
        assert!(matches!(set.find(None, Algorithm::HS256), Sought::Unknown));
    }

    #[test]
    fn keys_that_are_for_something_else_are_passed_over() {
        for key in [
            json!({"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "alg": "HS256"}),
            ec(json!({"use": "enc"})),
            ec(json!({"key_ops": ["encrypt"]})),
            ec(json!({"alg": "HS256"})),
            ec(json!({"alg": "none"})),
            ec(json!({"crv": "secp256k1"})),
            ec(json!({"x": ED})),
            json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB"}),
            json!({"kty": "RSA", "n": "", "e": "AQAB"}),
            json!({"kty": "OKP", "crv": "X25519", "x": ED}),
            json!("key"),
        ] {
            assert!(set(std::slice::from_ref(&key)).is_none(), "{key}");
            assert_eq!(set(&[key, ed("b")]).unwrap().len(), 1);
        }
        for key in [ec(json!({"use": "sig", "alg": "ES256"})), ec(json!({"key_ops": ["verify"]}))] {
            assert!(set(std::slice::from_ref(&key)).is_some(), "{key}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "[ -~]{0,60}|\\{\"keys\":\\[\\{\"kty\":\"RSA\",\"n\":\"[A-Za-z0-9_-]{0,9}\",\"e\":\"A\"\\}\\]\\}") {
            proptest::prop_assert!(KeySet::parse(text.as_bytes()).is_none());
        }
    }
}
