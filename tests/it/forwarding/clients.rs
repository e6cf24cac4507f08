//! Who the app is told the client is.

use super::fields;
use crate::support::{App, Client, Sidestream, Site};

/// What a client could say of itself, if it were believed.
const CLAIMS: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7, 8.8.8.8\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 666\r\nX-Forwarded-Prefix: /admin\r\n\
    X-Forwarded-Anything: evil\r\nForwarded: for=6.6.6.6;proto=https\r\nX-Real-IP: 6.6.6.6\r\n\
    X-Client-IP: 6.6.6.6\r\nX-Original-URL: /admin\r\nX-Request-ID: evil\r\n";

/// What the app was told of the client, without the name of the request.
fn told(client: &mut Client, claims: &str) -> Vec<String> {
    let mut told = fields(&client.get("/", claims).response().text());
    let ids: Vec<_> = told.iter().filter_map(|field| field.strip_prefix("x-request-id: ")).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    told.retain(|field| !field.starts_with("x-request-id: "));
    told
}

#[test]
fn nobody_is_believed_unless_they_are_trusted() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).server("trusted_proxies = [\"10.0.0.0/8\", \"unix\"]").start();
    for claims in ["", CLAIMS] {
        let expected = [
            "host: test",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: test",
            "x-forwarded-port: 80",
            "x-forwarded-proto: http",
            "x-real-ip: 127.0.0.1",
        ];
        assert_eq!(told(&mut site.connect(), claims), expected, "{claims}");
    }
}

#[test]
fn a_trusted_proxy_is_believed_and_completed() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).server("trusted_proxies = [\"127.0.0.0/8\"]").start();
    let head = site.connect().get("/", CLAIMS).response().text();
    let expected = [
        "forwarded: for=6.6.6.6;proto=https",
        "host: test",
        "x-client-ip: 6.6.6.6",
        "x-forwarded-anything: evil",
        "x-forwarded-for: 6.6.6.6, 7.7.7.7, 8.8.8.8, 127.0.0.1",
        "x-forwarded-host: evil.example",
        "x-forwarded-port: 666",
        "x-forwarded-prefix: /admin",
        "x-forwarded-proto: https",
        "x-original-url: /admin",
        "x-real-ip: 6.6.6.6",
        "x-request-id: evil",
    ];
    assert_eq!(fields(&head), expected);

    let expected = [
        "host: test",
        "x-forwarded-for: 1.2.3.4, 127.0.0.1",
        "x-forwarded-host: test",
        "x-forwarded-port: 80",
        "x-forwarded-proto: http",
        "x-real-ip: 127.0.0.1",
    ];
    assert_eq!(told(&mut site.connect(), "X-Forwarded-For: 1.2.3.4\r\n"), expected);
}

#[test]
fn peers_on_a_unix_socket_are_trusted_by_name_only() {
    let app = App::that_echoes();
    let start = |trusted: &str| -> Sidestream {
        let listener = "[[listen]]\naddress = \"unix:site.sock\"\n";
        Site::before(app.origin()).server(&format!("trusted_proxies = [{trusted}]")).more(listener).start()
    };
    for (trusted, chain, proto) in [
        ("\"0.0.0.0/0\"", "127.0.0.1", "http"),
        ("\"unix\"", "6.6.6.6, 7.7.7.7, 8.8.8.8, 127.0.0.1", "https"),
    ] {
        let site = start(trusted);
        let head = Client::connect(site.address_of(1)).get("/", CLAIMS).response().text();
        let fields = fields(&head);
        assert!(fields.contains(&format!("x-forwarded-for: {chain}")), "{trusted}: {head}");
        assert!(fields.contains(&format!("x-forwarded-proto: {proto}")), "{trusted}: {head}");
    }
}

#[test]
fn every_request_has_a_name_of_its_own() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    let mut client = site.connect();
    let mut ids = std::collections::HashSet::new();
    for _ in 0..20 {
        let head = client.get("/", "").response().text();
        let id = crate::support::client::field(&head, "x-request-id").unwrap().to_owned();
        assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert!(ids.insert(id));
    }
}
