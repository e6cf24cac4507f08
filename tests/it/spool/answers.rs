//! Answers that are read ahead of their clients.

use std::io::{ErrorKind, Write as _};
use std::sync::Arc;
use std::thread::spawn;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;

use super::{bytes, open_files_of};
use crate::support::h2::{self, Sent, request};
use crate::support::narrow::{narrow_client, narrow_tls_client};
use crate::support::{Backend, Client, PATIENCE, Sidestream, Site};

/// More than sockets hold.
const LARGE: usize = 8 << 20;

fn connect(site: &Sidestream, secure: bool) -> Client {
    if secure { narrow_tls_client(site.address()) } else { narrow_client(site.address()) }
}

#[test]
fn an_app_is_free_before_its_answer_has_been_read() {
    let backend = Backend::start();
    let folder = tempfile::tempdir().unwrap();
    let temp_dir = format!("temp_dir = {:?}", folder.path());
    for secure in [false, true] {
        // A second request has to wait until the first one's connection is free.
        let one = "max_connections = 1\nqueue_timeout = \"60s\"";
        let site = Site::before(backend.origin()).server(&temp_dir).upstream(one);
        let site = if secure { site.tls(&[&["test"]]) } else { site }.start();
        let mut client = connect(&site, secure);
        client.get("/large", "");
        let mut app = backend.accept();
        app.head();
        app.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")).send(bytes(LARGE));
        // Its connection serves somebody else, who waits for nobody.
        let mut other = connect(&site, secure);
        other.get("/other", "");
        assert!(app.head().starts_with("GET /other "));
        app.answer("ok");
        assert_eq!(other.response().text(), "ok");
        assert_eq!(open_files_of(folder.path()), 1);
        client.head();
        assert!(client.exactly(LARGE) == bytes(LARGE));
        site.comes_true(|| "no file".to_owned(), || open_files_of(folder.path()) == 0);
        assert_eq!(site.count("answers_spooled"), 1);
        // The client's connection is of use afterwards.
        drop(app);
        client.get("/next", "");
        let mut app = backend.accept();
        app.head();
        app.answer("next");
        assert_eq!(client.response().text(), "next");
    }
}

#[test]
fn an_answer_ends_as_it_ended_however_late_it_is_read() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let body = bytes(LARGE);
    let in_chunks = |end: &str| {
        let mut sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n".to_vec();
        for piece in body.chunks(100_000) {
            write!(sent, "{:x}\r\n", piece.len()).unwrap();
            sent.extend_from_slice(piece);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(end.as_bytes());
        sent
    };
    for (end, is_whole) in [("0\r\nX-Sum: 1\r\n\r\n", true), ("", false), ("5\r\nab", false)] {
        let mut client = narrow_client(site.address());
        client.get("/", "TE: trailers\r\nConnection: TE\r\n");
        let mut app = backend.accept();
        app.head();
        app.send(in_chunks(end));
        drop(app);
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut came = Vec::new();
        while let Some(chunk) = client.try_chunk().filter(|chunk| !chunk.is_empty()) {
            came.extend(chunk);
        }
        if is_whole {
            assert!(came == body, "{} of {} bytes", came.len(), body.len());
        } else {
            assert!(came.starts_with(&body), "{} of {} bytes", came.len(), body.len());
            client.closed();
        }
    }
    // With a length, and until the end of the connection.
    for (head, sent, is_whole) in
        [("Content-Length: 8388608", LARGE - 1, false), ("Connection: close", LARGE, true)]
    {
        let mut client = narrow_client(site.address());
        client.get("/", "");
        let mut app = backend.accept();
        app.head();
        app.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n")).send(&body[..sent]);
        drop(app);
        client.head();
        let came = if is_whole { client.chunks() } else { client.rest() };
        assert!(came == body[..sent], "{head}: {} bytes", came.len());
    }
}

#[test]
fn the_same_goes_for_http2() {
    let backend = Arc::new(Backend::start());
    let site = Site::before(backend.origin()).tls(&[&["test"]]).start();
    h2::with(site.address(), async |client| {
        for is_whole in [true, false] {
            let mut asking = client.clone();
            let asked =
                tokio::spawn(
                    async move { asking.send(request("GET", "/").body(Sent::nothing()).unwrap()).await },
                );
            let (tell, told) = tokio::sync::oneshot::channel();
            let backend = backend.clone();
            let sending = spawn(move || {
                let mut app = backend.accept();
                app.head();
                app.send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {LARGE}\r\n\r\n"));
                app.send(&bytes(LARGE)[..if is_whole { LARGE } else { LARGE - 1 }]);
                tell.send(()).unwrap();
            });
            let mut body = asked.await.unwrap().unwrap().into_body();
            // Nothing is read, and the app has sent all.
            told.await.unwrap();
            sending.join().unwrap();
            let mut came = Vec::new();
            let ended = loop {
                match body.frame().await {
                    Some(Ok(frame)) => came.extend(frame.into_data().unwrap()),
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                }
            };
            assert_eq!(ended.is_ok(), is_whole);
            let sent = if is_whole { LARGE } else { LARGE - 1 };
            assert!(came == bytes(LARGE)[..sent], "{} bytes", came.len());
        }
    });
}

/// Writes until at least so much was taken, and nobody takes anything for a moment. Says how much was taken.
fn taken_of(app: std::net::TcpStream, least: usize) -> (std::net::TcpStream, usize) {
    let begun = Instant::now();
    app.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let piece = [b'x'; 64 << 10];
    let (mut socket, mut taken) = (&app, 0);
    loop {
        match socket.write(&piece) {
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock && taken >= least => return (app, taken),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(begun.elapsed() < PATIENCE, "{taken} bytes were taken");
            }
            Err(error) => panic!("{error}"),
        }
        assert!(taken < 1 << 30);
    }
}

#[test]
fn more_than_may_be_read_ahead_is_left_with_the_app_and_let_go_with_the_client() {
    let backend = Backend::start();
    let folder = tempfile::tempdir().unwrap();
    for (server, upstream, kind, ahead) in [
        ("", "read_ahead = \"32MiB\"", "text/html", 32 << 20),
        ("", "read_ahead = \"0B\"", "text/html", 0),
        ("spool_disk = \"64MiB\"", "", "text/html", 32 << 20),
        ("spool_disk = \"0B\"", "", "text/html", 0),
        ("", "", "text/event-stream", 0),
    ] {
        let server = format!("temp_dir = {:?}\n{server}", folder.path());
        let site = Site::before(backend.origin()).server(&server).upstream(upstream).start();
        let mut client = narrow_client(site.address());
        client.get("/", "");
        let app = backend.accept_tcp();
        (&app)
            .write_all(
                format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n").as_bytes(),
            )
            .unwrap();
        let (app, taken) = taken_of(app, ahead);
        // What sockets hold goes on top.
        assert!((ahead..ahead + (16 << 20)).contains(&taken), "{server} {upstream} {kind}: {taken}");
        assert_eq!(open_files_of(folder.path()), usize::from(ahead > 0));
        // The client goes, and with it the app's connection and the file.
        drop(client);
        let mut app = Client::over(app, None);
        site.comes_true(|| "a reset".to_owned(), || app.try_send([b'x'; 1000]).is_err());
        site.becomes("connections", 0);
        site.comes_true(|| "no file".to_owned(), || open_files_of(folder.path()) == 0);
    }
}

#[test]
fn a_client_that_keeps_up_needs_no_file() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/", "");
    let mut app = backend.accept();
    app.head();
    app.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
    client.head();
    // Never more on its way than sockets take: whether the client keeps up is not left to the machine.
    for piece in bytes(LARGE).chunks(32 << 10) {
        app.send(piece);
        assert!(client.exactly(piece.len()) == piece);
    }
    assert_eq!(site.count("answers_spooled"), 0);
}
