//! `sidestream health`: what a container's check learns of a server that is there, ill, or gone.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Running, lines, run, sidestream};
use crate::support::SECRET;

#[test]
fn a_server_that_runs_is_well_and_one_that_has_ended_is_not() {
    let folder = TempDir::new().unwrap();
    let no_answer = || {
        let (code, stdout, stderr) = run(folder.path(), &["health"]);
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.starts_with("error: no answer from unix:./sidestream.sock: "), "{stderr}");
        assert!(stderr.contains("help: is the server running"), "{stderr}");
    };
    no_answer();
    let flags = ["--upstream", "http://127.0.0.1:9", "--jwt-secret", SECRET, "--listen", "127.0.0.1:0"];
    let mut running = Running::start(sidestream(folder.path(), &flags));
    let mut log = lines(running.0.stderr.take().unwrap());
    assert!(log.any(|line| line.contains("publish socket open")));
    let (code, stdout, stderr) = run(folder.path(), &["health"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("{\"status\":\"ok\","), "{stdout}");
    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(0));
    no_answer();
}

#[test]
fn an_answer_that_is_not_200_is_no_health() {
    let folder = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("http://{}/readyz", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let length = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"draining\"}").unwrap();
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let (code, stdout, stderr) = run(folder.path(), &["health", &place]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(stderr, format!("error: {place} is not well: status 503: {{\"status\":\"draining\"}}\n"));
    assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.1\r\n"));
}
