//! Tokens checked by key sets that are fetched, and tokens as SimpleJWT makes them.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};

use crate::support::settings::Settings;
use crate::support::tokens::{now, signed};
use crate::support::{App, NO_APP, SECRET, Sidestream, Site, Subscriber};

/// Somebody who signs by a key of P-256.
struct Signer {
    id: &'static str,
    pair: KeyPair,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        Self { id, pair: KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    /// The public key, as it stands in a set.
    fn jwk(&self) -> Value {
        let point = self.pair.der_bytes();
        let [x, y] = [&point[1..33], &point[33..65]].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.id, "use": "sig", "alg": "ES256"})
    }

    fn token(&self) -> String {
        self.token_with(Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) })
    }

    fn token_with(&self, header: Header) -> String {
        let key = EncodingKey::from_ec_pem(self.pair.serialize_pem().as_bytes()).unwrap();
        encode(&header, &json!({"sub": "42", "exp": now() + 60}), &key).unwrap()
    }
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A site in front of an app, with a stream at `/keys` for tokens by a set.
fn site(app: &App, jwks: &str) -> Sidestream {
    let more = format!(
        "[auth.set]\nkind = \"jwt\"\njwks = \"{jwks}\"\n\
         [[route]]\npath = \"/keys\"\n[route.stream]\nauth = [\"set\"]\nreplay = \"none\"\n"
    );
    Settings { more: &more, ..Settings::default() }.before(app)
}

fn refused(site: &Sidestream, token: &str, status: u16, why: &str) {
    let response = site.connect().get(&format!("/keys?token={token}"), "").response();
    assert_eq!(response.status, status, "{why}");
    assert!(response.text().contains(why), "{why}: {}", response.text());
}

fn opens(site: &Sidestream, token: &str) {
    Subscriber::open(site.connect(), &format!("/keys?token={token}"), "");
}

#[test]
fn a_set_may_be_fetched_from_a_url_or_through_an_upstream() {
    let signer = Signer::new("a");
    let app = App::that_says(answer(&set(&[signer.jwk()])));
    for jwks in [format!("{}/keys.json", app.origin()), "upstream:app/keys.json".to_owned()] {
        let site = site(&app, &jwks);
        let before = app.connections();
        for _ in 0..3 {
            opens(&site, &signer.token());
        }
        // Without an id there is only one that it can be.
        opens(&site, &signer.token_with(Header::new(Algorithm::ES256)));
        assert!(app.connections() <= before + 1, "asked for each token");
    }
}

#[test]
fn a_token_decides_nothing_about_its_key() {
    let signer = Signer::new("a");
    let app = App::that_says(answer(&set(&[
        signer.jwk(),
        json!({"kty": "oct", "kid": "s", "k": URL_SAFE_NO_PAD.encode(SECRET)}),
    ])));
    let site = site(&app, &format!("{}/keys.json", app.origin()));
    opens(&site, &signer.token());
    let asked = app.connections();

    let shared = |kid: &str, secret: &[u8]| {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
        encode(&header, &json!({"sub": "42", "exp": now() + 60}), &EncodingKey::from_secret(secret)).unwrap()
    };
    refused(&site, &shared("s", SECRET.as_bytes()), 401, "algorithm");
    refused(&site, &shared("a", signer.pair.public_key_pem().as_bytes()), 401, "algorithm");
    refused(&site, &shared("a", &signer.pair.der_bytes()[1..]), 401, "algorithm");

    // Somebody else's key, wherever the token says that it is.
    let forger = Signer::new("a");
    let evil = App::that_says(answer(&set(&[forger.jwk()])));
    let mut header = Header { kid: Some("a".to_owned()), ..Header::new(Algorithm::ES256) };
    refused(&site, &forger.token_with(header.clone()), 401, "signature");
    header.jku = Some(format!("{}/keys.json", evil.origin()));
    header.x5u = header.jku.clone();
    header.jwk = serde_json::from_value(forger.jwk()).unwrap();
    refused(&site, &forger.token_with(header.clone()), 401, "signature");
    header.kid = Some("elsewhere".to_owned());
    refused(&site, &forger.token_with(header), 401, "key is not one");
    assert_eq!((evil.connections(), app.connections()), (0, asked));
}

#[test]
fn a_source_that_gives_no_set_lets_nobody_in() {
    let signer = Signer::new("a");
    for said in [
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n".to_owned(),
        answer("{\"keys\": []}"),
        answer(&format!("{{\"keys\": [\"{}\"]}}", "x".repeat(300_000))),
    ] {
        let app = App::that_says(said);
        let site = site(&app, "upstream:app/keys.json");
        let response = site.connect().get(&format!("/keys?token={}", signer.token()), "").response();
        assert_eq!((response.status, response.field("retry-after")), (502, Some("2")));
        // Others are not concerned.
        Subscriber::of(site.connect(), "42");
    }
}

#[test]
fn a_source_that_was_down_at_the_start_is_tried_again() {
    let signer = Signer::new("a");
    let said = Arc::new(Mutex::new("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n".to_owned()));
    let says = said.clone();
    let app = App::start(move |mut client| {
        while client.try_head().is_some() {
            let answer = says.lock().unwrap().clone();
            if client.try_send(answer).is_err() {
                return;
            }
        }
    });
    let site = site(&app, "upstream:app/keys.json");
    let target = format!("/keys?token={}", signer.token());
    assert_eq!(site.connect().get(&target, "").response().status, 502);
    *said.lock().unwrap() = answer(&set(&[signer.jwk()]));
    let is_open = || site.connect().get(&target, "").head().starts_with("HTTP/1.1 200");
    site.comes_true(|| "the set is there".to_owned(), is_open);
}

#[test]
fn a_set_may_be_a_file() {
    let signer = Signer::new("a");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.json"), set(&[signer.jwk()])).unwrap();
    let more = "[auth.set]\nkind = \"jwt\"\njwks = \"file:keys.json\"\n\
                [[route]]\npath = \"/keys\"\n[route.stream]\nauth = [\"set\"]\n";
    let text = Settings { more, ..Settings::default() }.text(&[NO_APP]);
    let site = Sidestream::start_in(folder, &text);
    opens(&site, &signer.token());
}

#[test]
fn a_source_whose_certificate_nobody_vouches_for_is_none() {
    let signer = Signer::new("a");
    let app = App::that_says(answer(&set(&[signer.jwk()])));
    let source = Site::before(app.origin()).tls(&[&["localhost"]]).start();
    let (_, port) = source.address().rsplit_once(':').unwrap();
    let site = site(&app, &format!("https://localhost:{port}/keys.json"));
    refused(&site, &signer.token(), 502, "could not be found out");
    source.comes_true(|| "a handshake failed".to_owned(), || source.count("handshakes_failed") > 0);
    assert_eq!(app.connections(), 0);
}

/// What djangorestframework-simplejwt puts into its tokens.
fn simple_jwt(token_type: &str, user_id: Value) -> String {
    let claims = json!({
        "token_type": token_type, "exp": now() + 300, "iat": now(),
        "jti": "0f6f2e2d0e0c4b0f9d5f3a1b2c3d4e5f", "user_id": user_id,
    });
    signed(&claims)
}

#[test]
fn tokens_of_simplejwt_are_taken_if_they_are_for_access() {
    let more = format!(
        "[auth.simple]\nkind = \"jwt\"\nsecret = \"{SECRET}\"\nuser_claim = \"user_id\"\n\
         require = {{ token_type = \"access\" }}\n\
         [[route]]\npath = \"/keys\"\n[route.stream]\nauth = [\"simple\"]\n"
    );
    let site = Sidestream::start(&Settings { more: &more, ..Settings::default() }.text(&[NO_APP]));
    for user in [json!(42), json!("42")] {
        let target = format!("/keys?token={}", simple_jwt("access", user));
        let mut subscriber = Subscriber::open(site.connect(), &target, "");
        site.publish(r#"{"user": 42, "data": "hello"}"#);
        assert_eq!(subscriber.data(), "hello");
    }
    for kind in ["refresh", "sliding", ""] {
        refused(&site, &simple_jwt(kind, json!(42)), 401, "token_type");
    }
}
