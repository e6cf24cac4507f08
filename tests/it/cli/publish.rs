//! `sidestream publish`, against sockets that answer by hand.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::{Running, run, sidestream};
use crate::support::port::leave_stale;

#[test]
fn publish_sends_one_line_and_prints_the_reply() {
    let folder = TempDir::new().unwrap();
    let served = publish_socket(folder.path(), "{\"id\":\"e-1\",\"delivered\":3}\n");
    let data = "{\n\"title\": \"hi\"}";
    let args = ["publish", "--user", "42", "--user", "43", "--event", "note", "--key", "k", "--data", data];
    let (code, stdout, stderr) = run(folder.path(), &args);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "{\"id\":\"e-1\",\"delivered\":3}\n", ""));
    let line = served.join().unwrap();
    let sent: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        sent,
        serde_json::json!({"users": ["42", "43"], "event": "note", "key": "k", "data": {"title": "hi"}})
    );
}

#[test]
fn publish_reads_stdin() {
    let folder = TempDir::new().unwrap();
    let served = publish_socket(folder.path(), "{\"id\":\"e-1\",\"delivered\":0}\n");
    let mut command = sidestream(folder.path(), &["publish", "--channel", "all", "--data", "-"]);
    let mut running = Running::start({
        command.stdin(Stdio::piped());
        command
    });
    running.0.stdin.take().unwrap().write_all(b"two\nlines\n").unwrap();
    assert_eq!(running.end(), (Some(0), String::new()));
    assert_eq!(served.join().unwrap(), "{\"channels\":[\"all\"],\"data\":\"two\\nlines\"}\n");
}

#[test]
fn a_refused_publication_is_exit_code_1_with_the_servers_words() {
    let folder = TempDir::new().unwrap();
    let refusal = "{\"error\":\"invalid_publication\",\"field\":\"event\",\"message\":\"is reserved\"}\n";
    let served = publish_socket(folder.path(), refusal);
    let (code, stdout, stderr) =
        run(folder.path(), &["publish", "--user", "42", "--event", "open", "--data", "x"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(stderr, "error: the server refused it: invalid_publication, field `event`: is reserved\n");
    served.join().unwrap();
}

#[test]
fn publish_tells_a_missing_socket_from_a_dead_one() {
    let folder = TempDir::new().unwrap();
    let publish = || run(folder.path(), &["publish", "--user", "42", "--data", "x"]);
    let (code, _, stderr) = publish();
    assert_eq!(code, 1);
    assert!(stderr.contains("there is no publish socket at ./sidestream.sock"), "{stderr}");

    let socket = folder.path().join("sidestream.sock");
    leave_stale(&socket);
    let (code, _, stderr) = publish();
    assert_eq!(code, 1);
    assert!(stderr.contains("nobody listens at ./sidestream.sock"), "{stderr}");

    fs::remove_file(&socket).unwrap();
    let served = publish_socket(folder.path(), "");
    let (code, _, stderr) = publish();
    assert_eq!(code, 1);
    assert!(stderr.contains("closed ./sidestream.sock without a reply"), "{stderr}");
    served.join().unwrap();
}

/// A publish socket that takes one line and answers with `reply`. The line comes out of the handle.
fn publish_socket(folder: &Path, reply: &'static str) -> JoinHandle<String> {
    let listener = UnixListener::bind(folder.join("sidestream.sock")).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        stream.write_all(reply.as_bytes()).unwrap();
        line
    })
}
