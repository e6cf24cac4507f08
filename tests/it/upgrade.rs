//! WebSockets: the connection is the app's and the client's alone, once the app has said so and not before.

mod failures;

use std::time::Duration;

use crate::support::client::field;
use crate::support::{App, Backend, Client, Sidestream, Site, at_some_pace, tls};

const FIELDS: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

/// A tunnel, open: its client's end and its app's.
fn open(site: &Sidestream, backend: &Backend) -> (Client, Client) {
    let mut client = site.connect();
    client.get("/ws", FIELDS);
    let mut app = backend.accept();
    app.head();
    app.send(SWITCH);
    client.head();
    (client, app)
}

#[test]
fn the_handshake_reaches_the_app_and_its_answer_the_client() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/ws?a=1", &format!("{FIELDS}Sec-WebSocket-Protocol: chat\r\nCookie: a=b\r\n"));
    let mut app = backend.accept();
    let head = app.head();
    assert!(head.starts_with("GET /ws?a=1 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(field(&head, name), Some(value), "{head}");
    }
    app.send(SWITCH);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "chat"),
    ] {
        assert_eq!(field(&head, name), Some(value), "{head}");
    }
    assert!(
        field(&head, "content-length").is_none() && field(&head, "transfer-encoding").is_none(),
        "{head}"
    );
}

#[test]
fn bytes_pass_both_ways_as_they_are() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let (mut client, mut app) = open(&site, &backend);
    for round in 0..3 {
        client.send(format!("\x01\x05ping{round}GET / HTTP/1.1\r\n\r\n"));
        app.until(format!("\x01\x05ping{round}GET / HTTP/1.1\r\n\r\n"));
        app.send(format!("\x01\x05pong{round}HTTP/1.1 200 OK\r\n\r\n"));
        client.until(format!("\x01\x05pong{round}HTTP/1.1 200 OK\r\n\r\n"));
    }
    drop(app);
    client.closed();
    drop(client);
    site.becomes("connections", 0);
    let (client, mut app) = open(&site, &backend);
    drop(client);
    app.closed();
    drop(app);
    site.becomes("connections", 0);
}

#[test]
fn each_side_may_finish_before_the_other() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let (mut client, mut app) = open(&site, &backend);
    client.send("last words");
    client.finish();
    assert_eq!(app.rest(), b"last words");
    app.send("and the answer");
    drop(app);
    assert_eq!(client.rest(), b"and the answer");
    site.becomes("connections", 0);
}

#[test]
fn bytes_that_come_early_are_kept_for_the_right_moment() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    // A client that does not wait for the answer, and an app that does not either.
    client.send(format!("GET /ws HTTP/1.1\r\nHost: test\r\n{FIELDS}\r\nearly"));
    let mut app = backend.accept();
    app.head();
    assert!(app.is_silent_for(Duration::from_millis(20)), "the app had not agreed yet");
    app.send(format!("{SWITCH}eager"));
    client.head();
    assert_eq!(client.exactly(5), b"eager");
    assert_eq!(app.exactly(5), b"early");
    client.send(" and late");
    app.until(" and late");
}

#[test]
fn much_passes_in_both_directions_at_once() {
    let app = App::start(|mut client| {
        if client.try_head().is_some() {
            client.send(SWITCH);
            for _ in 0..256 {
                let piece = client.exactly(16 << 10);
                client.send(piece);
            }
        }
    });
    let site = Site::before(app.origin()).start();
    let mut client = site.connect();
    client.get("/ws", FIELDS).head();
    let piece: Vec<u8> = (0..16 << 10).map(|n: u32| n.to_be_bytes()[3]).collect();
    // Some in advance, so that both directions are busy.
    for _ in 0..8 {
        client.send(&piece);
    }
    for _ in 8..256 {
        client.send(&piece);
        assert_eq!(client.exactly(piece.len()), piece);
    }
    for _ in 0..8 {
        assert_eq!(client.exactly(piece.len()), piece);
    }
    client.closed();
}

#[test]
fn an_app_that_declines_answers_in_http_and_the_connection_goes_on() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send(format!(
        "GET /ws HTTP/1.1\r\nHost: test\r\n{FIELDS}\r\nGET /next HTTP/1.1\r\nHost: test\r\n\r\n"
    ));
    let mut app = backend.accept();
    app.head();
    app.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
    let head = app.head();
    assert!(head.starts_with("GET /next "), "{head}");
    assert_eq!(field(&head, "upgrade"), None);
    app.answer("next");
    assert_eq!(client.response().text(), "next");
    // Even one that says it agrees, in the wrong words.
    client.get("/ws", FIELDS);
    app.head();
    app.send("HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok");
    let response = client.response();
    assert_eq!((response.status, response.field("upgrade")), (200, None));
    client.get("/last", "");
    assert!(app.head().starts_with("GET /last "));
}

#[test]
fn what_is_no_websocket_handshake_is_an_ordinary_request() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    let without = |name: &str| -> String {
        FIELDS.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect()
    };
    for (line, fields) in [
        ("GET /ws HTTP/1.1", without("Connection")),
        ("GET /ws HTTP/1.1", without("Upgrade")),
        ("GET /ws HTTP/1.1", without("Sec-WebSocket-Key")),
        ("GET /ws HTTP/1.1", without("Sec-WebSocket-Version")),
        ("GET /ws HTTP/1.1", FIELDS.replace("websocket", "h2c")),
        ("GET /ws HTTP/1.1", FIELDS.replace("websocket", "TLS/1.0")),
        ("GET /ws HTTP/1.1", FIELDS.replace("websocket", "websocket, h2c")),
        ("GET /ws HTTP/1.1", format!("{FIELDS}Upgrade: h2c\r\n")),
        ("GET /ws HTTP/1.1", format!("{FIELDS}Content-Length: 0\r\n").replace("websocket", "h2c")),
        ("POST /ws HTTP/1.1", FIELDS.to_owned()),
        ("GET /ws HTTP/1.0", FIELDS.to_owned()),
    ] {
        let mut client = site.connect();
        let head = client.send(format!("{line}\r\nHost: test\r\n{fields}\r\n")).response().text();
        assert!(head.contains("/ws HTTP/1.1\r\n"), "{line} {fields}: {head}");
        assert_eq!(field(&head, "upgrade"), None, "{line} {fields}");
        assert_eq!(field(&head, "connection"), None, "{line} {fields}");
    }
}

#[test]
fn a_handshake_with_a_body_is_an_ordinary_request_too() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for framed in ["Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"] {
        let mut client = site.connect();
        client.send(format!("GET /ws HTTP/1.1\r\nHost: test\r\n{FIELDS}{framed}"));
        let mut app = backend.accept();
        let (head, body) = app.request();
        assert_eq!((field(&head, "upgrade"), field(&head, "connection")), (None, None), "{head}");
        assert_eq!(body, b"hi");
        app.send(SWITCH);
        assert_eq!(client.response().status, 502);
    }
}

#[test]
fn a_quiet_tunnel_stays_whatever_the_deadlines_for_requests_are() {
    at_some_pace(|pace| {
        let backend = Backend::start();
        let site = Site::before(backend.origin())
        .listen(&pace.of(
            "idle_timeout = \"20ms\"\nheader_timeout = \"20ms\"\nbody_stall = \"20ms\"\nwrite_stall = \"20ms\"",
        ))
        .upstream(&pace.of("response_timeout = \"20ms\"\nread_timeout = \"20ms\""))
        .start();
        let (mut client, mut app) = open(&site, &backend);
        assert!(client.is_silent_for(pace.ms(120)));
        client.send("still here");
        app.until("still here");
        app.send("me too");
        client.until("me too");
    });
}

#[test]
fn it_works_under_tls() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).tls(&[&["test"]]).start();
    let mut client = tls::connect(site.address(), "test");
    client.send(format!("GET /ws HTTP/1.1\r\nHost: test\r\n{FIELDS}\r\nearly"));
    let mut app = backend.accept();
    let head = app.head();
    assert_eq!(field(&head, "x-forwarded-proto"), Some("https"));
    app.send(format!("{SWITCH}eager"));
    client.head();
    client.until("eager");
    app.until("early");
    app.send("x".repeat(100_000));
    assert_eq!(client.exactly(100_000), [b'x'; 100_000]);
    client.send("y".repeat(100_000));
    assert_eq!(app.exactly(100_000), [b'y'; 100_000]);
    drop(app);
    client.closed();
}

#[test]
fn tunnels_end_when_the_server_drains() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let (mut client, mut app) = open(&site, &backend);
    site.drain();
    client.closed();
    app.closed();
}
