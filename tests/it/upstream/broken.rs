//! An app that breaks off, or does not speak HTTP. What was whole must not look broken, and what was broken must not
//! look whole.

use crate::support::{Backend, Site};

#[test]
fn an_answer_that_is_none_is_a_bad_gateway() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(2 << 20));
    let many: String = (0..1000).map(|n| format!("X-{n}: y\r\n")).collect();
    let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
    for answer in [
        "",
        "H",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "garbage\r\n\r\n",
        "\0\x01\x02\x03\x04\x05\x06\x07",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 ",
        // Nobody asked for it.
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nevil",
        "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        &long,
        &many,
    ] {
        let mut client = site.connect();
        client.get("/", "");
        let mut app = backend.accept();
        app.head();
        // It may be given up before it has said all.
        let _ = app.try_send(answer);
        drop(app);
        let shown: String = answer.chars().take(100).collect();
        let response = client.response();
        assert_eq!((response.status, response.field("retry-after")), (502, Some("2")), "{shown:?}");
        assert!(!response.text().contains("evil"), "{shown:?}");
        // The client's connection is as good as before.
        client.get("/next", "");
        let mut app = backend.accept();
        assert!(app.head().starts_with("GET /next "));
        app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.response().text(), "ok", "{shown:?}");
    }
}

#[test]
fn an_answer_that_is_broken_off_is_not_ended_as_if_it_were_whole() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for (framed, chunked) in [
        ("Content-Length: 10\r\n\r\nhello", false),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n8\r\nx", true),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n\r\n0\r\n\r\n", true),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", true),
    ] {
        let mut client = site.connect();
        client.get("/", "");
        let mut app = backend.accept();
        app.head();
        app.send(format!("HTTP/1.1 200 OK\r\n{framed}"));
        client.until("hello");
        drop(app);
        let rest = String::from_utf8(client.rest()).unwrap();
        if chunked {
            assert!(!rest.contains("0\r\n\r\n"), "{framed:?}: {rest:?}");
        } else {
            assert_eq!(rest, "");
        }
    }
    // HTTP/1.0 has no way to say it but the length.
    let mut client = site.connect();
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let mut app = backend.accept();
    app.head();
    app.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    drop(app);
    let answer = String::from_utf8(client.rest()).unwrap();
    assert!(answer.contains("content-length: 10") && answer.ends_with("hello"), "{answer}");
}

#[test]
fn an_answer_without_an_end_ends_with_its_connection() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for (version, fields) in [
        ("HTTP/1.0", ""),
        ("HTTP/1.1", ""),
        ("HTTP/1.0", "Connection: keep-alive\r\n"),
        // A coding that is not ours to undo ends with the connection too (RFC 9112, section 6.3).
        ("HTTP/1.1", "Transfer-Encoding: identity\r\n"),
    ] {
        let mut client = site.connect();
        client.get("/", "");
        let mut app = backend.accept();
        app.head();
        app.send(format!("{version} 200 OK\r\n{fields}\r\nhello"));
        client.until("hello");
        drop(app);
        // The client's connection need not end with it.
        client.until("0\r\n\r\n");
        client.get("/next", "");
        let mut app = backend.accept();
        app.head();
        app.answer("ok");
        assert_eq!(client.response().text(), "ok");
        drop(app);
    }
}

#[test]
fn an_answer_framed_twice_reaches_the_client_framed_once() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 300\r\n",
        "Transfer-Encoding: CHUNKED\r\nX: y\r\nContent-Length: 0\r\n",
    ] {
        let mut client = site.connect();
        client.get("/", "");
        let mut app = backend.accept();
        app.head();
        app.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n5\r\nhello\r\n0\r\n\r\n"));
        let response = client.response();
        assert_eq!(response.field("content-length"), None, "{fields}");
        assert_eq!(response.field("transfer-encoding"), Some("chunked"), "{fields}");
        assert_eq!(response.text(), "hello");
        client.get("/next", "Connection: close\r\n");
        // Whether its connection is used again is not the client's concern.
        drop(app);
        let mut app = backend.accept();
        app.head();
        app.answer("ok");
        assert_eq!(client.response().text(), "ok");
        client.closed();
    }
}

#[test]
fn the_same_length_twice_is_one() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/", "");
    let mut app = backend.accept();
    app.head();
    app.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello");
    let response = client.response();
    assert_eq!(response.text(), "hello");
    assert_eq!(response.head.matches("content-length").count(), 1, "{}", response.head);
}
