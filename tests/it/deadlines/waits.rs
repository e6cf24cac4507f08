//! How long a client may take for each step.

use std::io::Write;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::support::{App, Backend, Client, NO_APP, Site, tls};

/// A deadline of the tests, and one that must not matter.
const SOON: Duration = Duration::from_millis(80);
const LATE: &str = "\"60s\"";

/// Waits for the end of a connection that must come by a deadline of [`SOON`], and not before it.
fn ends_in_time(begun: Instant, mut client: Client) {
    client.closed();
    let waited = begun.elapsed();
    assert!(waited >= SOON, "cut off after {waited:?}");
    assert!(waited < SOON * 20, "cut off only after {waited:?}");
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let listen = format!("header_timeout = \"80ms\"\nidle_timeout = {LATE}");
    let site = Site::before(NO_APP).listen(&listen).start();
    ends_in_time(Instant::now(), site.connect());
    site.becomes("connections_timed_out", 1);
    site.becomes("connections", 0);
}

#[test]
fn a_head_that_comes_byte_by_byte_for_ever_is_cut_off() {
    let app = App::that_echoes();
    let listen = format!("header_timeout = \"80ms\"\nidle_timeout = {LATE}");
    let site = Site::before(app.origin()).listen(&listen).start();
    for served_before in [false, true] {
        let mut client = site.connect();
        if served_before {
            assert_eq!(client.get("/", "").response().status, 200);
        }
        let begun = Instant::now();
        client.send("GET / HTTP/1.1\r\nHost: test\r\nX: ");
        while client.try_send("y").is_ok() {
            assert!(begun.elapsed() < SOON * 20, "it is read for ever");
            sleep(Duration::from_millis(2));
        }
        assert!(begun.elapsed() >= SOON);
        assert_eq!(client.rest(), b"");
    }
    site.becomes("connections_timed_out", 2);
    assert_eq!(app.connections(), 1);
}

#[test]
fn an_idle_connection_is_closed_and_one_in_use_is_not() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).listen("idle_timeout = \"80ms\"").start();
    let mut client = site.connect();
    client.get("/slow", "");
    let mut app = backend.accept();
    app.head();
    // Waiting for the app is not idling, nor is a pause within the answer.
    assert!(client.is_silent_for(SOON * 2));
    app.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    client.until("ab");
    assert!(client.is_silent_for(SOON * 2));
    let begun = Instant::now();
    app.send("cd");
    client.until("cd");
    ends_in_time(begun, client);
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).listen("write_stall = \"80ms\"").start();
    let mut client = TcpStream::connect(site.address()).unwrap();
    SockRef::from(&client).set_recv_buffer_size(16 << 10).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut app = backend.accept();
    app.head();
    let begun = Instant::now();
    app.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while app.try_send(&piece).is_ok() {
        sent += piece.len();
        assert!(sent < 64 << 20, "{sent} bytes were taken that nobody reads");
    }
    assert!(begun.elapsed() >= SOON);
    site.becomes("connections_timed_out", 1);
    site.becomes("connections", 0);
}

#[test]
fn a_client_that_reads_slowly_but_steadily_may() {
    let size = 16 << 20;
    let app =
        App::that_says(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{}", "x".repeat(size)));
    let site = Site::before(app.origin()).listen("write_stall = \"400ms\"").start();
    let stream = TcpStream::connect(site.address()).unwrap();
    SockRef::from(&stream).set_recv_buffer_size(64 << 10).unwrap();
    let mut client = Client::over(stream, None);
    client.get("/", "");
    client.head();
    // For longer than the deadline. The system lets us write on only after a third of its buffer has been read, so
    // the pieces are not small.
    let mut left = size;
    for _ in 0..30 {
        left -= client.exactly(256 << 10).len();
        sleep(Duration::from_millis(20));
    }
    assert_eq!(client.exactly(left).len(), left);
}

#[test]
fn a_handshake_that_does_not_end_is_given_up() {
    let listen = format!("handshake_timeout = \"80ms\"\nheader_timeout = {LATE}");
    let site = Site::before(NO_APP).tls(&[&["test"]]).listen(&listen).start();
    let begun = Instant::now();
    let silent = site.connect();
    let mut begins = site.connect();
    // The beginning of a ClientHello of 512 bytes.
    begins.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    let mut drips = site.connect();
    drips.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    while drips.try_send(b"\0").is_ok() {
        assert!(begun.elapsed() < SOON * 20, "it is read for ever");
        sleep(Duration::from_millis(2));
    }
    ends_in_time(begun, silent);
    ends_in_time(begun, begins);
    site.becomes("handshakes_failed", 3);
    site.becomes("connections", 0);
}

#[test]
fn what_is_no_handshake_is_refused_at_once() {
    let site = Site::before(NO_APP).tls(&[&["test"]]).start();
    let mut client = site.connect();
    client.get("/", "");
    let said = client.rest();
    // A TLS alert at most; never an answer in the clear.
    assert!(said.is_empty() || said[0] == 0x15, "{}", String::from_utf8_lossy(&said));
    site.becomes("handshakes_failed", 1);
}

#[test]
fn deadlines_hold_under_tls_too() {
    let site = Site::before(NO_APP)
        .tls(&[&["test"]])
        .listen("header_timeout = \"80ms\"\nidle_timeout = \"80ms\"")
        .start();
    let begun = Instant::now();
    let mut client = tls::connect(site.address(), "test");
    // The handshake ends with the first bytes.
    client.send("GET / HTTP/1.1\r\nHost: test\r\n");
    ends_in_time(begun, client);
    let begun = Instant::now();
    let mut client = tls::connect(site.address(), "test");
    assert_eq!(client.get("/", "").response().status, 502);
    ends_in_time(begun, client);
    site.becomes("connections_timed_out", 2);
}
