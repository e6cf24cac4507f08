//! Clients that speak HTTP/1.0, such as health checks and `ab`: no chunks, no 100, and an end that is a close.

use std::time::Duration;

use crate::support::client::field;
use crate::support::{Backend, Site};

#[test]
fn an_answer_arrives_whole_however_the_app_frames_it() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for (host, seen) in [("Host: shop.example\r\n", "shop.example"), ("", "localhost")] {
        for (answer, length) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Some("5")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", None),
            ("HTTP/1.0 200 OK\r\n\r\nhello", None),
        ] {
            let mut client = site.connect();
            client.send(format!("GET / HTTP/1.0\r\n{host}Connection: close\r\n\r\n"));
            let mut app = backend.accept();
            assert_eq!(field(&app.head(), "host"), Some(seen));
            app.send(answer);
            drop(app);
            let response = client.response();
            assert!(response.head.starts_with("HTTP/1.0 200"), "{}", response.head);
            assert_eq!(response.field("transfer-encoding"), None, "{answer:?}");
            assert_eq!(response.field("content-length"), length, "{answer:?}");
            assert_eq!(response.text(), "hello", "{answer:?}");
            client.closed();
        }
    }
}

#[test]
fn an_answer_without_a_length_ends_a_connection_that_was_to_be_kept() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let mut app = backend.accept();
    app.head();
    app.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    // Nothing else says where it ends.
    assert_eq!(field(&client.head(), "content-length"), None);
    assert_eq!(client.rest(), b"hello");
}

#[test]
fn a_piece_of_an_answer_is_passed_on_before_the_next_is_sent() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut app = backend.accept();
    app.head();
    app.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.head();
    for piece in ["one", "two"] {
        app.send(format!("3\r\n{piece}\r\n"));
        assert_eq!(client.exactly(3), piece.as_bytes());
    }
    app.send("0\r\n\r\n");
    client.closed();
}

#[test]
fn an_expectation_is_not_answered_but_the_body_is_taken() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    // RFC 9110, section 10.1.1: there is no 100 in HTTP/1.0.
    client.send("POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert!(client.is_silent_for(Duration::from_millis(20)), "it was told to go on");
    client.send("hello");
    let mut app = backend.accept();
    let (head, body) = app.request();
    assert_eq!((field(&head, "expect"), body.as_slice()), (None, &b"hello"[..]));
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}
