//! Bodies on their way through: nothing is held back, nothing is changed, and nobody is made to hold what the other
//! side does not take.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use socket2::SockRef;

use crate::support::{App, Backend, Site};

#[test]
fn a_piece_of_an_answer_is_passed_on_before_the_next_is_sent() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for (framing, pieces, end) in [
        ("Transfer-Encoding: chunked\r\n", ["3\r\none\r\n", "3\r\ntwo\r\n"], "0\r\n\r\n"),
        ("Content-Length: 9\r\n", ["one", "two"], "end"),
        // Until the app closes.
        ("Connection: close\r\n", ["one", "two"], ""),
        ("Content-Type: text/event-stream\r\nConnection: close\r\n", ["one", "two"], ""),
    ] {
        let mut client = site.connect();
        client.get("/", "Connection: close\r\n");
        let mut app = backend.accept();
        app.head();
        app.send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{framing}\r\n"));
        client.head();
        for (piece, text) in pieces.into_iter().zip(["one", "two"]) {
            app.send(piece);
            client.until(text);
        }
        app.send(end);
        drop(app);
        client.rest();
    }
}

#[test]
fn a_piece_of_an_upload_reaches_the_app_before_the_next_is_sent() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for (framing, pieces, end) in [
        ("Transfer-Encoding: chunked", ["3\r\none\r\n", "3\r\ntwo\r\n"], "0\r\n\r\n"),
        ("Content-Length: 9", ["one", "two"], "end"),
    ] {
        let mut client = site.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{framing}\r\n\r\n"));
        let mut app = backend.accept();
        let head = app.head();
        assert!(head.to_ascii_lowercase().contains(&framing.to_ascii_lowercase()), "{head}");
        for (piece, text) in pieces.into_iter().zip(["one", "two"]) {
            client.send(piece);
            app.until(text);
        }
        client.send(end);
        app.until(if end.len() == 3 { end } else { "0\r\n\r\n" });
        app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.response().text(), "ok");
    }
}

#[test]
fn an_answer_may_begin_before_the_upload_ends() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    let mut app = backend.accept();
    app.until("one");
    app.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nONE\r\n");
    client.until("ONE");
    for (sent, answered) in [("two", "TWO"), ("six", "SIX")] {
        client.send(format!("3\r\n{sent}\r\n"));
        app.until(sent);
        app.send(format!("3\r\n{answered}\r\n"));
        client.until(answered);
    }
    client.send("0\r\n\r\n");
    app.until("0\r\n\r\n");
    app.send("0\r\n\r\n");
    client.until("0\r\n\r\n");
}

#[test]
fn a_body_for_any_method_reaches_the_app() {
    let app = App::start(|mut client| {
        while let Some(head) = client.try_head() {
            let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
            let body = if chunked { client.chunks() } else { client.exactly(5) };
            client.answer(&String::from_utf8(body).unwrap());
        }
    });
    let site = Site::before(app.origin()).start();
    let mut client = site.connect();
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "GET", "QUERY"] {
        for framed in
            ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
        {
            client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\n{framed}"));
            assert_eq!(client.response().text(), "hello", "{method} {framed}");
        }
    }
}

/// What passes each way in the tests below, in bytes: far more than sockets and buffers hold.
const LARGE: usize = 64 << 20;

/// What may be on its way while the other side takes nothing: the buffers of four sockets, and ours.
const HELD: usize = 24 << 20;

/// Buffers small enough that it shows who takes what.
fn with_small_buffers(stream: TcpStream) -> TcpStream {
    let socket = SockRef::from(&stream);
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.set_send_buffer_size(64 << 10).unwrap();
    stream
}

/// Writes until the other side takes nothing for a moment; returns how much it took.
fn write_until_blocked(stream: &mut TcpStream) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(150))).unwrap();
    let piece = [b'x'; 64 << 10];
    let mut written = 0;
    while written < LARGE {
        match stream.write(&piece) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(written < HELD, "{written} bytes were taken that nobody read");
    written
}

/// Writes the rest while the other side reads, which must get every byte.
fn pass_the_rest(mut from: TcpStream, mut to: TcpStream, written: usize) {
    from.set_write_timeout(None).unwrap();
    let writing = std::thread::spawn(move || {
        let piece = [b'x'; 64 << 10];
        let mut left = LARGE - written;
        while left > 0 {
            let count = from.write(&piece[..left.min(piece.len())]).unwrap();
            left -= count;
        }
        from
    });
    let mut piece = [0; 64 << 10];
    let mut left = LARGE;
    while left > 0 {
        let count = to.read(&mut piece[..left.min(64 << 10)]).unwrap();
        assert!(count > 0 && piece[..count].iter().all(|byte| *byte == b'x'));
        left -= count;
    }
    drop(writing.join().unwrap());
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn a_client_that_does_not_read_holds_the_app_back() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream("read_ahead = \"0B\"").start();
    let mut client = with_small_buffers(TcpStream::connect(site.address()).unwrap());
    client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut app = with_small_buffers(backend.accept_tcp());
    head(&mut app);
    write!(app, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").unwrap();
    let written = write_until_blocked(&mut app);
    // Others are not held up by it.
    let mut other = site.connect();
    other.get("/other", "");
    let mut second = backend.accept();
    second.head();
    second.answer("ok");
    assert_eq!(other.response().text(), "ok");
    head(&mut client);
    pass_the_rest(app, client, written);
}

#[test]
fn an_app_that_does_not_read_holds_the_client_back() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream("max_body = \"1GiB\"").start();
    let mut client = with_small_buffers(TcpStream::connect(site.address()).unwrap());
    write!(client, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {LARGE}\r\n\r\n").unwrap();
    let mut app = with_small_buffers(backend.accept_tcp());
    head(&mut app);
    let written = write_until_blocked(&mut client);
    pass_the_rest(client, app, written);
}
