//! The program itself, as a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use super::PATIENCE;

/// A running `sidestream run`. Killed, and waited for, when it is dropped.
pub(crate) struct Program {
    pub(crate) folder: TempDir,
    /// Its first listener.
    pub(crate) address: String,
    child: Child,
    /// What it has said so far, line by line.
    said: Arc<Mutex<String>>,
    stderr: Option<JoinHandle<()>>,
    stdout: Option<JoinHandle<String>>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The command that runs a configuration, which it writes into the folder.
pub(crate) fn command(folder: &Path, config: &str) -> Command {
    std::fs::write(folder.join("sidestream.toml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidestream"));
    command.args(["run", "--config", "sidestream.toml"]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Program {
    /// Runs a configuration and waits until it listens.
    pub(crate) fn run(config: &str) -> Self {
        Self::run_in(tempfile::tempdir().unwrap(), config)
    }

    /// The same, in a folder that has been prepared.
    pub(crate) fn run_in(folder: TempDir, config: &str) -> Self {
        let command = command(folder.path(), config);
        Self::start(folder, command)
    }

    /// The same, but a file that is too large is an error and not its end, as under a shell that says so.
    pub(crate) fn run_with_small_files(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plain = command(folder.path(), config);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(plain.get_program())
            .args(plain.get_args());
        shell.current_dir(folder.path());
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start(folder, shell)
    }

    /// The same, by another command.
    pub(crate) fn start(folder: TempDir, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let from = said.len();
            assert!(stderr.read_line(&mut said).unwrap() > 0, "it ended: {said}");
            if let Some((_, after)) = said[from..].split_once("address=\"") {
                break after.split('"').next().unwrap().to_owned();
            }
        };
        let said = Arc::new(Mutex::new(said));
        let so_far = said.clone();
        let stderr = std::thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).unwrap() > 0 {
                so_far.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        Self { folder, address, child, said, stderr: Some(stderr), stdout: Some(stdout) }
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said something.
    pub(crate) fn says(&self, what: &str) {
        let begun = Instant::now();
        while !self.said().contains(what) {
            assert!(begun.elapsed() < PATIENCE, "no {what:?} in {}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its number.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for its end, be there others in its place or not.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Lets its files grow to so many bytes from now on.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Fsize, limit).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> Ended {
        self.end_with("sidestream.toml").0
    }

    /// Waits for its end; returns a file of its folder too.
    pub(crate) fn end_with(mut self, file: &str) -> (Ended, String) {
        let code = self.wait();
        self.stderr.take().unwrap().join().unwrap();
        let stdout = self.stdout.take().unwrap().join().unwrap();
        let ended = Ended { code, stdout, stderr: self.said() };
        (ended, std::fs::read_to_string(self.folder.path().join(file)).unwrap())
    }

    /// The publish socket, if the configuration names it `publish.sock`.
    pub(crate) fn publish_socket(&self) -> PathBuf {
        self.folder.path().join("publish.sock")
    }

    /// Has it read another configuration, and waits for what it says of it: one line more of this kind.
    pub(crate) fn reload(&self, config: &str, says: &str) {
        let count = || self.said().matches(says).count();
        let before = count();
        std::fs::write(self.folder.path().join("sidestream.toml"), config).unwrap();
        self.signal(Signal::HUP);
        let begun = Instant::now();
        while count() == before {
            assert!(begun.elapsed() < PATIENCE, "no {says:?} more in {}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How many files it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// How much memory it has, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It fails when the program has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
