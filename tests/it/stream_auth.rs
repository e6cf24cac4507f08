//! Who gets a stream, of what, and how everybody else is told no.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::support::tokens::{now, signed};
use crate::support::{NO_APP, SECRET, Sidestream, Subscriber, in_front_of, token};

/// A provider that looks at everything, and a stream of its own at `/strict`.
const STRICT: &str = r#"
[auth.strict]
kind = "jwt"
secret = "a secret of the tests, thirty-two bytes and more"
algorithms = ["HS256"]
issuer = "shop"
audience = ["push", "web"]
leeway = "0s"
require = { scope = "events" }
[[route]]
path = "/strict"
[route.stream]
auth = ["strict"]
"#;

fn strict() -> Value {
    json!({ "sub": "42", "iss": "shop", "aud": "push", "scope": "events", "exp": now() + 60 })
}

/// Claims with some of them changed; `null` takes one away.
fn but(changes: Value) -> Value {
    let mut claims = strict();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn signed_by(algorithm: Algorithm, secret: &str) -> String {
    encode(&Header::new(algorithm), &strict(), &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// A token that says that it needs no signature.
fn unsigned(header: &Value, signature: &str) -> String {
    use base64::Engine as _;
    let part = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(&strict()))
}

#[test]
fn a_token_may_stand_in_query_header_or_cookie() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let token = token("42");
    for (target, fields) in [
        (format!("/events?a=b&token={token}"), String::new()),
        ("/events".to_owned(), format!("Authorization: Bearer {token}\r\n")),
        ("/events".to_owned(), format!("authorization: bearer {token}\r\n")),
        ("/events".to_owned(), format!("Cookie: a=b; token={token}\r\n")),
        ("/events".to_owned(), format!("Cookie: a=b\r\nCookie: token=\"{token}\"\r\n")),
    ] {
        let subscriber = Subscriber::open(site.connect(), &target, &fields);
        assert!(subscriber.head.contains("text/event-stream"), "{}", subscriber.head);
    }
}

#[test]
fn a_page_of_another_site_opens_no_stream_with_a_cookie() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let token = token("42");
    let cookie = format!("Cookie: token={token}\r\n");
    for origin in ["https://evil.example", "null", "http://test.evil.example", "http://test:8080"] {
        let fields = format!("Origin: {origin}\r\n{cookie}");
        let response = site.connect().get("/events", &fields).response();
        assert_eq!(response.status, 403, "{origin}");
        assert_eq!(response.field("content-type"), Some("application/json"));
        assert_eq!(response.json()["error"], "forbidden");
    }
    // Of the same site, or with a credential that no browser sends unasked.
    Subscriber::open(site.connect(), "/events", &format!("Origin: http://test\r\n{cookie}"));
    Subscriber::open(site.connect(), &format!("/events?token={token}"), "Origin: https://evil.example\r\n");
    let header = format!("Origin: https://evil.example\r\nAuthorization: Bearer {token}\r\n");
    Subscriber::open(site.connect(), "/events", &header);
}

#[test]
fn a_bad_token_is_401_before_anything_of_a_stream() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", STRICT));
    let bad = [
        ("expired", signed(&but(json!({"exp": now() - 1}))), "expired"),
        ("without an end", signed(&but(json!({"exp": null}))), "exp"),
        ("an end that is no time", signed(&but(json!({"exp": "tomorrow"}))), "exp"),
        ("not valid yet", signed(&but(json!({"nbf": now() + 60}))), "not valid yet"),
        ("another algorithm", signed_by(Algorithm::HS512, SECRET), "algorithm"),
        ("another secret", signed_by(Algorithm::HS256, "another secret of thirty-two bytes"), "signature"),
        ("unsigned", unsigned(&json!({"alg": "none"}), ""), "not a JWT"),
        ("unsigned, in other letters", unsigned(&json!({"alg": "None"}), "e30"), "not a JWT"),
        ("signed with nothing", unsigned(&json!({"alg": "HS256"}), ""), "signature"),
        ("two parts", "e30.e30".to_owned(), "not a JWT"),
        ("no token at all", "%00".to_owned(), "not a JWT"),
        ("empty", String::new(), "empty"),
        ("for another audience", signed(&but(json!({"aud": "mail"}))), "aud"),
        ("for no audience", signed(&but(json!({"aud": null}))), "aud"),
        ("of another issuer", signed(&but(json!({"iss": "else"}))), "iss"),
        ("of no issuer", signed(&but(json!({"iss": null}))), "iss"),
        ("without the claim that is required", signed(&but(json!({"scope": "all"}))), "scope"),
        ("of nobody", signed(&but(json!({"sub": null}))), "sub"),
        ("of a user who is a wildcard", signed(&but(json!({"sub": "*"}))), "sub"),
        ("of a user who is another's channel", signed(&but(json!({"sub": "1,user:2"}))), "sub"),
        ("too long", "x".repeat(9000), "longer"),
    ];
    // One connection for all: a refusal is an ordinary answer, after which the connection goes on.
    let mut client = site.connect();
    for (what, token, why) in bad {
        let response =
            client.get(&format!("/strict?token={token}"), "Accept: text/event-stream\r\n").response();
        assert_eq!(response.status, 401, "{what}");
        assert_eq!(response.field("content-type"), Some("application/json"), "{what}");
        assert_eq!(response.field("www-authenticate"), Some("Bearer"), "{what}");
        assert_eq!(response.field("cache-control"), Some("no-store"), "{what}");
        assert_eq!(response.field("x-accel-buffering"), None, "{what}");
        let body = response.json();
        assert_eq!(body["error"], "unauthorized", "{what}");
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(why), "{what}: {message}");
        assert!(token.is_empty() || !response.text().contains(&token), "{what}: the token came back");
    }
    let response = client.get("/strict", "").response();
    assert_eq!((response.status, response.json()["error"].as_str()), (401, Some("unauthorized")));
    for good in [strict(), but(json!({"aud": ["mail", "web"]})), but(json!({"sub": 42}))] {
        Subscriber::open(site.connect(), &format!("/strict?token={}", signed(&good)), "");
    }
    client.get(&format!("/strict?token={}", signed(&strict())), "");
    Subscriber::opened(client);
}

#[test]
fn the_public_key_of_a_provider_is_no_secret_to_sign_with() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    std::fs::write(folder.path().join("key.pem"), key.public_key_pem()).unwrap();
    let route = "[auth.es]\nkind = \"jwt\"\npublic_key = \"file:key.pem\"\n\
                 [[route]]\npath = \"/es\"\n[route.stream]\nauth = [\"es\"]\n";
    let site = Sidestream::start_in(folder, &in_front_of(NO_APP, "", route));

    let forged = signed_by(Algorithm::HS256, &key.public_key_pem());
    let response = site.connect().get(&format!("/es?token={forged}"), "").response();
    assert_eq!(response.status, 401);
    assert!(response.text().contains("algorithm"), "{}", response.text());

    let private = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
    let good = encode(&Header::new(Algorithm::ES256), &strict(), &private).unwrap();
    Subscriber::open(site.connect(), &format!("/es?token={good}"), "");
}

#[test]
fn a_refusal_may_be_told_by_an_event() {
    let site = Sidestream::start(&in_front_of(NO_APP, "unauthorized = \"event\"\nretry = \"1s\"", ""));
    for target in ["/events", "/events?token=e30.e30.e30"] {
        let response = site.connect().get(target, "Connection: close\r\n").response();
        assert_eq!(response.status, 200);
        assert_eq!(response.field("content-type"), Some("text/event-stream"));
        assert_eq!(response.field("cache-control"), Some("no-store"));
        let expected = "event: error\nretry: 3600000\ndata: {\"error\":\"Unauthorized\",\"code\":401}\n\n";
        assert_eq!(response.text(), expected);
    }
    // What is wrong with the request and not with the credential is told by status all the same.
    let target = format!("/events?channels=secret&token={}", token("42"));
    assert_eq!(site.connect().get(&target, "").response().status, 403);
}

#[test]
fn a_channel_that_is_not_granted_is_refused_by_name() {
    let allow = r#"allow = ["news", "orders.*", "tenant.{tenant}.*", "*"]"#;
    let narrow =
        "[[route]]\npath = \"/narrow\"\n[route.stream]\nauth = [\"jwt\"]\nallow = [\"news\", \"orders.*\"]\n";
    let site = Sidestream::start(&in_front_of(NO_APP, allow, narrow));
    let token = token("42");
    let mut client = site.connect();
    let mut refused = |route: &str, asked: &str, status, names: &str| {
        let response = client.get(&format!("{route}?channels={asked}&token={token}"), "").response();
        assert_eq!(response.status, status, "{asked:.80}");
        assert_eq!(response.field("content-type"), Some("application/json"), "{asked:.80}");
        let message = response.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(names), "{asked:.80}: {message}");
    };
    for (route, asked, names) in [
        ("/narrow", "secret", "secret"),
        ("/narrow", "news,secret", "secret"),
        ("/narrow", "newsx", "newsx"),
        ("/narrow", "orders", "orders"),
        // A user's channel is never had by asking, not even one's own and not under a wildcard.
        ("/events", "user:43", "user:43"),
        ("/events", "user:42", "user:42"),
        ("/events", "user%3A43", "user:43"),
        ("/events", "news,user:43", "user:43"),
    ] {
        refused(route, asked, 403, names);
    }
    let many: Vec<_> = (0..10_000).map(|n| n.to_string()).collect();
    for (asked, why) in [
        ("", "must not be empty"),
        ("news,", "must not be empty"),
        ("news,,all", "must not be empty"),
        ("a%20b", "must not hold"),
        ("*", "must not hold"),
        ("a%0Ab", "must not hold"),
        ("%C3%BC", "must not hold"),
        (&"x".repeat(201), "longer than 200"),
        (&many.join(","), "at most 100"),
    ] {
        refused("/events", asked, 400, why);
    }
    for (route, asked) in [("/narrow", "news"), ("/narrow", "orders.7,news,all"), ("/events", "tenant.x.y")] {
        Subscriber::open(site.connect(), &format!("{route}?channels={asked}&token={token}"), "");
    }
}

#[test]
fn a_claim_that_a_channel_needs_must_be_there() {
    let route =
        "[[route]]\npath = \"/tenant\"\n[route.stream]\nauth = [\"jwt\"]\nchannels = [\"tenant.{tenant}\"]\n";
    let site = Sidestream::start(&in_front_of(NO_APP, "", route));
    let open = |claims: Value| {
        let mut client = site.connect();
        client.get(&format!("/tenant?token={}", signed(&claims)), "");
        client
    };
    for tenant in [Value::Null, json!("a:b"), json!("*"), json!("a,b"), json!(["a"])] {
        let claims = json!({"sub": "42", "exp": now() + 60, "tenant": tenant});
        let response = open(claims).response();
        assert_eq!(response.status, 403, "{tenant}");
        assert!(response.text().contains("tenant.{tenant}"), "{}", response.text());
    }
    Subscriber::opened(open(json!({"sub": "42", "exp": now() + 60, "tenant": "acme"})));
}

#[test]
fn a_route_may_be_open_to_anybody_by_choice() {
    let route = "[[route]]\npath = \"/public\"\n[route.stream]\nauth = []\n";
    let site = Sidestream::start(&in_front_of(NO_APP, "", route));
    Subscriber::open(site.connect(), "/public", "");
    // A token of whatever kind is not looked at.
    Subscriber::open(site.connect(), "/public?token=nonsense", "Origin: https://elsewhere.example\r\n");
    assert_eq!(site.connect().get("/public?channels=user:42", "").response().status, 403);
}

#[test]
fn a_stream_is_read_by_get_and_has_no_body() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let target = format!("/events?token={}", token("42"));
    for method in ["HEAD", "PUT", "DELETE", "PATCH", "POST"] {
        let mut client = site.connect();
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"));
        let response = client.response_to(method);
        assert_eq!((response.status, response.field("allow")), (405, Some("GET, POST")), "{method}");
    }
    let mut client = site.connect();
    client.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc"));
    assert_eq!(client.response().status, 405);
    for body in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
        let mut client = site.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n{body}"));
        let response = client.response();
        assert_eq!(
            (response.status, response.json()["error"].as_str()),
            (400, Some("bad_request")),
            "{body:?}"
        );
        assert_eq!(response.field("content-type"), Some("application/json"));
    }
    // No body at all is no body.
    let mut client = site.connect();
    client.get(&target, "Content-Length: 0\r\n");
    Subscriber::opened(client);
    // Paths of streams are exact.
    assert_eq!(site.connect().get("/events/", "").response().status, 502);
}
