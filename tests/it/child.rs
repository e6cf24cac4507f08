//! `sidestream run -- COMMAND`: the app as a child of the server.

use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;

use crate::support::program::command;
use crate::support::{App, Client, NO_APP, Program, SECRET, in_front_of};

/// The command that runs a configuration with an app of these words.
fn with(folder: &std::path::Path, config: &str, words: &[&str]) -> Command {
    let mut command = command(folder, config);
    command.arg("--").args(words);
    command
}

/// Runs a configuration with a shell's script as the app.
fn run(config: &str, script: &str) -> Program {
    let folder = tempfile::tempdir().unwrap();
    let command = with(folder.path(), config, &["sh", "-c", script]);
    Program::start(folder, command)
}

#[test]
fn the_app_is_told_where_it_is_expected_and_its_end_is_ours() {
    let config = in_front_of("http://127.0.0.1:8123", "", "");
    for (end, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let script = format!("echo \"$PORT $SIDESTREAM_SOCKET $LISTEN_FDS$NOTIFY_SOCKET\"; {end}");
        let folder = tempfile::tempdir().unwrap();
        let mut command = with(folder.path(), &config, &["sh", "-c", &script]);
        command.env("NOTIFY_SOCKET", "/nonexistent").env("LISTEN_FDS", "1");
        let socket = folder.path().canonicalize().unwrap().join("publish.sock");
        let program = Program::start(folder, command);
        let ended = program.end();
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert_eq!(ended.stdout.trim_end(), format!("8123 {}", socket.display()));
        assert!(ended.stderr.contains("the app has ended"), "{}", ended.stderr);
        assert!(!socket.exists());
    }
}

#[test]
fn an_app_that_cannot_be_started_is_said() {
    let config = in_front_of(NO_APP, "", "");
    for (word, code, why) in [
        ("no-such-command", 127, "cannot start `no-such-command`: No such file"),
        ("./sidestream.toml", 126, "cannot start `./sidestream.toml`: Permission denied"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ended = with(folder.path(), &config, &[word]).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert!(said.contains(why) && said.contains("help: "), "{said}");
        assert!(!folder.path().join("publish.sock").exists(), "it is left behind");
    }
}

/// A server that tells when it has a request, and answers when it is told to.
fn held() -> (App, Receiver<()>, SyncSender<()>) {
    let (tell, asked) = sync_channel(1);
    let (answer, told) = sync_channel::<()>(1);
    let told = Arc::new(Mutex::new(told));
    let app = App::start(move |mut client| {
        while client.try_head().is_some() {
            tell.send(()).unwrap();
            // The test has ended if nobody tells.
            if told.lock().unwrap().recv().is_err() {
                return;
            }
            if client.try_send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").is_err() {
                return;
            }
        }
    });
    (app, asked, answer)
}

/// A script that says when it is asked to end, and then ends with this code.
fn says_when_asked(code: u8) -> String {
    format!("trap 'echo asked >&2; exit {code}' TERM; echo up >&2; while :; do sleep 0.05; done")
}

#[test]
fn the_app_is_asked_to_end_behind_the_last_answer() {
    let (app, asked, answer) = held();
    let config = in_front_of(&app.origin(), "", "").replace("\"3s\"", "\"60s\"");
    for signal in [Signal::TERM, Signal::INT] {
        let program = run(&config, &says_when_asked(5));
        program.says("up");
        let mut client = Client::connect(&program.address);
        client.get("/slow", "");
        asked.recv().unwrap();
        // It has nothing open when it is let go: the drain has begun.
        let mut idle = Client::connect(&program.address);
        assert_eq!(idle.get("/events", "").response().status, 401);
        program.signal(signal);
        idle.closed();
        assert!(!program.said().contains("asked"), "before the answer");
        answer.send(()).unwrap();
        assert_eq!(client.response().text(), "done");
        assert!(!program.said().contains("asked"), "before the answer was taken");
        drop((client, idle));
        let ended = program.end();
        assert_eq!(ended.code, Some(5), "{}", ended.stderr);
        assert!(ended.stderr.contains("asked"), "{}", ended.stderr);
    }
}

#[test]
fn an_app_that_ends_by_our_signal_has_done_what_it_should() {
    let program = run(&in_front_of(NO_APP, "", ""), "echo up >&2; exec sleep 600");
    program.says("up");
    program.signal(Signal::TERM);
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn an_app_that_does_not_end_is_killed() {
    let deaf = "trap '' TERM; echo up >&2; while :; do sleep 0.05; done";
    let program = run(&in_front_of(NO_APP, "", "").replace("\"3s\"", "\"100ms\""), deaf);
    program.says("up");
    program.signal(Signal::TERM);
    let ended = program.end();
    assert_eq!(ended.code, Some(137), "{}", ended.stderr);
    assert!(ended.stderr.contains("killing the app"), "{}", ended.stderr);

    // A second signal does not wait for that.
    let program = run(&in_front_of(NO_APP, "", "").replace("\"3s\"", "\"1h\""), deaf);
    program.says("up");
    program.signal(Signal::TERM);
    program.says("stopping; a second signal");
    program.signal(Signal::TERM);
    assert_eq!(program.end().code, Some(137));
}

#[test]
fn an_app_is_not_left_behind_by_a_terminal_that_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app"), says_when_asked(5)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidestream"));
    command.args(["run", "--upstream", NO_APP, "--jwt-secret", SECRET, "--listen", "127.0.0.1:0", "--"]);
    command.args(["sh", "app"]).current_dir(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = Program::start(folder, command);
    program.says("up");
    program.signal(Signal::HUP);
    assert_eq!(program.end_with("app").0.code, Some(5));
}
