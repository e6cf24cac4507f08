//! A store on disk: history goes on over every end of the process, and what is acknowledged has been kept.

mod crash;
mod failing;
mod power;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{NO_APP, Program, Said, Subscriber, in_front_of, publish};

/// A configuration whose store is in a folder that outlives the program's own.
fn on_disk(folder: &tempfile::TempDir, more: &str) -> String {
    let store =
        format!("[store]\nkind = \"disk\"\npath = \"{}\"\n{more}", folder.path().join("store").display());
    in_front_of(NO_APP, "allow = [\"c*\"]", &store)
}

fn publish_to(program: &Program, text: &str) -> serde_json::Value {
    publish(&program.publish_socket(), text)
}

fn client(program: &Program) -> crate::support::Client {
    crate::support::Client::connect(&program.address)
}

#[test]
fn ids_go_on_over_a_restart_and_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    for sync in ["always", "interval"] {
        let config = on_disk(&folder, &format!("sync = \"{sync}\"\n"));
        let program = Program::run(&config);
        let mut live = Subscriber::of(client(&program), "42");
        let start = live.last_id.clone();
        let one = publish_to(&program, r#"{"user": 42, "data": "one", "key": "k"}"#);
        assert_eq!(one["delivered"], 1, "{one}");
        let one_said = live.event();
        assert_eq!(one_said.id.as_deref(), one["id"].as_str());
        program.signal(Signal::TERM);
        assert_eq!(program.end().code, Some(0));

        let program = Program::run(&config);
        let mut back = Subscriber::resume(client(&program), "42", &start);
        assert_eq!(back.event(), one_said);
        let two = publish_to(&program, r#"{"user": 42, "data": "two"}"#);
        assert_eq!(back.data(), "two");
        program.signal(Signal::KILL);
        assert_eq!(program.end().code, None);

        let program = Program::run(&config);
        let mut back = Subscriber::resume(client(&program), "42", &start);
        assert_eq!([back.data(), back.data()], ["one", "two"]);
        // The key is known still, and so is the answer.
        assert_eq!(publish_to(&program, r#"{"user": 42, "data": "one", "key": "k"}"#), one);
        let other = publish_to(&program, r#"{"user": 42, "data": "other", "key": "k"}"#);
        assert_eq!(other["error"], "key_reused");
        let batch = publish_to(&program, r#"{"users": [42, 43], "data": "three"}"#);
        let expected = Said {
            id: batch["id"].as_str().map(str::to_owned),
            event: String::new(),
            data: Some("three".to_owned()),
        };
        assert_eq!(back.event(), expected);
        assert_ne!(two["id"], batch["id"]);
        program.signal(Signal::TERM);
        assert_eq!(program.end().code, Some(0));
        std::fs::remove_dir_all(folder.path().join("store")).unwrap();
    }
}

#[test]
fn a_batch_and_lines_are_kept_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::run(&on_disk(&folder, ""));
    let mut reader = Subscriber::of(client(&program), "42");
    let lines: Vec<_> = (0..500).map(|n| format!(r#"{{"user": 42, "data": "{n}"}}"#)).collect();
    let socket = format!("unix:{}", program.publish_socket().display());
    let mut publisher = crate::support::Client::connect(&socket);
    let request = |body: &str, kind: &str| {
        format!(
            "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    publisher.send(request(&lines.join("\n"), "application/x-ndjson"));
    let replies = publisher.response().text();
    assert_eq!(replies.lines().filter(|line| line.contains("\"delivered\":1")).count(), 500, "{replies}");
    publisher.send(request(&format!("[{}]", lines.join(",")), "application/json"));
    let replies: serde_json::Value = serde_json::from_str(&publisher.response().text()).unwrap();
    assert_eq!(replies.as_array().unwrap().len(), 500);
    assert_eq!(replies[0]["delivered"], json!(1));
    for expected in (0..500).chain(0..500) {
        assert_eq!(reader.data(), expected.to_string());
    }
}
