//! Tokens as they come from outside: good ones, and every way they are not.

use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{Auth, JwtKey, JwtKeyKind, JwtKeys, JwtProvider};

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

static EC: LazyLock<rcgen::KeyPair> = LazyLock::new(|| key_pair(&rcgen::PKCS_ECDSA_P256_SHA256));

fn key_pair(algorithm: &'static rcgen::SignatureAlgorithm) -> rcgen::KeyPair {
    rcgen::KeyPair::generate_for(algorithm).unwrap()
}

fn provider(decoding: DecodingKey, kind: JwtKeyKind, algorithms: &[Algorithm]) -> JwtProvider {
    JwtProvider {
        name: "jwt".into(),
        keys: JwtKeys::One(JwtKey { decoding, kind }),
        algorithms: algorithms.to_vec(),
        user_claim: "sub".into(),
        query: Some("token".into()),
        header: Some("authorization".into()),
        cookie: Some("jwt".into()),
        issuer: None,
        audience: Vec::new(),
        leeway: Duration::from_secs(5),
        require: Vec::new(),
    }
}

fn shared() -> JwtProvider {
    let algorithms = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    provider(DecodingKey::from_secret(SECRET), JwtKeyKind::Secret, &algorithms)
}

fn ec() -> JwtProvider {
    let key = DecodingKey::from_ec_pem(EC.public_key_pem().as_bytes()).unwrap();
    provider(key, JwtKeyKind::EcP256, &[Algorithm::ES256])
}

fn signed(claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// Good claims, with `more` over them.
fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "42", "exp": NOW + 60});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn verify_at(provider: JwtProvider, token: &str, now: u64) -> Result<Identity, AuthError> {
    let JwtKeys::One(key) = &provider.keys else { panic!("a set") };
    let jwt = Jwt::new(&provider, Signer::One(key.decoding.clone()));
    now_or_never(jwt.verify(token, at(now)))
}

fn verify(provider: JwtProvider, token: &str) -> Result<Identity, AuthError> {
    verify_at(provider, token, NOW)
}

fn invalid(reason: Reason) -> Result<Identity, AuthError> {
    Err(AuthError::Invalid(reason))
}

fn wrong(claim: &str) -> Result<Identity, AuthError> {
    invalid(Reason::Claim(claim.into()))
}

#[test]
fn a_good_token_is_an_identity() {
    let identity = verify(shared(), &signed(&claims(json!({"tenant": "acme"})))).unwrap();
    assert_eq!(identity.user, "42");
    assert_eq!(identity.expires, Some(at(NOW + 65)));
    assert_eq!(identity.fill("{tenant}:{user}").as_deref(), Some("acme:42"));
}

#[test]
fn every_kind_of_key_verifies_its_own() {
    let rsa = key_pair(&rcgen::PKCS_RSA_SHA256);
    let p384 = key_pair(&rcgen::PKCS_ECDSA_P384_SHA384);
    let ed = key_pair(&rcgen::PKCS_ED25519);
    let rsa_encoding = EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).unwrap();
    let rsa_decoding = DecodingKey::from_rsa_pem(rsa.public_key_pem().as_bytes()).unwrap();
    let of_ec = |pair: &rcgen::KeyPair| {
        (
            EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap(),
            DecodingKey::from_ec_pem(pair.public_key_pem().as_bytes()).unwrap(),
        )
    };
    let ed_keys = (
        EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes()).unwrap(),
        DecodingKey::from_ed_pem(ed.public_key_pem().as_bytes()).unwrap(),
    );
    for (algorithm, kind, (encoding, decoding)) in [
        (Algorithm::RS256, JwtKeyKind::Rsa, (rsa_encoding.clone(), rsa_decoding.clone())),
        (Algorithm::PS512, JwtKeyKind::Rsa, (rsa_encoding, rsa_decoding)),
        (Algorithm::ES256, JwtKeyKind::EcP256, of_ec(&EC)),
        (Algorithm::ES384, JwtKeyKind::EcP384, of_ec(&p384)),
        (Algorithm::EdDSA, JwtKeyKind::Ed25519, ed_keys),
    ] {
        let token = encode(&Header::new(algorithm), &claims(json!({})), &encoding).unwrap();
        let identity = verify(provider(decoding, kind, &[algorithm]), &token);
        assert_eq!(identity.unwrap().user, "42", "{algorithm:?}");
    }
}

#[test]
fn the_token_does_not_choose_the_algorithm() {
    // The public key as the secret of an HMAC, in each shape an attacker may hold it.
    for secret in [EC.public_key_pem().into_bytes(), EC.public_key_raw().to_vec()] {
        let token =
            encode(&Header::default(), &claims(json!({})), &EncodingKey::from_secret(&secret)).unwrap();
        assert_eq!(verify(ec(), &token), invalid(Reason::Algorithm));
    }
    let es = EncodingKey::from_ec_pem(EC.serialize_pem().as_bytes()).unwrap();
    let token = encode(&Header::new(Algorithm::ES256), &claims(json!({})), &es).unwrap();
    assert!(verify(ec(), &token).is_ok());
    assert_eq!(verify(shared(), &token), invalid(Reason::Algorithm));

    let mut only_512 = shared();
    only_512.algorithms = vec![Algorithm::HS512];
    assert_eq!(verify(only_512, &signed(&claims(json!({})))), invalid(Reason::Algorithm));
}

#[test]
fn an_unsigned_token_is_none() {
    let payload = URL_SAFE_NO_PAD.encode(claims(json!({})).to_string());
    for algorithm in ["none", "None", "NONE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": algorithm, "typ": "JWT"}).to_string());
        for token in [format!("{header}.{payload}."), format!("{header}.{payload}")] {
            assert_eq!(verify(shared(), &token), invalid(Reason::Malformed), "{algorithm}");
        }
    }
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    assert_eq!(verify(shared(), &format!("{header}.{payload}.")), invalid(Reason::Signature));
}

#[test]
fn a_changed_token_is_none() {
    let token = signed(&claims(json!({})));
    let parts: Vec<&str> = token.split('.').collect();
    let other = URL_SAFE_NO_PAD.encode(claims(json!({"sub": "43"})).to_string());
    let changed = format!("{}.{other}.{}", parts[0], parts[2]);
    assert_eq!(verify(shared(), &changed), invalid(Reason::Signature));
    let foreign = EncodingKey::from_secret(b"another secret of good length...");
    let foreign = encode(&Header::default(), &claims(json!({})), &foreign).unwrap();
    assert_eq!(verify(shared(), &foreign), invalid(Reason::Signature));
    for token in ["", ".", "..", "...", "a.b.c", "x", &format!("{token}."), &format!("{token}.x.y")] {
        assert_eq!(verify(shared(), token), invalid(Reason::Malformed), "{token}");
    }
}

#[test]
fn times_are_checked_against_the_callers_clock() {
    let token = signed(&claims(json!({"exp": NOW, "nbf": NOW - 100})));
    assert!(verify_at(shared(), &token, NOW + 4).is_ok());
    assert_eq!(verify_at(shared(), &token, NOW + 5), Err(AuthError::Expired));
    assert!(verify_at(shared(), &token, NOW - 105).is_ok());
    assert_eq!(verify_at(shared(), &token, NOW - 106), invalid(Reason::NotYet));

    let fraction = verify(shared(), &signed(&claims(json!({"exp": NOW as f64 + 0.5})))).unwrap();
    assert_eq!(fraction.expires, Some(at(NOW) + Duration::from_millis(5500)));
    for exp in [json!(null), json!("1900000000"), json!(-1), json!(1e300), json!(u64::MAX), json!(true)] {
        assert_eq!(verify(shared(), &signed(&claims(json!({"exp": exp})))), wrong("exp"), "{exp}");
    }
    assert_eq!(verify(shared(), &signed(&claims(json!({"exp": 0})))), Err(AuthError::Expired));
    assert_eq!(verify(shared(), &signed(&json!({"sub": "42"}))), wrong("exp"));
    assert_eq!(verify(shared(), &signed(&claims(json!({"nbf": "x"})))), wrong("nbf"));
}

#[test]
fn issuer_and_audience_are_required_once_configured() {
    let strict = || JwtProvider {
        issuer: Some("https://id".into()),
        audience: vec!["app".into(), "web".into()],
        ..shared()
    };
    for audience in [json!("app"), json!(["other", "web"])] {
        let token = signed(&claims(json!({"iss": "https://id", "aud": audience})));
        assert!(verify(strict(), &token).is_ok(), "{audience}");
    }
    for (more, claim) in [
        (json!({"aud": "app"}), "iss"),
        (json!({"aud": "app", "iss": "https://id/"}), "iss"),
        (json!({"iss": "https://id"}), "aud"),
        (json!({"iss": "https://id", "aud": "ap"}), "aud"),
        (json!({"iss": "https://id", "aud": []}), "aud"),
        (json!({"iss": "https://id", "aud": 7}), "aud"),
    ] {
        assert_eq!(verify(strict(), &signed(&claims(more))), wrong(claim));
    }
    // Without them, a token may have any.
    assert!(verify(shared(), &signed(&claims(json!({"iss": 1, "aud": "any"})))).is_ok());
}

#[test]
fn required_claims_are_equal() {
    let strict = || JwtProvider {
        require: vec![("role".into(), json!("staff")), ("level".into(), json!(2))],
        ..shared()
    };
    assert!(verify(strict(), &signed(&claims(json!({"role": "staff", "level": 2})))).is_ok());
    assert_eq!(verify(strict(), &signed(&claims(json!({"role": "staff"})))), wrong("level"));
    assert_eq!(verify(strict(), &signed(&claims(json!({"role": ["staff"], "level": 2})))), wrong("role"));
}

#[test]
fn the_user_is_a_string_or_an_integer() {
    for (sub, user) in [(json!(42), "42"), (json!(-1), "-1"), (json!("a@b.c"), "a@b.c")] {
        assert_eq!(verify(shared(), &signed(&claims(json!({"sub": sub})))).unwrap().user, user);
    }
    for sub in [
        json!(1.0),
        json!(true),
        json!(null),
        json!(""),
        json!("a:b"),
        json!("a b"),
        json!("a\nb"),
        json!("x".repeat(300)),
    ] {
        assert_eq!(verify(shared(), &signed(&claims(json!({"sub": sub})))), wrong("sub"), "{sub}");
    }
    for sub in [json!([1]), json!({"id": 1})] {
        assert!(verify(shared(), &signed(&claims(json!({"sub": sub})))).is_err(), "{sub}");
    }
    let own = JwtProvider { user_claim: "user_id".into(), ..shared() };
    assert_eq!(verify(own.clone(), &signed(&claims(json!({"user_id": 7})))).unwrap().user, "7");
    assert_eq!(verify(own, &signed(&claims(json!({})))), wrong("user_id"));
}

#[test]
fn a_header_that_demands_more_is_refused() {
    let header = Header { crit: Some(vec!["b64".into()]), ..Header::default() };
    let token = encode(&header, &claims(json!({})), &EncodingKey::from_secret(SECRET)).unwrap();
    assert_eq!(verify(shared(), &token), invalid(Reason::Critical));
}

/// What comes of a request, where nobody has to be waited for.
fn admit(
    auth: &Authenticator,
    providers: &[usize],
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Admission, AuthError> {
    let presented = Presented { headers, query, secure: false, forwarding: None };
    now_or_never(auth.authenticate(providers, presented, at(NOW)))
}

/// What comes of work that must not have to wait.
fn now_or_never<T>(work: impl Future<Output = T>) -> T {
    match std::pin::pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("somebody has to be waited for"),
    }
}

fn authenticator() -> Authenticator {
    let cookie_only = JwtProvider { query: None, header: None, ..ec() };
    Authenticator::new(
        &[Auth::Jwt(shared()), Auth::Jwt(cookie_only)],
        &[],
        Arc::new(Tickets::new(SECRET)),
        None,
    )
    .0
}

fn cookie(token: &str) -> HeaderMap {
    let line = HeaderValue::from_str(&format!("a=1; jwt={token}")).unwrap();
    HeaderMap::from_iter([(http::header::COOKIE, line)])
}

#[test]
fn the_first_provider_that_finds_a_credential_decides() {
    let auth = authenticator();
    let good = signed(&claims(json!({})));
    let es = EncodingKey::from_ec_pem(EC.serialize_pem().as_bytes()).unwrap();
    let other = encode(&Header::new(Algorithm::ES256), &claims(json!({"sub": "7"})), &es).unwrap();

    let query = format!("token={good}");
    let admitted = admit(&auth, &[1, 0], &HeaderMap::new(), Some(&query)).unwrap();
    assert_eq!((admitted.identity.user.as_str(), admitted.source), ("42", CredentialSource::Query));
    let admitted = admit(&auth, &[1, 0], &cookie(&other), Some(&query)).unwrap();
    assert_eq!((admitted.identity.user.as_str(), admitted.source), ("7", CredentialSource::Ambient));
    // The first finds the other's token in the cookie: it decides, though the second would take it.
    assert_eq!(admit(&auth, &[0, 1], &cookie(&other), None), Err(AuthError::Invalid(Reason::Algorithm)));
    // A bad token in the query is not made good by the cookie.
    assert_eq!(admit(&auth, &[0], &cookie(&good), Some("token=")), Err(AuthError::Invalid(Reason::Empty)));
    for providers in [&[][..], &[0, 1], &[9]] {
        assert_eq!(admit(&auth, providers, &HeaderMap::new(), Some("a=b")), Err(AuthError::Missing));
    }
}

#[test]
fn no_error_repeats_the_credential() {
    let auth = authenticator();
    for token in ["secretvalue", "secretvalue.secretvalue.secretvalue", "c2VjcmV0dmFsdWU.e30.x"] {
        let error = admit(&auth, &[0], &HeaderMap::new(), Some(&format!("token={token}"))).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
    let shown = format!("{auth:?}");
    assert!(!shown.contains(std::str::from_utf8(SECRET).unwrap()), "{shown}");
}

proptest! {
    #[test]
    fn any_text_is_refused_and_nothing_panics(token in "[ -~]{0,60}|([A-Za-z0-9_-]{0,20}\\.){0,4}") {
        prop_assert!(verify(shared(), &token).is_err());
    }

    #[test]
    fn one_changed_character_spoils_a_token(at_byte in 0..1000_usize, to in "[A-Za-z0-9_-]") {
        let token = signed(&claims(json!({})));
        let at_byte = at_byte % token.len();
        let mut changed = token.clone();
        changed.replace_range(at_byte..=at_byte, &to);
        // The last character carries unused bits, which the decoder refuses to be set.
        prop_assert_eq!(verify(shared(), &changed).is_ok(), changed == token);
    }
}
