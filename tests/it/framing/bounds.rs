//! The bounds of what a client may send: heads, bodies, and how slowly.

use std::time::{Duration, Instant};

use crate::support::client::field;
use crate::support::h2::{self, Sent, request};
use crate::support::{Backend, Site, at_some_pace, tls};

#[test]
fn a_head_may_be_as_large_as_it_says_and_no_larger() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).listen("max_headers = \"16KiB\"").start();
    let mut client = site.connect();
    // A session in four cookies of four kilobytes, as NextAuth makes them, is half of the default.
    let cookie = "c".repeat(15 << 10);
    client.get("/", &format!("Cookie: {cookie}\r\n"));
    let mut app = backend.accept();
    assert_eq!(field(&app.head(), "cookie"), Some(cookie.as_str()));
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");

    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    for head in [
        format!("GET / HTTP/1.1\r\nHost: test\r\nCookie: {}\r\n\r\n", "c".repeat(17 << 10)),
        format!("GET / HTTP/1.1\r\nHost: test\r\nCookie: {}", "c".repeat(40 << 10)),
        format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "a".repeat(40 << 10)),
        format!("GET / HTTP/1.1\r\nHost: test\r\n{many}\r\n"),
    ] {
        let mut client = site.connect();
        client.send(head);
        let response = client.response();
        assert!(matches!(response.status, 431 | 414), "{}", response.head);
        client.closed();
    }
    assert!(backend.is_left_alone());
    site.becomes("requests_malformed", 4);
}

#[test]
fn a_body_that_is_too_large_by_its_own_word_never_reaches_the_app() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream("max_body = \"1KiB\"").start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1025\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.field("connection")), (413, Some("close")));
    assert!(response.text().contains("1024 bytes"), "{}", response.text());
    // The answer arrives though the client goes on sending, as a browser does.
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8000000\r\n\r\n");
    client.send(vec![b'x'; 4_000_000]);
    assert_eq!(client.response().status, 413);
    assert!(backend.is_left_alone());

    let mut client = site.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1024\r\n\r\n{}", "x".repeat(1024)));
    let mut app = backend.accept();
    assert_eq!(app.request().1.len(), 1024);
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_body_that_turns_out_too_large_is_broken_off() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream("max_body = \"1KiB\"").start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let kilobyte = format!("400\r\n{}\r\n", "x".repeat(1024));
    client.send(&kilobyte);
    let mut app = backend.accept();
    app.until(format!("{}\r\n", "x".repeat(1024)));
    client.send("1\r\ny\r\n");
    assert!(!String::from_utf8(app.rest()).unwrap().contains("0\r\n\r\n"));
    let response = client.response();
    assert_eq!((response.status, response.field("connection")), (413, Some("close")));
    client.send(&kilobyte);
}

#[test]
fn a_route_may_take_larger_bodies_than_its_upstream() {
    let backend = Backend::start();
    let route = "[[route]]\npath = \"/upload/\"\n[route.proxy]\nupstream = \"app\"\nmax_body = \"2KiB\"";
    let site = Site::before(backend.origin()).upstream("max_body = \"1KiB\"").more(route).start();
    let body = "x".repeat(2000);
    let post =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 2000\r\n\r\n{body}");
    let mut client = site.connect();
    client.send(post("/upload/a"));
    let mut app = backend.accept();
    assert_eq!(app.request().1.len(), 2000);
    app.answer("ok");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.send(post("/other")).response().status, 413);
}

/// A client reads what became of its request however much of it is on its way when that is decided.
#[test]
fn a_refusal_reaches_a_client_that_sends_twenty_mebibytes_first() {
    const SENT: usize = 20 << 20;
    let backend = Backend::start();
    for (secure, kind) in [(false, "asgi"), (true, "asgi"), (false, "wsgi"), (true, "wsgi")] {
        let site =
            Site::before(backend.origin()).upstream(&format!("kind = \"{kind}\"\nmax_body = \"1MiB\""));
        let site = if secure { site.tls(&[&["test"]]) } else { site }.start();
        // It has two seconds for that, which a busy machine may need for something else, but not each time.
        let mut client = (0..5)
            .find_map(|_| {
                let mut client = if secure { tls::connect(site.address(), "test") } else { site.connect() };
                client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {SENT}\r\n\r\n"));
                let is_sent = (0..20).all(|_| client.try_send(vec![b'x'; 1 << 20]).is_ok());
                is_sent.then_some(client)
            })
            .expect("it is cut off before it has said all");
        let response = client.response();
        assert_eq!((response.status, response.field("connection")), (413, Some("close")), "{secure} {kind}");
        client.closed();
    }
    let site = Site::before(backend.origin()).upstream("max_body = \"1MiB\"").tls(&[&["test"]]).start();
    h2::with(site.address(), async |mut client| {
        for _ in 0..3 {
            let body = Sent::whole(vec![b'x'; SENT]);
            let answer = client.send(request("POST", "/").body(body).unwrap()).await.unwrap();
            assert_eq!(answer.status(), 413);
        }
    });
    assert!(backend.is_left_alone());
}

#[test]
fn a_client_that_stops_within_its_body_is_told_so_and_the_app_let_go() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).listen("body_stall = \"50ms\"").start();
    for framed in ["Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Content-Length: 100\r\n\r\nhello"] {
        let mut client = site.connect();
        let begun = Instant::now();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framed}"));
        let mut app = backend.accept();
        app.until("hello");
        assert!(!String::from_utf8(app.rest()).unwrap().contains("0\r\n\r\n"));
        assert!(begun.elapsed() >= Duration::from_millis(50));
        let response = client.response();
        assert_eq!((response.status, response.field("connection")), (408, Some("close")));
    }
}

#[test]
fn a_client_that_sends_slowly_but_steadily_may() {
    at_some_pace(|pace| {
        let backend = Backend::start();
        let site = Site::before(backend.origin())
            .listen(&pace.of("body_min_rate = \"0B\"\nbody_stall = \"150ms\""))
            .upstream(&pace.of("response_timeout = \"150ms\""))
            .start();
        let mut client = site.connect();
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\n");
        let mut app = backend.accept();
        app.head();
        for _ in 0..6 {
            assert!(client.is_silent_for(pace.ms(50)));
            client.send("x");
            app.until("x");
        }
        app.answer("ok");
        assert_eq!(client.response().text(), "ok");
    });
}
