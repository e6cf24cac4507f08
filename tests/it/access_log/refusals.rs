//! What is refused before it is a request has a line in the program's own log, and not one for each time.

use std::io::Write as _;
use std::net::TcpStream;

use rustix::process::Signal;

use crate::support::{Client, NO_APP, Program, in_front_of, publish, tls};

#[test]
fn one_line_says_that_handshakes_fail() {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let secure = "address = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]";
    let config = in_front_of(NO_APP, "", "").replace("address = \"127.0.0.1:0\"", secure);
    let program = Program::run_in(folder, &config);
    for _ in 0..20 {
        TcpStream::connect(&program.address).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    }
    program.says("the TLS handshake failed");
    program.signal(Signal::TERM);
    let ended = program.end();
    // At most one a second and worker; the test takes less than the ten seconds that would make it twenty.
    assert!(ended.stderr.matches("the TLS handshake failed").count() < 20, "{}", ended.stderr);
}

#[test]
fn one_line_says_that_there_are_too_many_connections() {
    let config = in_front_of(NO_APP, "", "").replace("[server]", "[server]\nmax_connections = 1");
    let program = Program::run(&config);
    let mut first = Client::connect(&program.address);
    assert_eq!(first.get("/events", "").response().status, 401);
    for _ in 0..20 {
        Client::connect(&program.address).closed();
    }
    program.says("there are max_connections");
    program.signal(Signal::TERM);
    drop(first);
    let ended = program.end();
    assert!(ended.stderr.matches("there are max_connections").count() < 20, "{}", ended.stderr);
}

#[test]
fn one_line_says_that_publications_are_refused_and_nothing_of_what_is_in_them() {
    let program = Program::run(&in_front_of(NO_APP, "", ""));
    for _ in 0..20 {
        let answer =
            publish(&program.publish_socket(), r#"{"user": "42", "data": "sesame", "event": "a\nb"}"#);
        assert_eq!(answer["error"], "invalid_publication");
    }
    let socket = format!("unix:{}", program.publish_socket().display());
    let mut client = Client::connect(&socket);
    let answer = client.post("/publish", "Connection: close\r\n", "{\"data\": \"sesame\"");
    assert_eq!(answer.response().status, 400);
    program.says("publications are refused");
    program.signal(Signal::TERM);
    let ended = program.end();
    let lines = ended.stderr.matches("publications are refused").count();
    assert!(lines < 20 && !ended.stderr.contains("sesame"), "{}", ended.stderr);
}
