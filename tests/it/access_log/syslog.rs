//! The access log in the system's log.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;

use super::parse;
use crate::support::{Client, NO_APP, PATIENCE, Program, in_front_of};

fn bind(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn next(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

fn ask(client: &mut Client, n: u32) {
    assert_eq!(client.get(&format!("/events?n={n}"), "").response().status, 401);
}

/// How many lines were lost, as `GET /healthz` says.
fn lost(program: &Program) -> u64 {
    let socket = format!("unix:{}", program.publish_socket().display());
    let health = Client::connect(&socket).get("/healthz", "Connection: close\r\n").response();
    health.json()["log_lines_dropped"].as_u64().unwrap()
}

#[test]
fn each_line_is_a_datagram_and_a_log_that_is_away_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let socket = bind(&path);
    let config = in_front_of(NO_APP, "", "").replace("\"access.log\"", "\"syslog\"\nsyslog = \"log\"");
    let program = Program::run_in(folder, &config);
    let mut client = Client::connect(&program.address);
    for n in 0..3 {
        ask(&mut client, n);
        let datagram = next(&socket);
        let (head, line) = datagram.split_once("]: ").unwrap();
        // `<30>Nov 21 17:03:00 sidestream[42`
        assert!(head.starts_with("<30>") && head.as_bytes()[19..].starts_with(b" sidestream["), "{head}");
        assert_eq!(parse(line)["target"], format!("/events?n={n}"));
        assert!(!line.ends_with('\n'));
    }

    drop(socket);
    std::fs::remove_file(&path).unwrap();
    ask(&mut client, 3);
    program.says("cannot write the access log");
    let socket = bind(&path);
    socket.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
    let begun = Instant::now();
    let mut n = 4;
    let mut buffer = [0; 4096];
    while socket.recv(&mut buffer).is_err() {
        assert!(begun.elapsed() < PATIENCE, "it is not found again");
        ask(&mut client, n);
        n += 1;
    }
    program.says("the access log is written again");
    ask(&mut client, n);
    let begun = Instant::now();
    while lost(&program) == 0 {
        assert!(begun.elapsed() < PATIENCE, "no line is counted");
        ask(&mut client, n);
    }
    drop(client);
    program.signal(Signal::TERM);
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn requests_do_not_wait_for_a_log_that_does_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let _socket = bind(&folder.path().join("log"));
    let config = in_front_of(NO_APP, "", "").replace("\"access.log\"", "\"syslog\"\nsyslog = \"log\"");
    let program = Program::run_in(folder, &config);
    let mut client = Client::connect(&program.address);
    let begun = Instant::now();
    let mut n = 0;
    while lost(&program) == 0 {
        assert!(begun.elapsed() < PATIENCE, "no line is counted after {n}");
        for _ in 0..100 {
            ask(&mut client, n);
            n += 1;
        }
    }
    drop(client);
    program.signal(Signal::TERM);
    let ended = program.end();
    assert_eq!((ended.code, ended.stderr.matches("cannot write the access log").count()), (Some(0), 1));
}
