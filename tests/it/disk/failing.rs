//! A disk that fails, a store that cannot be had, and one that is damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::{client, on_disk, publish_to};
use crate::support::program::command;
use crate::support::{PATIENCE, Program, Subscriber};

pub(super) fn journal(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder.join("store")).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "jnl")).max().unwrap()
}

fn health(program: &Program) -> (u16, Value) {
    let mut client = crate::support::Client::connect(&format!("unix:{}", program.publish_socket().display()));
    client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let response = client.response();
    (response.status, serde_json::from_str(&response.text()).unwrap())
}

/// Asks again until it is so.
fn at_last<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < 2 * PATIENCE, "it never is so");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_disk_that_takes_no_more_loses_nothing_and_needs_no_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = on_disk(&folder, "");
    let program = Program::run(&config);
    let start = publish_to(&program, r#"{"user": 42, "data": "start"}"#);
    program.signal(Signal::TERM);
    assert_eq!(program.end().code, Some(0));

    let program = Program::run_with_small_files(&config);
    let mut live = Subscriber::resume(client(&program), "42", start["id"].as_str().unwrap());
    let size = fs::metadata(journal(folder.path())).unwrap().len();
    program.limit_files(Some(size + 50_000));
    let text = "x".repeat(1000);
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for number in 0.. {
        // Two at once: both or none.
        let line = |part| format!(r#"{{"user": 42, "data": "{number}{part} {text}"}}"#);
        let mut publisher =
            crate::support::Client::connect(&format!("unix:{}", program.publish_socket().display()));
        let body = format!("[{},{}]", line("a"), line("b"));
        publisher.send(format!(
            "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let response = publisher.response();
        if response.status == 200 {
            acknowledged.extend([format!("{number}a"), format!("{number}b")]);
        } else {
            assert_eq!(response.status, 503, "{}", response.text());
            assert!(response.head.to_ascii_lowercase().contains("\r\nretry-after: "), "{}", response.head);
            refused += 1;
        }
        // Some of them after the first that it did not take.
        if refused >= 20 {
            break;
        }
    }
    assert!(acknowledged.len() > 20);
    // A line is refused in its place.
    let line = at_last(|| {
        let reply = publish_to(&program, &format!(r#"{{"user": 42, "data": "{}"}}"#, "y".repeat(100_000)));
        reply["error"].is_string().then_some(reply)
    });
    assert_eq!(line["error"], "unavailable", "{line}");
    at_last(|| {
        let _ = publish_to(&program, &format!(r#"{{"user": 42, "data": "{}"}}"#, "y".repeat(100_000)));
        (health(&program).0 == 503).then_some(())
    });

    program.limit_files(None);
    let last = at_last(|| {
        let reply = publish_to(&program, r#"{"user": 42, "data": "last"}"#);
        reply["id"].is_string().then_some(reply)
    });
    let (status, said) = health(&program);
    assert_eq!((status, &said["status"]), (200, &Value::from("ok")));
    let expected: Vec<String> = acknowledged.iter().cloned().chain(["last".to_owned()]).collect();
    let short = |data: String| data.split(' ').next().unwrap().to_owned();
    let seen: Vec<_> = expected.iter().map(|_| short(live.data())).collect();
    assert_eq!(seen, expected);
    program.signal(Signal::TERM);
    let ended = program.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("the store does not take writes").count(), 1, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("the store takes writes again").count(), 1, "{}", ended.stderr);

    // And none of what was refused is there after a restart.
    let program = Program::run(&config);
    let mut back = Subscriber::resume(client(&program), "42", start["id"].as_str().unwrap());
    let seen: Vec<_> = expected.iter().map(|_| short(back.data())).collect();
    assert_eq!(seen, expected);
    assert_eq!(back.last_id, last["id"].as_str().unwrap());
}

#[test]
fn a_store_that_cannot_be_had_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = on_disk(&folder, "");
    let refused = |path: &str| {
        let own = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let config = config.replace(store.to_str().unwrap(), path);
        let output = command(own.path(), &config).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let store = folder.path().join("store");
    let store = store.to_str().unwrap();
    let first = Program::run(&config);
    let said = refused(store);
    assert!(
        said.contains(store) && said.contains("is in use by another process; give each its own"),
        "{said}"
    );
    drop(first);

    fs::write(folder.path().join("store/version"), b"FJL\x09").unwrap();
    let said = refused(store);
    assert!(said.contains("was written by a newer version; run that one, or give another"), "{said}");
    assert!(!folder.path().join("store/damaged").exists(), "what is newer is left as it is");

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let within = file.join("store");
    // The system lets nobody write to the last, whoever runs this.
    for path in [file.to_str().unwrap(), within.to_str().unwrap(), "/proc/1/sidestream", "/sys/kernel"] {
        let said = refused(path);
        assert!(
            said.contains(&format!("cannot write to the store {path}: "))
                && said.contains("it must be a folder that this user may write to"),
            "{said}"
        );
    }
}

#[test]
fn a_damaged_store_is_set_aside_and_clients_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = on_disk(&folder, "");
    let program = Program::run(&config);
    let first = publish_to(&program, r#"{"user": 42, "data": "one"}"#);
    publish_to(&program, r#"{"user": 42, "data": "two"}"#);
    program.signal(Signal::TERM);
    assert_eq!(program.end().code, Some(0));
    fs::write(folder.path().join("store/keyspaces/0/current"), "").unwrap();

    let program = Program::run(&config);
    let mut back = Subscriber::resume(client(&program), "42", first["id"].as_str().unwrap());
    let reset = back.event();
    assert_eq!((&*reset.event, reset.data.as_deref()), ("reset", Some(r#"{"reason": "new-epoch"}"#)));
    assert_eq!(publish_to(&program, r#"{"user": 42, "data": "three"}"#)["delivered"], 1);
    assert_eq!(back.data(), "three");
    program.signal(Signal::TERM);
    let said = program.end().stderr;
    assert!(said.contains("has been set aside") && said.contains("store/damaged"), "{said}");
    assert!(folder.path().join("store/damaged/keyspaces").is_dir());
}

#[test]
fn a_history_that_lost_its_end_begins_a_new_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let config = on_disk(&folder, "");
    let program = Program::run(&config);
    let id = |reply: Value| reply["id"].as_str().unwrap().to_owned();
    let first = id(publish_to(&program, r#"{"user": 42, "data": "one"}"#));
    let second = id(publish_to(&program, &format!(r#"{{"user": 42, "data": "{}"}}"#, "x".repeat(5000))));
    program.signal(Signal::KILL);
    program.end();
    let path = journal(folder.path());
    let bytes = fs::read(&path).unwrap();
    let inside = bytes.windows(100).position(|bytes| bytes == [b'x'; 100]).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(inside as u64 + 50).unwrap();

    let program = Program::run(&config);
    let mut back = Subscriber::resume(client(&program), "42", &first);
    let reset = back.event();
    assert_eq!((&*reset.event, reset.data.as_deref()), ("reset", Some(r#"{"reason": "new-epoch"}"#)));
    assert_ne!(id(publish_to(&program, r#"{"user": 42, "data": "three"}"#)), second);
    program.signal(Signal::TERM);
    let said = program.end().stderr;
    assert!(said.contains("a new epoch begins") && said.contains("cut off"), "{said}");
}
