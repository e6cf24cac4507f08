//! `sidestream demo`, the whole of it.

use std::fs;
use std::net::TcpListener;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Running, get, run, sidestream};

#[test]
fn demo_serves_its_page_its_streams_and_its_lines_to_copy() {
    let folder = TempDir::new().unwrap();
    let mut command = sidestream(folder.path(), &["demo", "--listen", "127.0.0.1:0"]);
    command.env("TMPDIR", folder.path());
    let mut demo = Running::start(command);
    let mut lines = demo.lines();
    let text: Vec<String> = lines.by_ref().take_while(|line| !line.starts_with("Ctrl-C")).collect();
    let after = |start: &str, end: char| {
        let found =
            text.iter().find_map(|line| line.split_once(start)?.1.split(end).next().map(str::to_owned));
        found.unwrap_or_else(|| panic!("no {start:?} in {text:#?}"))
    };
    let (origin, url, socket) = (after("open ", ' '), after("curl -N '", '\''), after("--socket ", ' '));
    assert!(url.starts_with(&format!("{origin}/events?token=")));

    let page = get(&origin, "/");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<title>Sidestream demo</title>"), "{page}");
    let facts = get(&origin, "/api/demo");
    assert!(facts.contains("\"streams_held\":0") && facts.contains("x-forwarded-for"), "{facts}");

    let mut listening = Running::start(sidestream(folder.path(), &["listen", &url, "--once"]));
    let mut events = listening.lines();
    // The stream is open once its first event is there.
    assert!(events.next().unwrap().contains("\"event\":\"hello\""));
    let publish = [
        "publish",
        "--socket",
        &socket,
        "--user",
        "ana",
        "--event",
        "notification",
        "--data",
        "{\"title\":\"x\"}",
    ];
    let (code, reply, stderr) = run(folder.path(), &publish);
    assert_eq!(code, 0, "{stderr}");
    assert!(reply.contains("\"delivered\":1"), "{reply}");
    assert!(events.next().unwrap().contains("\"event\":\"notification\",\"data\":{\"title\":\"x\"}"));

    demo.signal(Signal::TERM);
    assert_eq!(demo.end(), (Some(0), String::new()));
    assert_eq!(listening.end().0, Some(0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something is left behind");
}

#[test]
fn a_port_in_use_is_exit_code_1_and_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = sidestream(folder.path(), &["demo", "--listen", &address]);
    let (code, stderr) = Running::start({
        command.env("TMPDIR", folder.path());
        command
    })
    .end();
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&address) && stderr.contains("demo --listen 127.0.0.1:8081"), "{stderr}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something is left behind");
}
