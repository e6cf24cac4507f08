//! `sidestream listen`, against servers that answer by hand, and over TLS against the real one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::run;
use crate::support::{PATIENCE, Port, Sidestream, tls};

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

#[test]
fn listen_prints_events_and_comes_back_with_the_last_id() {
    let folder = TempDir::new().unwrap();
    let first: &'static str = format!(
        "{STREAM}retry: 10\nid: e-0\n\nid: e-1\nevent: note\ndata: {{\"a\": 1}}\n\nid: e-2\ndata: cut"
    )
    .leak();
    let second: &'static str = format!("{STREAM}id: e-2\ndata: hi\n\n").leak();
    let gone = "HTTP/1.1 204 No Content\r\n\r\n";
    let (url, served) = stream_server(vec![first, second, gone]);
    let (code, stdout, stderr) = run(folder.path(), &["listen", &url, "--token", "t.t.t"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(
        stdout,
        "{\"id\":\"e-1\",\"event\":\"note\",\"data\":{\"a\": 1}}\n{\"id\":\"e-2\",\"event\":\"message\",\"data\":\"hi\"}\n"
    );
    let heads: Vec<String> = served.join().unwrap().iter().map(|head| head.to_lowercase()).collect();
    assert!(heads[0].contains("authorization: bearer t.t.t\r\n") && !heads[0].contains("last-event-id"));
    assert!(heads[1].contains("last-event-id: e-1\r\n"), "{}", heads[1]);
    assert!(heads[2].contains("last-event-id: e-2\r\n"), "{}", heads[2]);
}

#[test]
fn listen_once_ends_with_the_stream() {
    let folder = TempDir::new().unwrap();
    let (url, served) = stream_server(vec![format!("{STREAM}data: 1\n\n").leak()]);
    let (code, stdout, _) = run(folder.path(), &["listen", &url, "--once", "--last-event-id", "e-9"]);
    assert_eq!((code, stdout.as_str()), (0, "{\"id\":\"e-9\",\"event\":\"message\",\"data\":1}\n"));
    assert!(served.join().unwrap()[0].contains("last-event-id: e-9\r\n"));
}

#[test]
fn listen_ends_when_the_server_refuses() {
    let folder = TempDir::new().unwrap();
    for (answer, said) in [
        (
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 42\r\n\r\n{\"error\":\"x\",\"message\":\"the token is old\"}",
            "the server answers 401 Unauthorized: the token is old",
        ),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "the server answers 403 Forbidden"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnope", "404 Not Found: nope"),
        ("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n", "it points to /login"),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n", "no event stream"),
        ("220 smtp ready\r\n", "did not answer"),
    ] {
        let (url, served) = stream_server(vec![answer]);
        let (code, stdout, stderr) = run(folder.path(), &["listen", &url]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{said}");
        assert!(stderr.contains(said), "{said} in {stderr}");
        served.join().unwrap();
    }
}

#[test]
fn listen_without_a_server_is_exit_code_1() {
    let folder = TempDir::new().unwrap();
    let held = Port::held();
    let port = held.number();
    let (code, _, stderr) = run(folder.path(), &["listen", &format!("http://127.0.0.1:{port}/")]);
    assert_eq!(code, 1);
    assert!(stderr.contains(&format!("cannot connect to 127.0.0.1:{port}")), "{stderr}");
}

#[test]
fn listen_takes_a_self_signed_certificate_only_when_told_to() {
    let folder = TempDir::new().unwrap();
    tls::certificate(folder.path(), "local", &["localhost"]);
    let site = Sidestream::start_in(
        folder,
        r#"
[log]
access = "off"
[publish]
socket = ""
[[listen]]
address = "127.0.0.1:0"
tls = [{ cert = "local.crt", key = "local.key" }]
[[route]]
path = "/events"
[route.stream]
auth = []
hello = { data = "hi" }
max_age = "100ms"
"#,
    );
    let here = TempDir::new().unwrap();
    let port = site.address().rsplit(':').next().unwrap();
    let url = format!("https://localhost:{port}/events");
    let (code, stdout, stderr) = run(here.path(), &["listen", &url, "--once", "--insecure"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.ends_with("\"event\":\"message\",\"data\":\"hi\"}\n"), "{stdout}");

    let (code, stdout, stderr) = run(here.path(), &["listen", &url, "--once"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("certificate") && stderr.contains("give --insecure"), "{stderr}");
}

/// An HTTP server that answers its connections with `answers`, one after the other. The request heads come out.
fn stream_server(answers: Vec<&'static str>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        let answer = |answer: &str| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let head = read_head(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            head
        };
        answers.into_iter().map(answer).collect()
    });
    (url, served)
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
