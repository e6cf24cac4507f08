//! Request bodies for apps that serve one request at a time.

use std::time::{Duration, Instant};

use super::{bytes, open_files_of};
use crate::support::client::field;
use crate::support::h2::{self, Sent, request};
use crate::support::{Backend, Site};

const WSGI: &str = "kind = \"wsgi\"\nmax_body = \"64MiB\"";

fn chunked(pieces: &[&[u8]]) -> Vec<u8> {
    let mut sent = Vec::new();
    for piece in pieces {
        sent.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        sent.extend_from_slice(piece);
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b"0\r\n\r\n");
    sent
}

#[test]
fn a_body_of_unknown_length_gets_one_whatever_the_method() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream(WSGI).start();
    let mut client = site.connect();
    let large = bytes(300_000);
    let mut app = None;
    for pieces in [&[b"two ".as_slice(), b"pieces"][..], &[b"one"], &[], &[&large]] {
        for method in ["POST", "PUT", "GET", "DELETE"] {
            client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"));
            client.send(chunked(pieces));
            let app = app.get_or_insert_with(|| backend.accept());
            let (head, body) = app.request();
            assert!(body == pieces.concat(), "{method} {head}");
            assert_eq!(field(&head, "content-length"), Some(&*pieces.concat().len().to_string()), "{head}");
            assert_eq!(field(&head, "transfer-encoding"), None, "{head}");
            app.answer("ok");
            assert_eq!(client.response().text(), "ok");
        }
    }
    assert_eq!(site.count("bodies_spooled"), 4);
}

#[test]
fn an_app_is_asked_when_the_body_is_there() {
    let backend = Backend::start();
    let folder = tempfile::tempdir().unwrap();
    let temp_dir = format!("temp_dir = {:?}", folder.path());
    let site = Site::before(backend.origin()).server(&temp_dir).upstream(WSGI).start();
    let body = bytes(1_000_000);
    let (first, last) = body.split_at(900_000);
    for in_chunks in [false, true] {
        let mut client = site.connect();
        let framing = if in_chunks { "Transfer-Encoding: chunked" } else { "Content-Length: 1000000" };
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
        if in_chunks {
            client.send(format!("{:x}\r\n", body.len()));
        }
        client.send(first);
        site.comes_true(|| "a file".to_owned(), || open_files_of(folder.path()) == 1);
        assert!(backend.is_left_alone());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it has a name");
        client.send(last);
        if in_chunks {
            client.send("\r\n0\r\n\r\n");
        }
        let mut app = backend.accept();
        assert!(app.request().1 == body);
        app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.response().text(), "ok");
        site.comes_true(|| "no file".to_owned(), || open_files_of(folder.path()) == 0);
    }
    assert_eq!(site.count("bodies_spooled"), 2);
}

#[test]
fn a_body_that_came_with_its_head_takes_no_detour() {
    let backend = Backend::start();
    let limits = "spool_memory = \"0B\"\nspool_disk = \"0B\"";
    let site = Site::before(backend.origin()).server(limits).upstream(WSGI).start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
    let mut app = backend.accept();
    assert_eq!(app.request().1, b"hello");
    app.answer("ok");
    assert_eq!(client.response().status, 200);
}

#[test]
fn what_finds_no_room_is_refused_and_nobody_is_asked() {
    let backend = Backend::start();
    let limits = "spool_memory = \"128KiB\"\nspool_disk = \"1MiB\"";
    let site = Site::before(backend.origin()).server(limits).upstream(WSGI).start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2000000\r\n\r\n").send(bytes(2_000_000));
    let response = client.response();
    assert_eq!((response.status, response.field("connection")), (503, Some("close")));
    assert!(response.field("retry-after").is_some());
    assert!(backend.is_left_alone());
    assert_eq!((site.count("spool_refused"), site.count("upstream_errors")), (1, 0));
    // What it took is free again.
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 900000\r\n\r\n").send(bytes(900_000));
    let mut app = backend.accept();
    assert!(app.request().1 == bytes(900_000));
    app.answer("ok");
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_folder_that_is_of_no_use_is_known_by_its_answers() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).server("temp_dir = \"nowhere\"").upstream(WSGI).start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 500000\r\n\r\n").send(bytes(500_000));
    assert_eq!(client.response().status, 503);
}

#[test]
fn a_body_that_grows_too_large_or_breaks_off_reaches_nobody() {
    let backend = Backend::start();
    let folder = tempfile::tempdir().unwrap();
    let temp_dir = format!("temp_dir = {:?}", folder.path());
    let upstream = "kind = \"wsgi\"\nmax_body = \"1MiB\"";
    let site = Site::before(backend.origin()).server(&temp_dir).upstream(upstream).start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(chunked(&[&bytes(2_000_000)]));
    let response = client.response();
    assert_eq!((response.status, response.field("connection")), (413, Some("close")));
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n").send(bytes(500_000));
    site.comes_true(|| "a file".to_owned(), || open_files_of(folder.path()) == 1);
    drop(client);
    site.becomes("connections", 0);
    assert!(backend.is_left_alone());
    site.comes_true(|| "no file".to_owned(), || open_files_of(folder.path()) == 0);
}

#[test]
fn the_same_goes_for_http2() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).tls(&[&["test"]]).upstream(WSGI).start();
    let body = bytes(400_000);
    h2::with(site.address(), async |mut client| {
        let (pieces, sent) = Sent::in_pieces();
        for piece in body.chunks(30_000) {
            pieces.send(piece.to_vec().into()).unwrap();
        }
        let answer = tokio::spawn(async move { client.send(request("POST", "/").body(sent).unwrap()).await });
        tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(50));
            assert!(backend.is_left_alone());
            drop(pieces);
            let mut app = backend.accept();
            let (head, came) = app.request();
            assert_eq!(field(&head, "content-length"), Some("400000"), "{head}");
            assert!(came == bytes(400_000));
            app.answer("ok");
        })
        .await
        .unwrap();
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    });
}

#[test]
fn a_client_that_only_trickles_is_told_so() {
    let backend = Backend::start();
    for kind in ["wsgi", "asgi"] {
        let listen = "body_stall = \"200ms\"\nbody_min_rate = \"1KiB\"";
        let site =
            Site::before(backend.origin()).listen(listen).upstream(&format!("kind = \"{kind}\"")).start();
        let mut client = site.connect();
        let begun = Instant::now();
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n");
        while client.try_send("x").is_ok() && client.is_silent_for(Duration::from_millis(20)) {
            assert!(begun.elapsed() < crate::support::PATIENCE, "it goes on for ever");
        }
        assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
        assert_eq!(client.response().status, 408, "{kind}");
        if kind == "asgi" {
            assert!(backend.accept().rest().len() < 1000);
        }
    }
    assert!(backend.is_left_alone());
}
