//! Heads that two readers could read in two ways. Each is refused, or reaches the app in one form only.

use std::time::Duration;

use crate::support::client::field;
use crate::support::{Backend, Site};

/// What follows each request: it must never be answered, and never reach the app.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn framing_that_is_doubtful_is_refused_and_the_connection_with_it() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for (fields, statuses) in [
        ("Transfer-Encoding: gzip, chunked\r\n", [501, 501]),
        ("Transfer-Encoding: chunked, chunked\r\n", [501, 501]),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", [501, 501]),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", [501, 501]),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", [400, 501]),
        ("Transfer-Encoding: chunked;q=1\r\n", [400, 501]),
        ("Transfer-Encoding: xchunked\r\n", [400, 501]),
        ("Transfer-Encoding: \"chunked\"\r\n", [400, 501]),
        ("Transfer-Encoding: \x0bchunked\r\n", [400, 501]),
        ("Transfer-Encoding:\r\n", [400, 501]),
        ("Transfer-Encoding: identity\r\nContent-Length: 0\r\n", [400, 501]),
        ("Transfer-Encoding : chunked\r\n", [400, 400]),
        (" Transfer-Encoding: chunked\r\n", [400, 400]),
        ("X: y\r\n Transfer-Encoding: chunked\r\n", [400, 400]),
        ("X: y\rTransfer-Encoding: chunked\r\n", [400, 400]),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", [400, 400]),
        ("Content-Length: 5, 6\r\n", [400, 400]),
        ("Content-Length: 5, 5\r\n", [400, 400]),
        ("Content-Length: +5\r\n", [400, 400]),
        ("Content-Length: -0\r\n", [400, 400]),
        ("Content-Length: 0x5\r\n", [400, 400]),
        ("Content-Length: 5 5\r\n", [400, 400]),
        ("Content-Length: five\r\n", [400, 400]),
        ("Content-Length:\r\n", [400, 400]),
        ("Content-Length: 18446744073709551616\r\n", [400, 400]),
        ("Content-Length: 18446744073709551615\r\n", [400, 431]),
        ("Content Length: 5\r\n", [400, 400]),
        (": 5\r\n", [400, 400]),
        ("X\r\n", [400, 400]),
        ("X: a\0b\r\n", [400, 400]),
        ("X\0: b\r\n", [400, 400]),
        ("X\u{e4}: b\r\n", [400, 400]),
        ("X(y): b\r\n", [400, 400]),
    ] {
        let mut client = site.connect();
        client.send(format!("POST /doubtful HTTP/1.1\r\nHost: test\r\n{fields}\r\n0\r\n\r\n{HIDDEN}"));
        let response = client.response();
        assert!(statuses.contains(&response.status), "{fields:?}: {}", response.status);
        client.closed();
    }
    assert!(backend.is_left_alone());
}

#[test]
fn request_lines_that_are_none_are_refused() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for line in [
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / HTTP/0.9",
        "GET / http/1.1",
        "GET /a b HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "G@T / HTTP/1.1",
        " GET / HTTP/1.1",
        "\u{e4} / HTTP/1.1",
        "GET a HTTP/1.1",
        "GET /a\x01 HTTP/1.1",
        "GET /a\x7f HTTP/1.1",
        "PRI * HTTP/2.0",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03",
    ] {
        let mut client = site.connect();
        client.send(format!("{line}\r\nHost: test\r\n\r\n{HIDDEN}"));
        // Closed, with a refusal if it was HTTP at all.
        let said = String::from_utf8(client.rest()).unwrap();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{line:?}: {said}");
        assert!(said.matches("HTTP/1.1").count() <= 1, "{line:?}: {said}");
    }
    assert!(backend.is_left_alone());
}

#[test]
fn both_lengths_at_once_become_one_and_end_the_connection() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nX: y\r\ntransfer-encoding: CHUNKED\r\nContent-Length: 3\r\n",
    ] {
        let mut client = site.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n2\r\nhi\r\n0\r\n\r\n{HIDDEN}"));
        let mut app = backend.accept();
        let head = app.head();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        assert_eq!(field(&head, "content-length"), None, "{head}");
        assert_eq!(app.chunks(), b"hi");
        app.answer("ok");
        assert_eq!(client.response().text(), "ok");
        client.closed();
        assert!(app.is_silent_for(Duration::from_millis(5)), "the hidden request reached the app");
    }
}

#[test]
fn odd_but_clear_heads_reach_the_app_in_the_usual_form() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send(
        "\r\nPOST /odd HTTP/1.1\nhOST:test\nContent-Length:2\r\nContent-Length: 2\nX-Space: \t a  b \t\n\
         X-Bytes: \u{e4}\u{f6}\nX-Empty:\n\nhi",
    );
    let mut app = backend.accept();
    let head = app.head();
    assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{head:?}");
    assert!(head.starts_with("POST /odd HTTP/1.1\r\n"));
    assert_eq!(head.to_ascii_lowercase().matches("content-length: 2").count(), 1, "{head}");
    assert_eq!(field(&head, "x-space"), Some("a  b"));
    assert_eq!(field(&head, "x-bytes"), Some("\u{e4}\u{f6}"));
    assert_eq!(field(&head, "x-empty"), Some(""));
    assert_eq!(app.exactly(2), b"hi");
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_request_that_says_nothing_of_a_body_has_none() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let mut client = site.connect();
        client.send(format!(
            "POST /empty {version}\r\nHost: test\r\nConnection: keep-alive\r\n\r\n\
             GET /next HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        ));
        let mut app = backend.accept();
        let head = app.head();
        assert_eq!(field(&head, "transfer-encoding"), None);
        app.answer("one");
        assert_eq!(client.response().text(), "one");
        assert!(app.head().starts_with("GET /next "));
        app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\ntwo");
        assert_eq!(client.response().text(), "two");
    }
}

#[test]
fn http_1_0_knows_no_chunks() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send(format!("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"));
    assert_eq!(client.response().status, 400);
    client.closed();
    assert!(backend.is_left_alone());
}
