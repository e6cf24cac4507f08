//! Cookies that the libraries made, cookies made like them, and every way in which one is bad.

use std::time::UNIX_EPOCH;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use http::header::{COOKIE, HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::Secret;

const SECRET: &str = "correct horse battery staple";
const NOW: u64 = 1_800_000_000;
/// When the libraries' cookies end.
const END: u64 = 2_110_577_446;

// Made by `encode()` of @auth/core 0.41.3 and next-auth 4.24.15.
const V5: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoib0hEZ21icEdMeU9vS05TOWRmWXRma3ZBR3hSMlF6LUhuMmFvR2l4c2VWVGxQdlNoMmNmMEVKQmlaOHNOaTYwLWxfQndjc2QyLVZSMUpWdjQ4U3A2ZncifQ..wTcIeMQfRC9Dq4HFbA2J7g.HW2clH1skni3LNKGyVhBL8zFPDpQqVu7mC80b3SKWMee_wVzsqwMhaYO94QgIt3iJsrrknEP7hizksH-y5U5SZzfw0uuVwGs9_MIHfBxMaxMzsUZaLiX5eucG8KUe8vG5RcQwDJ_r8vA4G3mtOIbQH50cD-qd_O1YuBEibE0LEbzr09hJqhQhz_wmia8Omlu.0_Zi2i7btQVnz-QwkbTVHUyUlvsualHkIRaaZac97Cw";
const V5_SECURE: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoibHFUaUdRV1JrSjJrZXZsVzJnaTM3WHItODZaRXY2aUdDNnV0eHVuNFQyOEZ4dVc2UjRaYnJva3QxSnFvQ2lhakNuUHEwbUp6YnpRdFVFaWI4NU1aRUEifQ..O4cI5wBTVGmKwt0d_-xj6A.HgcCTvQ-KT0lA4cbsIlnt4cqocwMMzuqjuwKmMwiAEAFEOuRqRFjlqSTL56nw5qTtrDsQq94ChVwO8kbg00AymkpLzPnruz4-l_dGQ5IREP0s2JHobUe6Hv2pP5zxIOPpWAL_kUxEf9s2zCicEeArjnhImq7fhSJL-Iw7cGxv4GTZEW1NKblfqF2qRdjOjvo.9x7JQbsDShqeglcmKtVAGj1bsocsJcm3gFMhie1PLEk";
const V4: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..kH1Xx_cpKlffmsLo.cm9SiRyK0k-JjXnIpG2cf6QqyDBEvexsjytmUfH3E4Xx3nblsSoBZ4UEcazuOnTM22XIFqA0L270NS8cCnq_XNGkuZqVxol2Q6uEnUyvlVwVotpkYicRttDouIh7VaO9wcc1MfkdN7tfoWeHAn8qETNtusVYWVV3PoB81bhqcI7q8g.pV6P25jSbWaddQ3Xm-sRvw";

/// The cookies of the libraries, by their names.
const COOKIES: [(&str, &str); 3] = [
    ("authjs.session-token", V5),
    ("__Secure-authjs.session-token", V5_SECURE),
    ("next-auth.session-token", V4),
];

fn provider(secrets: &[&str], cookie: Option<&str>) -> AuthJs {
    AuthJs::new(&AuthJsProvider {
        name: "authjs".into(),
        secrets: secrets.iter().map(|secret| Secret::resolve(secret).unwrap()).collect(),
        user_claim: "sub".into(),
        cookie: cookie.map(str::to_owned),
    })
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn admit_at(provider: &AuthJs, line: &str, secure: bool, now: u64) -> Result<Option<Identity>, AuthError> {
    let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(line).unwrap())]);
    let presented = Presented { headers: &headers, query: None, secure, forwarding: None };
    let admission = provider.admit(presented, at(now))?;
    Ok(admission.map(|admission| {
        assert_eq!(admission.source, CredentialSource::Ambient);
        admission.identity
    }))
}

fn admit(provider: &AuthJs, line: &str) -> Result<Option<Identity>, AuthError> {
    admit_at(provider, line, false, NOW)
}

fn sealed() -> Result<Option<Identity>, AuthError> {
    Err(Reason::Sealed.into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A cookie of v4 with a header and claims of a test's own.
fn seal(header: &str, claims: &str) -> String {
    let key: [u8; 32] = derived(SECRET, "", "NextAuth.js Generated Encryption Key").unwrap();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let header = URL_SAFE_NO_PAD.encode(header);
    let (nonce, mut text) = ([7; 12], claims.as_bytes().to_vec());
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(header.as_bytes()),
            &mut text,
        )
        .unwrap();
    let [iv, text, tag] = [&nonce[..], &text, tag.as_ref()].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}..{iv}.{text}.{tag}")
}

fn with_claims(claims: Value) -> Result<Option<Identity>, AuthError> {
    let token = seal(r#"{"alg":"dir","enc":"A256GCM"}"#, &claims.to_string());
    admit(&provider(&[SECRET], None), &format!("next-auth.session-token={token}"))
}

#[test]
fn keys_are_derived_as_the_libraries_do() {
    for (salt, key) in [
        (
            "authjs.session-token",
            "3b3c7af24d26d8791b2f0035991970acfd8d71836620adddbacf3ca56017adbfa6f4f8780e6ed27dd2ab9032471e346192cf1ea0ae8481b87080b5152d1c61d5",
        ),
        (
            "__Secure-authjs.session-token",
            "15f48bbca69d569655942ecfe7a9075e0309c2949fd007b9602ea089a4c024b557572853dcf07daacd19765c5a0ba93c3d15c129782172b000bebc5d7c13018f",
        ),
    ] {
        let info = format!("Auth.js Generated Encryption Key ({salt})");
        assert_eq!(hex(&derived::<64>(SECRET, salt, &info).unwrap()), key);
    }
    let key: [u8; 32] = derived(SECRET, "", "NextAuth.js Generated Encryption Key").unwrap();
    assert_eq!(hex(&key), "e36250998b61f50f756e743259110012790cc43ce46ff4bcc3b3dce6b3a5502a");
    let name = "authjs.session-token";
    let key: [u8; 64] = derived(SECRET, name, &format!("Auth.js Generated Encryption Key ({name})")).unwrap();
    let kid = "oHDgmbpGLyOoKNS9dfYtfkvAGxR2Qz-Hn2aoGixseVTlPvSh2cf0EJBiZ8sNi60-l_Bwcsd2-VR1JVv48Sp6fw";
    assert_eq!(thumbprint(&key), kid);
}

#[test]
fn cookies_of_the_libraries_are_opened() {
    let auth = provider(&[SECRET], None);
    for (name, token) in COOKIES {
        let identity = admit(&auth, &format!("a=b; {name}={token}")).unwrap().unwrap();
        assert_eq!(identity.user, "42", "{name}");
        assert_eq!(identity.claims["name"], "Ann");
        assert_eq!(identity.claims["email"], "ann@example.com");
        assert_eq!(identity.expires, Some(at(END + 15)));

        let (first, rest) = token.split_at(100);
        let (second, third) = rest.split_at(100);
        let pieces = format!("{name}.2={third}; {name}.0={first}; {name}.1={second}");
        assert_eq!(admit(&auth, &pieces).unwrap().unwrap().user, "42", "{name} in pieces");
        assert_eq!(admit(&auth, &format!("{name}.0={first}; {name}.2={third}")), Err(Reason::Pieces.into()));

        assert!(admit_at(&auth, &format!("{name}={token}"), false, END + 14).is_ok());
        assert_eq!(admit_at(&auth, &format!("{name}={token}"), false, END + 15), Err(AuthError::Expired));
    }
    assert_eq!(admit(&auth, "session=1; authjs.session-token-foo=x"), Ok(None));
}

#[test]
fn a_cookie_is_good_under_its_own_name_only() {
    let auth = provider(&[SECRET], None);
    for (line, why) in [
        (format!("__Secure-authjs.session-token={V5}"), Reason::Sealed),
        (format!("authjs.session-token={V5_SECURE}"), Reason::Sealed),
        (format!("authjs.session-token={V4}"), Reason::Sealed),
        (format!("next-auth.session-token={V5}"), Reason::Sealed),
    ] {
        assert_eq!(admit(&auth, &line), Err(why.into()), "{line:.40}");
    }
    // The key of v4 does not depend on the name.
    assert!(admit(&auth, &format!("__Secure-next-auth.session-token={V4}")).is_ok());
}

#[test]
fn a_name_of_the_apps_own_may_be_of_either_library() {
    let own = provider(&[SECRET], Some("my-session"));
    assert_eq!(admit(&own, &format!("my-session={V4}")).unwrap().unwrap().user, "42");
    assert_eq!(admit(&own, &format!("next-auth.session-token={V4}")), Ok(None));
    // Under its own name, v5 derives another key.
    assert_eq!(admit(&own, &format!("my-session={V5}")), sealed());
    let same = provider(&[SECRET], Some("authjs.session-token"));
    assert_eq!(admit(&same, &format!("authjs.session-token={V5}")).unwrap().unwrap().user, "42");
}

#[test]
fn the_names_of_https_go_first_over_tls() {
    let auth = provider(&[SECRET], None);
    let planted = "authjs.session-token=planted";
    let secure = format!("{planted}; __Secure-authjs.session-token={V5_SECURE}");
    assert!(admit_at(&auth, &secure, true, NOW).is_ok());
    assert_eq!(admit_at(&auth, &secure, false, NOW), Err(Reason::Malformed.into()));
    // A bad one is not passed over for a good one of another name.
    let spoilt =
        format!("__Secure-authjs.session-token=x; authjs.session-token={V5}; next-auth.session-token={V4}");
    assert_eq!(admit_at(&auth, &spoilt, true, NOW), Err(Reason::Malformed.into()));
    assert!(admit_at(&auth, &spoilt, false, NOW).is_ok());
    // What is only there under the other name is taken, over TLS and without.
    assert!(admit_at(&auth, &format!("authjs.session-token={V5}"), true, NOW).is_ok());
    assert!(admit_at(&auth, &format!("__Secure-authjs.session-token={V5_SECURE}"), false, NOW).is_ok());
}

#[test]
fn old_secrets_are_good_while_they_are_listed() {
    for (name, token) in COOKIES {
        let line = format!("{name}={token}");
        for secrets in [&[SECRET][..], &["new", SECRET], &["newest", "new", SECRET, "old"]] {
            assert!(admit(&provider(secrets, None), &line).is_ok(), "{name} {secrets:?}");
        }
        assert_eq!(admit(&provider(&["new"], None), &line), sealed());
    }
}

#[test]
fn a_header_decides_nothing() {
    let line =
        |header: &str| format!("next-auth.session-token={}", seal(header, r#"{"sub":"1","exp":1900000000}"#));
    let auth = provider(&[SECRET], None);
    assert!(admit(&auth, &line(r#"{"alg":"dir","enc":"A256GCM"}"#)).is_ok());
    for (header, why) in [
        (r#"{"alg":"none","enc":"A256GCM"}"#, Reason::Algorithm),
        (r#"{"alg":"A256KW","enc":"A256GCM"}"#, Reason::Algorithm),
        (r#"{"alg":"dir","enc":"A128GCM"}"#, Reason::Algorithm),
        (r#"{"alg":"dir","enc":"A256CBC-HS256"}"#, Reason::Algorithm),
        (r#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#, Reason::Critical),
        (r#"{"alg":"dir","enc":"A256GCM","crit":[]}"#, Reason::Critical),
        (r#"{"alg":"dir","enc":"A256CBC-HS512"}"#, Reason::Malformed),
        (r#"{"alg":"dir"}"#, Reason::Malformed),
        (r#"{"alg":"dir","enc":"A256GCM","enc":"A256GCM"}"#, Reason::Malformed),
        ("[]", Reason::Malformed),
        ("", Reason::Malformed),
    ] {
        assert_eq!(admit(&auth, &line(header)), Err(why.into()), "{header}");
    }
    let good = V4.replacen("..", ".AAAA.", 1);
    for token in
        [good.as_str(), "", "....", "a.b.c", "a..b.c", "a..b.c.d.e", &V4[..V4.len() - 1], &format!("{V4}=")]
    {
        let found = admit(&auth, &format!("next-auth.session-token={token}"));
        assert!(
            matches!(found, Err(AuthError::Invalid(Reason::Malformed | Reason::Empty))),
            "{found:?} {token}"
        );
    }
}

#[test]
fn claims_are_held_to_what_the_libraries_hold_them_to() {
    let good = json!({"sub": 42, "exp": NOW + 60, "nbf": NOW + 15, "iat": NOW + 1000});
    assert_eq!(with_claims(good).unwrap().unwrap().user, "42");
    let wrong = |name: &str| Err(Reason::Claim(name.to_owned()).into());
    for (claims, expected) in [
        (json!({"sub": "42"}), wrong("exp")),
        (json!({"sub": "42", "exp": null}), wrong("exp")),
        (json!({"sub": "42", "exp": "2099"}), wrong("exp")),
        (json!({"sub": "42", "exp": NOW - 15}), Err(AuthError::Expired)),
        (json!({"sub": "42", "exp": NOW + 60, "nbf": NOW + 16}), Err(Reason::NotYet.into())),
        (json!({"sub": "42", "exp": NOW + 60, "iat": "now"}), wrong("iat")),
        (json!({"exp": NOW + 60}), wrong("sub")),
        (json!({"sub": "a b", "exp": NOW + 60}), wrong("sub")),
        (json!({"sub": ["42"], "exp": NOW + 60}), wrong("sub")),
        (json!(["42"]), Err(Reason::Malformed.into())),
    ] {
        assert_eq!(with_claims(claims.clone()), expected, "{claims}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", provider(&[SECRET], None));
    assert!(shown.contains("authjs.session-token") && !shown.contains(SECRET), "{shown}");
}

proptest! {
    #[test]
    fn one_changed_character_spoils_a_cookie(which in 0..3_usize, place in 0..1000_usize, to in "[A-Za-z0-9_.-]") {
        let (name, token) = COOKIES[which];
        let place = place % token.len();
        let mut changed = token.to_owned();
        changed.replace_range(place..=place, &to);
        let admitted = admit(&provider(&[SECRET], None), &format!("{name}={changed}"));
        prop_assert_eq!(admitted.is_ok(), changed == token);
    }

    #[test]
    fn any_text_is_refused_and_nothing_panics(token in "[ -:<-~]{1,60}|([A-Za-z0-9_-]{0,20}\\.){0,6}[a-z]") {
        let line = format!("authjs.session-token={token}");
        prop_assert!(admit(&provider(&[SECRET], None), &line).is_err());
    }
}
