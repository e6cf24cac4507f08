//! Bodies in chunks: taken apart and put together anew, so that nothing of the client's framing reaches the app.

use std::time::Duration;

use crate::support::{Backend, Site};

const HEAD: &str = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn chunks_that_are_none_break_the_request_off_on_both_sides() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for chunks in [
        "zz\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        " 5\r\nhello\r\n",
        "\r\nhello\r\n",
        ";a=b\r\nhello\r\n",
        "5\nhello\r\n",
        "5;a\nhello\r\n",
        "5\r\nhello!\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "ffffffffffffffff1\r\nhello\r\n",
        "10000000000000000\r\nhello\r\n",
        "1\r\na\r\n5 5\r\nhello\r\n",
        "0\r\nX: y\nZ\r\n\r\n",
        "0\r\n: y\r\n\r\n",
    ] {
        let mut client = site.connect();
        client.send(format!("{HEAD}4\r\ngood\r\n"));
        let mut app = backend.accept();
        app.until("good\r\n");
        client.send(format!("{chunks}0\r\n\r\n"));
        let seen = String::from_utf8(app.rest()).unwrap();
        assert!(!seen.contains("0\r\n\r\n"), "{chunks:?}: the app took it for whole: {seen:?}");
        let response = client.response();
        assert_eq!(response.status, 400, "{chunks:?}");
        client.closed();
    }
}

#[test]
fn extensions_and_leading_zeros_stay_here() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send(format!("{HEAD}005;a=b;c=\"d e\"\r\nhello\r\n00A ;x\r\n, and more\r\n000;last\r\n\r\n"));
    let mut app = backend.accept();
    app.head();
    let seen = app.until("\r\n0\r\n\r\n");
    assert!(!seen.contains(';'), "{seen:?}");
    assert!(seen.contains("hello") && seen.contains(", and more"), "{seen:?}");
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn extensions_and_trailers_without_end_are_refused() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream("response_timeout = \"30s\"").start();
    let trailers: String = (0..5000).map(|n| format!("X-{n}: y\r\n")).collect();
    for chunks in [
        format!("1;{}\r\na\r\n", "x".repeat(1 << 20)),
        format!("1;{}\r\na\r\n", "x".repeat(100)).repeat(1000),
        format!("0\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)),
        format!("0\r\n{trailers}\r\n"),
    ] {
        let mut client = site.connect();
        client.send(format!("{HEAD}4\r\ngood\r\n"));
        let mut app = backend.accept();
        app.until("good\r\n");
        // It may be cut off before it has said all.
        let _ = client.try_send(chunks);
        app.rest();
        assert!(String::from_utf8(client.rest()).unwrap().starts_with("HTTP/1.1 400 "));
    }
}

#[test]
fn what_follows_the_last_chunk_is_the_next_request() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send(format!("{HEAD}2\r\nhi\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: test\r\n\r\n"));
    let mut app = backend.accept();
    app.head();
    assert_eq!(app.chunks(), b"hi");
    assert!(app.is_silent_for(Duration::from_millis(5)), "the next request came before its turn");
    app.answer("one");
    assert_eq!(client.response().text(), "one");
    assert!(app.head().starts_with("GET /next "));
    app.answer("two");
    assert_eq!(client.response().text(), "two");
}

#[test]
fn an_early_answer_does_not_make_a_request_of_what_is_left_of_the_body() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let left = "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n";
    for app_closes in [false, true] {
        let mut client = site.connect();
        client.send(format!(
            "POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\nfirst",
            5 + left.len()
        ));
        let mut app = backend.accept();
        app.until("first");
        app.answer("no, thanks");
        if app_closes {
            drop(app);
            assert_eq!(client.response().text(), "no, thanks");
            // The rest is taken or the connection is closed, but it is not answered.
            let _ = client.try_send(left);
            client.finish();
            client.closed();
        } else {
            assert_eq!(client.response().text(), "no, thanks");
            client.send(left);
            app.until(left);
            // Nor does an app that takes it for one answer anybody: nobody else's request goes there.
            app.closed();
            client.get("/next", "");
            let mut app = backend.accept();
            assert!(app.head().starts_with("GET /next "));
            app.answer("next");
            assert_eq!(client.response().text(), "next");
        }
        assert!(backend.is_left_alone());
    }
}
