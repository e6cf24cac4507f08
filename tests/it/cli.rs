//! The commands as a shell sees them: what they print, where, and their exit codes.

mod demo;
mod explain;
mod health;
mod listen;
mod publish;
mod serve;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::PATIENCE;

fn sidestream(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidestream"));
    command.args(args).current_dir(folder).env_remove("JWT_SECRET").stdin(Stdio::null());
    command
}

fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = sidestream(folder, args).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A running command, ended when the test ends.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        lines(self.0.stdout.take().unwrap())
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The exit code, once it has ended.
    fn code(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "the command does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The exit code, and what was written to stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.code();
        let mut stderr = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (code, stderr)
    }
}

/// The lines of an output, each waited for with an end.
fn lines(output: impl Read + Send + 'static) -> impl Iterator<Item = String> {
    let (sender, receiver) = mpsc::channel();
    // It ends with the output, whether or not anybody still reads the lines.
    thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
    });
    iter::from_fn(move || match receiver.recv_timeout(PATIENCE) {
        Ok(line) => Some(line),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("no further line, and no end"),
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        // It fails when the command has ended, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn help_and_version_go_to_stdout_and_usage_errors_to_stderr() {
    let folder = TempDir::new().unwrap();
    let (code, stdout, stderr) = run(folder.path(), &["--help"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for command in ["run", "demo", "check", "publish", "listen", "token", "health"] {
        assert!(stdout.contains(&format!("\n  {command} ")), "{command} in {stdout}");
    }
    assert!(stdout.contains("Examples:"));
    assert_eq!(run(folder.path(), &["--version"]).1, concat!("sidestream ", env!("CARGO_PKG_VERSION"), "\n"));
    let (code, stdout, stderr) = run(folder.path(), &["publish", "--data", "x"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("--user"), "{stderr}");
}

#[test]
fn run_without_a_file_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    for args in [&[][..], &["run"]] {
        let (code, stdout, stderr) = run(folder.path(), args);
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.starts_with("error: there is no sidestream.toml in this folder\n"), "{stderr}");
        assert!(stderr.contains("--upstream"), "{stderr}");
    }
}

#[test]
fn check_shows_the_routing_table_or_the_mistakes() {
    let folder = TempDir::new().unwrap();
    let write = |text: &str| fs::write(folder.path().join("sidestream.toml"), text).unwrap();
    let good = "\
[[listen]]
address = \"127.0.0.1:8080\"
[upstreams.app]
servers = [\"http://127.0.0.1:8000\"]
[[route]]
path = \"/\"
proxy = { upstream = \"app\" }
[[route]]
path = \"/events\"
stream = { auth = [] }
";
    write(good);
    let (code, stdout, stderr) = run(folder.path(), &["check"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("sidestream.toml: ok\n"), "{stdout}");
    for part in ["127.0.0.1:8080", "/events", "proxy", "app (http://127.0.0.1:8000)"] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }

    write(&good.replace("address", "adress"));
    let (code, stdout, stderr) = run(folder.path(), &["check", "--config", "sidestream.toml"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("sidestream.toml:2:1"), "{stderr}");
    assert!(stderr.contains("did you mean `address`"), "{stderr}");
}

#[test]
fn token_prints_the_token_alone_and_never_the_secret() {
    let folder = TempDir::new().unwrap();
    let secret = "not to be printed, at any time";
    let output =
        sidestream(folder.path(), &["token", "--user", "42"]).env("JWT_SECRET", secret).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let token = String::from_utf8(output.stdout).unwrap();
    assert_eq!(token.lines().count(), 1);
    assert_eq!(token.split('.').count(), 3);

    let (code, stdout, stderr) = run(folder.path(), &["token", "--user", "42"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("JWT_SECRET"), "{stderr}");
    let (code, _, stderr) = run(folder.path(), &["token", "--user", "a b", "--secret", secret]);
    assert_eq!(code, 1);
    assert!(!stderr.contains(secret), "{stderr}");
}

#[test]
fn a_closed_stdout_is_no_error() {
    let folder = TempDir::new().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command =
        sidestream(folder.path(), &["token", "--user", "1", "--secret", "sixteen bytes or more"]);
    let output = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

/// The whole answer to a GET on a connection of its own.
fn get(origin: &str, path: &str) -> String {
    let host = origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
