//! Handshakes that come to nothing: whoever is left is told, and no connection is used in two ways.

use super::{FIELDS, SWITCH, open};
use crate::support::client::field;
use crate::support::{Backend, NO_APP, Site};

#[test]
fn an_app_that_goes_away_within_the_handshake_is_a_bad_gateway() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    for part in
        ["", "HTTP/1.1 101 Switching Proto", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"]
    {
        client.get("/ws", FIELDS);
        let mut app = backend.accept();
        app.head();
        app.send(part);
        drop(app);
        let response = client.response();
        assert_eq!((response.status, response.field("upgrade")), (502, None), "{part:?}");
    }
    // The connection is still one of HTTP.
    client.get("/next", "");
    let mut app = backend.accept();
    assert!(app.head().starts_with("GET /next "));
    app.answer("next");
    assert_eq!(client.response().text(), "next");
}

#[test]
fn an_app_that_is_away_is_a_bad_gateway() {
    let site = Site::before(NO_APP).start();
    assert_eq!(site.connect().get("/ws", FIELDS).response().status, 502);
}

#[test]
fn a_client_that_goes_away_within_the_handshake_takes_the_apps_connection_with_it() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/ws", FIELDS);
    let mut app = backend.accept();
    app.head();
    drop(client);
    app.closed();
    site.becomes("connections", 0);
}

#[test]
fn a_connection_that_waited_may_become_a_tunnel_and_never_comes_back() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/first", "");
    let mut app = backend.accept();
    app.head();
    app.answer("ok");
    client.response();
    client.get("/ws", FIELDS);
    assert!(app.head().starts_with("GET /ws "), "the connection is used again");
    app.send(SWITCH);
    client.head();
    // Others are served by another one, also when the tunnel has ended.
    let mut other = site.connect();
    other.get("/other", "");
    let mut second = backend.accept();
    assert!(second.head().starts_with("GET /other "));
    second.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    other.response();
    drop(client);
    app.closed();
    other.get("/last", "");
    assert!(backend.accept().head().starts_with("GET /last "));
}

#[test]
fn a_handshake_is_sent_again_if_a_waiting_connection_dies_under_it() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/first", "");
    let mut app = backend.accept();
    app.head();
    app.answer("ok");
    client.response();
    client.get("/ws", FIELDS);
    let first = app.head();
    drop(app);
    let mut app = backend.accept();
    assert_eq!(app.head(), first);
    app.send(SWITCH);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.send("ping");
    app.until("ping");
}

#[test]
fn a_tunnel_takes_one_clients_bytes_to_one_app_only() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut pairs: Vec<_> = (0..8).map(|_| open(&site, &backend)).collect();
    for (n, (client, _)) in pairs.iter_mut().enumerate() {
        client.send(format!("client {n}."));
    }
    for (n, (_, app)) in pairs.iter_mut().enumerate() {
        assert_eq!(app.exactly(9), format!("client {n}.").as_bytes());
        app.send(format!("app {n}."));
    }
    for (n, (client, _)) in pairs.iter_mut().enumerate() {
        assert_eq!(client.exactly(6), format!("app {n}.").as_bytes());
    }
}

#[test]
fn an_app_that_switches_to_something_else_is_a_bad_gateway() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for switched in
        ["Upgrade: h2c\r\nConnection: Upgrade\r\n", "Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n", ""]
    {
        let mut client = site.connect();
        client.get("/ws", FIELDS);
        let mut app = backend.accept();
        app.head();
        app.send(format!("HTTP/1.1 101 Switching Protocols\r\n{switched}\r\n"));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 502 "), "{switched:?}: {head}");
        assert_eq!(field(&head, "upgrade"), None);
        app.closed();
    }
}

#[test]
fn a_length_beside_the_switch_is_no_length_of_anything() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for framing in ["Content-Length: 5\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = site.connect();
        client.get("/ws", FIELDS);
        let mut app = backend.accept();
        app.head();
        app.send(SWITCH.replace("Sec-WebSocket-Protocol: chat\r\n", framing));
        app.send("early");
        // Some clients would take what the app says first for a body (RFC 9110, section 8.6).
        let head = client.head();
        let framings = ["content-length", "transfer-encoding"].map(|name| field(&head, name));
        assert_eq!(framings, [None, None], "{framing:?}: {head}");
        assert_eq!(client.exactly(5), b"early");
    }
}
