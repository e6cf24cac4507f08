//! Messages of every shape: versions, methods, answers without a body, expectations, trailers.

use std::time::Duration;

use crate::support::client::field;
use crate::support::{App, Backend, NO_APP, Sidestream, Site, in_front_of};

#[test]
fn a_request_reaches_the_app_and_comes_back() {
    let app = App::that_echoes();
    let site = Sidestream::start(&in_front_of(&app.origin(), "", ""));
    let mut client = site.connect();
    for _ in 0..3 {
        let response =
            client.get("/shop?a=1", "X-Forwarded-For: 6.6.6.6\r\nX_Real_IP: 6.6.6.6\r\n").response();
        assert_eq!(response.status, 200);
        let head = response.text();
        assert!(head.starts_with("GET /shop?a=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("x-forwarded-for: 127.0.0.1"), "{head}");
        assert!(!head.contains("6.6.6.6"), "{head}");
    }
    assert_eq!(app.connections(), 1, "the connection to the app is used again");
}

#[test]
fn every_method_and_target_goes_through_as_it_is() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    let mut client = site.connect();
    for request in [
        "GET / HTTP/1.1",
        "GET //a/../b/./%2e%2e/%2F;p=1?q=%00&r=a+b HTTP/1.1",
        "GET /a?b?c=/? HTTP/1.1",
        "DELETE /a HTTP/1.1",
        "OPTIONS /a HTTP/1.1",
        "PROPFIND /dav/ HTTP/1.1",
        "PATCH /a HTTP/1.1",
        "M-SEARCH /a HTTP/1.1",
    ] {
        client.send(format!("{request}\r\nHost: test\r\n\r\n"));
        let head = client.response().text();
        assert_eq!(head.lines().next(), Some(request));
    }
}

#[test]
fn http_1_0_is_spoken_to_in_its_own_way() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send("GET /old HTTP/1.0\r\n\r\n");
    let mut app = backend.accept();
    let head = app.head();
    assert!(head.starts_with("GET /old HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "host"), Some("localhost"));
    app.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let response = client.response();
    assert!(response.head.starts_with("HTTP/1.0 200"), "{}", response.head);
    assert_eq!(response.field("transfer-encoding"), None);
    assert_eq!(response.text(), "hello");
}

#[test]
fn http_1_0_may_keep_its_connection() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send("GET /1 HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n");
    let mut app = backend.accept();
    app.head();
    app.answer("one");
    let response = client.response();
    assert_eq!(response.field("connection"), Some("keep-alive"));
    assert_eq!(response.text(), "one");
    client.send("GET /2 HTTP/1.0\r\nHost: test\r\n\r\n");
    app.head();
    app.answer("two");
    assert_eq!(client.response().text(), "two");
    client.closed();
}

#[test]
fn a_client_that_says_close_is_closed_and_the_app_is_not() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/1", "Connection: close\r\n");
    let mut app = backend.accept();
    app.head();
    app.answer("one");
    let response = client.response();
    assert_eq!((response.text().as_str(), response.field("connection")), ("one", Some("close")));
    client.closed();
    // Held: a client that is gone takes its request along.
    let mut other = site.connect();
    other.get("/2", "");
    assert!(app.head().starts_with("GET /2 "));
}

#[test]
fn requests_sent_in_one_piece_are_answered_in_order() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    let mut client = site.connect();
    let requests: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: test\r\n\r\n")).collect();
    client.send(requests);
    for n in 0..20 {
        assert!(client.response().text().starts_with(&format!("GET /{n} ")));
    }
}

#[test]
fn answers_that_have_no_body_leave_both_connections_usable() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/first", "");
    let mut app = backend.accept();
    app.head();
    app.answer("ok");
    client.response();
    for (method, answer, length) in [
        ("HEAD", "200 OK\r\nContent-Length: 123456", Some("123456")),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked", None),
        ("HEAD", "404 Not Found\r\nContent-Length: 7", Some("7")),
        ("GET", "204 No Content", None),
        // Not allowed there (RFC 9110, section 8.6), and some apps send it.
        ("GET", "204 No Content\r\nContent-Length: 0", None),
        ("GET", "304 Not Modified\r\nETag: \"a\"", None),
        ("GET", "304 Not Modified\r\nContent-Length: 99", None),
        ("GET", "200 OK\r\nContent-Length: 0", Some("0")),
        ("POST", "303 See Other\r\nLocation: /\r\nContent-Length: 0", Some("0")),
    ] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert!(app.head().starts_with(&format!("{method} / ")));
        app.send(format!("HTTP/1.1 {answer}\r\n\r\n"));
        let response = client.response_to(method);
        assert_eq!(response.status.to_string(), answer[..3], "{answer}");
        assert_eq!(response.field("content-length"), length, "{method} {answer}: {}", response.head);
        assert_eq!(response.body, b"");
    }
    assert!(client.is_silent_for(Duration::from_millis(5)));
}

#[test]
fn what_the_app_says_before_its_answer_is_not_its_answer() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/", "");
    let mut app = backend.accept();
    app.head();
    app.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    app.answer("at last");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "at last"));
}

#[test]
fn a_client_that_expects_100_gets_it_when_the_app_is_there_and_the_app_sees_no_expectation() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    for expectation in ["100-continue", "100-Continue"] {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: {expectation}\r\n\r\n"
        ));
        assert_eq!(client.head(), "HTTP/1.1 100 Continue");
        client.send("hello");
        let mut app = backend.accept();
        let (head, body) = app.request();
        assert_eq!(field(&head, "expect"), None);
        assert_eq!(body, b"hello");
        app.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        assert_eq!(client.response().text(), "ok");
    }
}

#[test]
fn a_client_that_expects_100_is_refused_before_it_sends_anything() {
    let site = Site::before(NO_APP).upstream("max_body = \"4KiB\"").start();
    for (fields, status) in [
        ("Content-Length: 5000\r\nExpect: 100-continue\r\n", 413),
        ("Content-Length: 5\r\nExpect: 100-continue\r\n", 502),
        ("Content-Length: 5\r\nExpect: a-miracle\r\n", 417),
        ("Content-Length: 5\r\nExpect: 100-continue\r\nExpect: tea\r\n", 417),
    ] {
        let mut client = site.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
        assert_eq!(client.response().status, status, "{fields}");
    }
}

#[test]
fn trailers_of_an_answer_reach_a_client_that_wants_them() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/", "TE: trailers\r\nConnection: TE\r\n");
    let mut app = backend.accept();
    app.head();
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                  5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n";
    app.send(answer);
    let head = client.head();
    assert_eq!(field(&head, "trailer").map(str::to_ascii_lowercase), Some("x-sum".to_owned()));
    assert_eq!(client.until("\r\n\r\n").to_ascii_lowercase(), "5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n");

    // One that does not say so gets the answer without them, whole.
    client.get("/", "");
    app.head();
    app.send(answer);
    assert_eq!(client.response().text(), "hello");
    client.get("/", "TE: trailers\r\nConnection: TE\r\n");
    app.head();
    app.send(answer.replace("Trailer: X-Sum\r\n", ""));
    assert_eq!(client.response().text(), "hello");
}

#[test]
fn trailers_of_a_request_reach_the_app_or_are_left_out_and_never_more() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 42\r\nContent-Length: 9\r\nHost: evil\r\nCookie: a=b\r\n\r\n",
    );
    let mut app = backend.accept();
    app.head();
    assert_eq!(app.until("\r\n\r\n").to_ascii_lowercase(), "5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n");
    app.answer("ok");
    client.response();
    // Not announced: the request is whole without it.
    client.send(
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    assert_eq!(app.request().1, b"hello");
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}
