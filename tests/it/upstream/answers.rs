//! How an answer may come: in whatever pieces, ended in whatever way HTTP/1.1 has, and with what must be refused.

use crate::support::{Backend, Client, Sidestream, Site};

/// Asks, and plays the app with an answer in those pieces, each sent when the one before has been on its way.
fn ask(site: &Sidestream, backend: &Backend, pieces: &[&str]) -> (Client, Client) {
    let mut client = site.connect();
    client.get("/", "TE: trailers\r\nConnection: TE\r\n");
    let mut app = backend.accept();
    app.head();
    for piece in pieces {
        // It may be refused before all of it is said.
        let _ = app.try_send(piece);
    }
    (client, app)
}

#[test]
fn every_place_to_cut_an_answer_is_as_good_as_any_other() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    let whole = "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n";
    client.get("/", "");
    let mut app = backend.accept();
    for cut in 1..whole.len() {
        app.head();
        app.send(&whole[..cut]);
        app.send(&whole[cut..]);
        assert_eq!(client.response().text(), "hello!", "{cut}");
        // The same connection, each time.
        client.get("/", "");
    }
    assert!(backend.is_left_alone());
}

#[test]
fn an_answer_needs_no_reason() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for line in ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1 200 Sch\u{f6}n"] {
        let answer = format!("{line}\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        let (mut client, app) = ask(&site, &backend, &[&answer]);
        assert_eq!(client.response().text(), "ok", "{line:?}");
        drop(app);
    }
}

#[test]
fn an_answer_of_many_interim_ones_is_given_up() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    for (count, status) in [(16, 200), (17, 502)] {
        let (mut client, mut app) = ask(&site, &backend, &[&interim.repeat(count)]);
        let _ = app.try_send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.response().status, status, "{count}");
        app.closed();
    }
}

#[test]
fn a_length_or_coding_that_readers_could_differ_about_is_a_bad_gateway() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for (version, fields) in [
        ("1.1", "Content-Length: 5\r\nContent-Length: 6"),
        ("1.1", "Content-Length: 5, 6"),
        ("1.1", "Content-Length: +5"),
        ("1.1", "Content-Length: 99999999999999999999"),
        ("1.1", "Content-Length:"),
        ("1.1", "Transfer-Encoding: gzip"),
        ("1.1", "Transfer-Encoding: identity\r\nContent-Length: 3"),
        ("1.1", "Transfer-Encoding: gzip, chunked"),
        ("1.1", "Transfer-Encoding: chunked, chunked"),
        ("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ("1.0", "Transfer-Encoding: chunked"),
        ("1.1", "A: b\r\n folded"),
        ("1.1", "A : b"),
        ("1.1", "A: b\rC: d"),
    ] {
        let answer = format!("HTTP/{version} 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let (mut client, mut app) = ask(&site, &backend, &[&answer]);
        let response = client.response();
        assert_eq!(response.status, 502, "{fields:?}");
        assert!(!response.text().contains("hello"), "{fields:?}");
        app.closed();
    }
}

#[test]
fn a_chunk_that_is_none_ends_the_answer_as_broken() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let extension = format!("5;{}\r\nworld\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let trailers = format!("0\r\nA: {}\r\n\r\n", "x".repeat(1 << 20));
    for wrong in [
        "-5\r\n",
        "5\nworld\r\n",
        "5\r\nworldX",
        "10000000000000000\r\n",
        "0\r\nA : b\r\n\r\n",
        &extension,
        &trailers,
    ] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        let (mut client, mut app) = ask(&site, &backend, &[head, wrong]);
        let rest = String::from_utf8(client.rest()).unwrap();
        let shown = &wrong[..wrong.len().min(20)];
        assert!(rest.contains("hello") && !rest.contains("\r\n0\r\n"), "{shown:?}: {rest}");
        app.closed();
    }
}

#[test]
fn a_connection_is_used_again_only_if_nothing_speaks_against_it() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for (answer, again) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", true),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", false),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n", false),
    ] {
        let (mut client, mut app) = ask(&site, &backend, &[answer]);
        assert_eq!(client.response_to("GET").status, 200, "{answer:?}");
        if again {
            let mut next = site.connect();
            next.get("/next", "");
            assert!(app.head().starts_with("GET /next "), "{answer:?}");
            app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            assert_eq!(next.response().text(), "ok");
        }
        app.closed();
    }
}

#[test]
fn a_large_answer_arrives_byte_for_byte_however_it_is_framed() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let body: String = (0..40_000).map(|n| format!("{n:07},")).collect();
    let chunks: String = body.as_bytes().chunks(7001).fold(String::new(), |mut chunks, chunk| {
        chunks.push_str(&format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()));
        chunks
    });
    for answer in [
        format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"),
        format!("\r\n{body}"),
    ] {
        let (mut client, app) =
            ask(&site, &backend, &[&format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{answer}")]);
        drop(app);
        assert!(client.response().text() == body, "{}", &answer[..20]);
    }
}
