//! Requests with bodies: framed once, never ended before their end, and no more of them than was said.

use std::time::Duration;

use crate::support::client::field;
use crate::support::{Backend, Site};

#[test]
fn a_small_body_goes_with_its_head() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    for (framed, sent) in [
        ("Content-Length: 5\r\n\r\nhello", "\r\n\r\nhello"),
        ("Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", "\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ] {
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framed}"));
        let mut app = backend.accept();
        let head = app.until(sent);
        let framings = ["content-length", "transfer-encoding"].map(|name| field(&head, name).is_some());
        assert_eq!(framings.iter().filter(|is_there| **is_there).count(), 1, "{head}");
        app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.response().text(), "ok");
    }
}

#[test]
fn an_app_that_answers_early_and_closes_is_heard() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream("max_body = \"64MiB\"").start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 32000000\r\n\r\npart");
    let mut app = backend.accept();
    app.until("part");
    app.send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
    drop(app);
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
    // The half of a request must not be taken for one that may be followed by another.
    let mut other = site.connect();
    other.get("/other", "");
    assert!(backend.accept().head().starts_with("GET /other "));
}

#[test]
fn an_app_that_answers_early_may_read_on_after_its_answer() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    let mut app = backend.accept();
    app.until("one");
    app.answer("taken");
    assert_eq!(client.response().text(), "taken");
    client.send("3\r\ntwo\r\n");
    app.until("two");
    // Nobody else gets it meanwhile.
    let mut other = site.connect();
    other.get("/other", "");
    let mut second = backend.accept();
    assert!(second.head().starts_with("GET /other "));
    second.answer("other");
    assert_eq!(other.response().text(), "other");
    client.send("0\r\n\r\n");
    app.until("0\r\n\r\n");
    // Nor afterwards: who knows what the app took the rest of the body for.
    app.closed();
    other.get("/next", "");
    assert!(second.head().starts_with("GET /next "));
    second.answer("next");
    assert_eq!(other.response().text(), "next");
}

#[test]
fn a_client_that_goes_away_within_an_upload_that_is_being_answered_takes_it_along() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    let mut app = backend.accept();
    app.until("one");
    app.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nONE\r\n");
    client.until("ONE");
    drop(client);
    assert!(!String::from_utf8(app.rest()).unwrap().contains("0\r\n\r\n"));
    site.becomes("connections", 0);
}

#[test]
fn an_upload_that_grows_too_large_while_it_is_answered_ends_the_answer() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream("max_body = \"8KiB\"").start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    let mut app = backend.accept();
    app.until("one");
    app.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nONE\r\n");
    client.until("ONE");
    client.send(format!("4000\r\n{}\r\n", "x".repeat(0x4000)));
    assert!(!String::from_utf8(client.rest()).unwrap().contains("0\r\n\r\n"));
    assert!(!String::from_utf8(app.rest()).unwrap().contains("0\r\n\r\n"));
}

#[test]
fn an_app_that_does_not_take_the_body_is_given_up() {
    let backend = Backend::start();
    let site =
        Site::before(backend.origin()).upstream("max_body = \"1GiB\"\nresponse_timeout = \"2s\"").start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 64000000\r\n\r\n");
    let mut app = backend.accept();
    app.head();
    let mut sending = site.connect();
    // Others are served meanwhile.
    sending.get("/other", "");
    let mut second = backend.accept();
    second.head();
    second.answer("ok");
    assert_eq!(sending.response().text(), "ok");
    let piece = vec![b'x'; 1 << 20];
    while client.try_send(&piece).is_ok() && client.is_silent_for(Duration::from_millis(1)) {}
    assert!(client.head().starts_with("HTTP/1.1 504 "));
    drop(app);
}
