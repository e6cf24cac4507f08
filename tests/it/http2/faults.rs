//! HTTP/2 as no browser speaks it: what must not become a request of HTTP/1, and what must end a connection.

use std::time::{Duration, Instant};

use http::Request;

use crate::support::client::field;
use crate::support::frames::{END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM, block};
use crate::support::h2::{self, Sent, Whole, request};
use crate::support::{App, Backend, Sidestream, Site};

const DATA: u8 = 0;
const CONTINUATION: u8 = 9;

const PROTOCOL_ERROR: u32 = 1;
const NO_ERROR: u32 = 0;

/// `:status: 400` of the static table (RFC 7541, appendix A).
const IS_400: u8 = 0x8c;

const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "test"), (":path", "/")];

fn before(backend: &Backend) -> Site {
    Site::before(backend.origin()).tls(&[&["test"]])
}

fn connect(site: &Sidestream) -> Frames {
    Frames::connect(site.address())
}

#[test]
fn a_body_that_is_not_as_long_as_it_said_is_never_whole_for_the_app() {
    let backend = Backend::start();
    let site = before(&backend).start();
    for (length, said, end) in [("10", "hello", true), ("3", "hello", true), ("3", "hello", false)] {
        let mut client = connect(&site);
        let head = block(&[&POST[..], &[("content-length", length)]].concat());
        client.send(HEADERS, END_HEADERS, 1, &head);
        let mut app = backend.accept();
        assert_eq!(field(&app.head(), "content-length"), Some(length));
        client.send(DATA, if end { END_STREAM } else { 0 }, 1, said.as_bytes());
        assert_eq!(client.next_of(1, RST_STREAM).code(), PROTOCOL_ERROR, "{length} {end}");
        // Never padded, and no longer than was said.
        assert!(app.rest().len() < length.parse().unwrap(), "{length}: the app took it for whole");
    }
    for lengths in [&["5", "6"][..], &["five"], &["-1"], &["5, 6"]] {
        let fields = lengths.iter().map(|length| ("content-length", *length));
        let head = block(&POST.into_iter().chain(fields).collect::<Vec<_>>());
        let mut client = connect(&site);
        client.send(HEADERS, END_HEADERS, 1, &head);
        let frame = client.next().unwrap();
        assert!(frame.kind == RST_STREAM && frame.code() == PROTOCOL_ERROR, "{lengths:?}: {frame:?}");
    }
    assert!(backend.is_left_alone());
}

#[test]
fn a_wsgi_app_is_never_asked_with_a_body_that_is_not_as_long_as_it_said() {
    let backend = Backend::start();
    let site = before(&backend).upstream("kind = \"wsgi\"").start();
    for (length, said, end) in [("10", "hello", true), ("3", "hello", true), ("3", "hello", false)] {
        let mut client = connect(&site);
        let head = block(&[&POST[..], &[("content-length", length)]].concat());
        client.send(HEADERS, END_HEADERS, 1, &head);
        client.send(DATA, if end { END_STREAM } else { 0 }, 1, said.as_bytes());
        assert_eq!(client.next_of(1, RST_STREAM).code(), PROTOCOL_ERROR, "{length} {end}");
    }
    site.becomes("connections", 0);
    assert!(backend.is_left_alone());
}

#[test]
fn authorities_and_schemes_are_looked_at_as_hosts_are() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).tls(&[&["test"]]).start();
    let mut client = connect(&site);
    let mut stream = 1;
    let long = format!("/{}", "a".repeat(200));
    for (scheme, authority, host, path, ok) in [
        ("https", Some("test"), None, "/", true),
        ("https", None, Some("test"), "/", true),
        ("https", Some("test:443"), Some("test:443"), "/", true),
        ("http", Some("test"), None, "/", true),
        ("https", Some("test"), None, long.as_str(), true),
        ("https", None, None, "/", false),
        ("https", Some("user@test"), None, "/", false),
        ("https", Some("test"), Some("user@test"), "/", false),
        ("https", Some("a b"), None, "/", false),
        ("https", Some("test/x"), None, "/", false),
        ("https", Some(""), Some("test"), "/", false),
        ("ftp", Some("test"), None, "/", false),
        ("https", Some("test"), None, "*", false),
        ("https", Some("test"), None, "a", false),
        ("https", Some("test"), None, "/a b", false),
        ("https", Some("test"), None, "/\u{e4}", false),
    ] {
        let mut fields = vec![(":method", "GET"), (":scheme", scheme), (":path", path)];
        fields.extend(authority.map(|authority| (":authority", authority)));
        fields.extend(host.map(|host| ("host", host)));
        client.headers(stream, &fields);
        let frame = loop {
            let frame = client.next().unwrap_or_else(|| panic!("{fields:?}: no word"));
            if frame.stream == stream {
                break frame;
            }
        };
        if ok {
            assert!(frame.is_ok(), "{fields:?}: {frame:?}");
        } else {
            let refused = frame.kind == RST_STREAM || frame.content.first() == Some(&IS_400);
            assert!(refused, "{fields:?}: {frame:?}");
        }
        stream += 2;
    }
}

#[test]
fn methods_that_are_not_for_a_proxy_like_this_one_are_refused_here_too() {
    let backend = Backend::start();
    let site = before(&backend).start();
    h2::with(site.address(), async |mut client| {
        let answer = client.send(request("TRACE", "/").body(Sent::nothing()).unwrap()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers().contains_key("allow")), (405, true));
        let connect = Request::connect("evil.example:443").body(Sent::nothing()).unwrap();
        assert_eq!(client.send(connect).await.unwrap().status(), 405);
    });
    // A WebSocket over HTTP/2 (RFC 8441) was not offered.
    let mut client = connect(&site);
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "test"),
        (":path", "/ws"),
    ];
    assert_eq!(client.headers(1, &fields).next_of(1, RST_STREAM).code(), PROTOCOL_ERROR);
    assert!(backend.is_left_alone());
}

#[test]
fn what_cannot_be_a_trailer_is_refused() {
    let backend = Backend::start();
    let site = before(&backend).start();
    let mut client = connect(&site);
    for (stream, trailer) in
        [(1, ("connection", "close")), (3, ("transfer-encoding", "chunked")), (5, ("upgrade", "h2c"))]
    {
        client.send(HEADERS, END_HEADERS, stream, &block(&POST));
        let mut app = backend.accept();
        app.head();
        client.send(DATA, 0, stream, b"hello");
        app.until("hello\r\n");
        client.headers(stream, &[trailer]);
        assert_eq!(client.next_of(stream, RST_STREAM).code(), PROTOCOL_ERROR, "{trailer:?}");
        assert!(!String::from_utf8(app.rest()).unwrap().contains("0\r\n"), "{trailer:?}");
    }
    // This one is left out.
    client.send(HEADERS, END_HEADERS, 7, &block(&[&POST[..], &[("trailer", ":path, x-sum")]].concat()));
    let mut app = backend.accept();
    app.head();
    client.send(DATA, 0, 7, b"hello").headers(7, &[(":path", "/evil"), ("x-sum", "42")]);
    assert_eq!(app.until("\r\n\r\n"), "5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n");
    app.answer("ok");
    assert!(client.next_of(7, HEADERS).is_ok());
}

#[test]
fn a_head_that_is_too_large_is_refused_and_one_without_end_cut_off() {
    let backend = Backend::start();
    let site = before(&backend).listen("max_headers = \"16KiB\"").start();
    h2::with(site.address(), async |mut client| {
        let cookie = "c".repeat(20 << 10);
        let asked = request("GET", "/").header("cookie", &cookie).body(Sent::nothing()).unwrap();
        assert_eq!(client.send(asked).await.unwrap().status(), 431);
    });
    let mut client = connect(&site);
    client.send(HEADERS, END_STREAM, 1, &block(&POST));
    let piece = block(&[("x", &"y".repeat(8 << 10))]);
    let mut sent = 0;
    while client.try_send(CONTINUATION, 0, 1, &piece).is_ok() {
        sent += piece.len();
        assert!(sent < 8 << 20, "{sent} bytes of a head were taken");
    }
    assert!(backend.is_left_alone());
}

#[test]
fn a_flood_of_resets_ends_the_connection() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).tls(&[&["test"]]).start();
    let mut client = connect(&site);
    let head = block(&POST);
    // CANCEL, as in the attack that is known as rapid reset.
    for stream in (1..4000).step_by(2) {
        let sent = client
            .try_send(HEADERS, END_HEADERS | END_STREAM, stream, &head)
            .and_then(|()| client.try_send(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        if sent.is_err() {
            break;
        }
    }
    // Told to go or cut off; answers to the first of them may have come before.
    let mut told = None;
    while let Some(frame) = client.next() {
        if frame.kind == GOAWAY {
            told = Some(frame.code());
        }
    }
    assert!(told != Some(NO_ERROR), "it was let go in peace");
    site.becomes("connections", 0);
    assert_eq!(site.count("connections_timed_out"), 0);
}

#[test]
fn a_body_that_is_too_large_is_answered_and_the_connection_goes_on() {
    let backend = Backend::start();
    let site = before(&backend).upstream("max_body = \"1KiB\"").start();
    h2::with(site.address(), async |mut client| {
        let asked = request("POST", "/").body(Sent::whole(vec![b'x'; 100_000])).unwrap();
        assert_eq!(client.send(asked).await.unwrap().status(), 413);
        let (pieces, body) = Sent::in_pieces();
        pieces.send(vec![b'x'; 2000].into()).unwrap();
        let answer = client.send(request("POST", "/").body(body).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 413);
        assert!(Whole::of(answer).await.unwrap().text().contains("1024 bytes"));
        let asked = request("TRACE", "/").body(Sent::nothing()).unwrap();
        assert_eq!(client.send(asked).await.unwrap().status(), 405);
    });
    let mut app = backend.accept();
    assert!(!String::from_utf8(app.rest()).unwrap().ends_with("0\r\n\r\n"));
}

#[test]
fn a_body_that_stalls_is_answered_and_the_app_let_go() {
    let backend = Backend::start();
    let site = before(&backend).listen("body_stall = \"500ms\"").start();
    h2::with(site.address(), async |mut client| {
        let begun = Instant::now();
        let (pieces, body) = Sent::in_pieces();
        pieces.send("hello".into()).unwrap();
        let answer = client.send(request("POST", "/").body(body).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 408);
        assert!(begun.elapsed() >= Duration::from_millis(500));
        drop(pieces);
    });
    let seen = String::from_utf8(backend.accept().rest()).unwrap();
    assert!(seen.ends_with("hello\r\n"), "{seen:?}");
}

#[test]
fn a_connection_that_says_nothing_after_its_handshake_is_closed() {
    let backend = Backend::start();
    let site = before(&backend).listen("header_timeout = \"80ms\"").start();
    let begun = Instant::now();
    let mut client = connect(&site);
    while client.next().is_some() {}
    assert!(begun.elapsed() >= Duration::from_millis(80));
    site.becomes("connections_timed_out", 1);
    site.becomes("connections", 0);
}
