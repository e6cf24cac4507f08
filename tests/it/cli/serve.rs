//! `sidestream run` as a process: from flags alone, and how signals end it.

use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Running, get, lines, run, sidestream};
use crate::support::{App, Client, SECRET};

/// Starts `run` from flags alone and returns it with its origin and its log.
fn from_flags(folder: &TempDir, app: &App) -> (Running, String, impl Iterator<Item = String> + use<>) {
    let flags = ["--upstream", &app.origin(), "--jwt-secret", "env:JWT_SECRET", "--listen", "127.0.0.1:0"];
    let mut command = sidestream(folder.path(), &flags);
    command.env("JWT_SECRET", SECRET);
    let mut running = Running::start(command);
    let mut log = lines(running.0.stderr.take().unwrap());
    // The access log goes to stdout, which must not fill.
    drop(running.lines());
    let line = log.by_ref().find(|line| line.contains("listening")).unwrap();
    let address = line.split('"').nth(1).unwrap_or_else(|| panic!("no address in {line}"));
    (running, format!("http://{address}"), log)
}

#[test]
fn flags_alone_are_enough() {
    let folder = TempDir::new().unwrap();
    let app = App::that_says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    let (mut running, origin, mut log) = from_flags(&folder, &app);
    assert!(get(&origin, "/").ends_with("\r\n\r\nhello"));

    let token = run(folder.path(), &["token", "--user", "42", "--secret", SECRET]).1;
    let url = format!("{origin}/events");
    let mut listening =
        Running::start(sidestream(folder.path(), &["listen", &url, "--once", "--token", token.trim()]));
    let mut events = listening.lines();
    // Nothing is said before the first event, so it is asked for until somebody was there to get it.
    let publish = || run(folder.path(), &["publish", "--user", "42", "--data", "\"hi\""]);
    loop {
        let (code, reply, stderr) = publish();
        assert_eq!(code, 0, "{stderr}");
        if reply.contains("\"delivered\":1") {
            break;
        }
    }
    assert!(events.next().unwrap().ends_with("\"event\":\"message\",\"data\":\"hi\"}"));

    // The first signal would move the stream on within ten seconds; the second does not wait for that.
    running.signal(Signal::TERM);
    assert!(log.any(|line| line.contains("SIGTERM")));
    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(0));
    assert_eq!(listening.end().0, Some(0));
    assert!(!folder.path().join("sidestream.sock").exists(), "the publish socket is left behind");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = TempDir::new().unwrap();
    // It reads requests and never answers.
    let app = App::start(|mut client| while client.try_head().is_some() {});
    let (mut running, origin, mut log) = from_flags(&folder, &app);
    let mut client = Client::connect(origin.strip_prefix("http://").unwrap());
    client.get("/", "");
    while app.connections() == 0 {
        thread::yield_now();
    }
    running.signal(Signal::INT);
    assert!(log.any(|line| line.contains("stopping")));
    running.signal(Signal::TERM);
    assert!(log.any(|line| line.contains("ending at once")));
    assert_eq!(running.code(), Some(0));
}
