//! Large files, over every protocol, and what may go wrong on the way.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::{get, put, serving};
use crate::support::{NO_APP, Sidestream, Site, tls};

const SIZE: usize = 10 * 1024 * 1024 + 3;

fn bytes() -> Vec<u8> {
    (0..=250).cycle().take(SIZE).collect()
}

#[test]
fn every_byte_comes_plain_and_under_tls() {
    let bytes = bytes();
    let relay = serving(&[("large.bin", &bytes)], "");
    let mut client = relay.connect();
    for _ in 0..3 {
        assert!(client.get("/static/large.bin", "").response().body == bytes);
    }
    assert_eq!(client.get("/static/large.bin", "Range: bytes=-1\r\n").response().body, [bytes[SIZE - 1]]);
    let relay = Site::before(NO_APP).tls(&[&["test"]]).more(&super::route("")).start();
    put(&relay, "large.bin", &bytes);
    let mut client = tls::connect(relay.address(), "test");
    assert!(client.get("/static/large.bin", "").response().body == bytes);
    assert_eq!(client.get("/static/large.bin", "Range: bytes=0-9\r\n").response().body, &bytes[..10]);
}

#[test]
fn a_file_that_becomes_shorter_breaks_the_connection() {
    let relay = serving(&[("large.bin", &vec![7; 64 << 20])], "");
    let mut client = relay.connect();
    client.get("/static/large.bin", "");
    let head = client.head();
    assert!(head.contains("content-length: 67108864"), "{head}");
    shorten(&relay);
    let rest = client.rest();
    assert!(rest.len() < 64 << 20, "{}", rest.len());
    // It is the file that broke, and no app.
    drop(client);
    let log = log_when_it_has(&relay, "large.bin");
    assert!(log.contains("\"end\":\"file broke off\""), "{log}");
}

#[test]
fn nothing_is_made_up_under_tls() {
    let relay = Site::before(NO_APP).tls(&[&["test"]]).more(&super::route("")).start();
    put(&relay, "large.bin", &vec![7; 64 << 20]);
    let mut client = tls::connect(relay.address(), "test");
    client.get("/static/large.bin", "");
    client.head();
    shorten(&relay);
    let rest = client.rest();
    assert!(rest.len() < 64 << 20, "{}", rest.len());
    assert!(rest.iter().all(|byte| *byte == 7));
}

fn shorten(relay: &Sidestream) {
    File::options().write(true).open(relay.path("static/large.bin")).unwrap().set_len(100_000).unwrap();
}

#[test]
fn a_file_that_is_replaced_is_sent_as_it_was() {
    let bytes = bytes();
    let relay = serving(&[("large.bin", &bytes)], "");
    let mut client = relay.connect();
    client.get("/static/large.bin", "");
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200"));
    std::fs::write(relay.path("new"), "new").unwrap();
    std::fs::rename(relay.path("new"), relay.path("static/large.bin")).unwrap();
    assert!(client.exactly(SIZE) == bytes);
    assert_eq!(get(&relay, "/static/large.bin", "").text(), "new");
}

#[test]
fn slow_readers_hold_up_nobody() {
    let relay = serving(&[("large.bin", &bytes()), ("a.css", b"a{}")], "");
    let mut slow = Vec::new();
    for _ in 0..30 {
        let mut stream = TcpStream::connect(relay.address()).unwrap();
        stream.write_all(b"GET /static/large.bin HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut first = [0; 100];
        stream.read_exact(&mut first).unwrap();
        slow.push(stream);
    }
    let mut client = relay.connect();
    for _ in 0..100 {
        assert_eq!(client.get("/static/a.css", "").response().text(), "a{}");
    }
    drop(slow);
    assert_eq!(client.get("/static/a.css", "").response().text(), "a{}");
}

/// The access log, when a line of it names this.
fn log_when_it_has(relay: &Sidestream, what: &str) -> String {
    let begun = std::time::Instant::now();
    loop {
        let log = relay.access_log();
        if log.contains(what) {
            return log;
        }
        assert!(begun.elapsed() < crate::support::PATIENCE, "{log}");
        std::thread::yield_now();
    }
}
