//! A program and those that came in its place, one after the other.

use std::path::Path;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::support::{PATIENCE, Program};

/// What the old one says then.
const SERVES: &str = "upgrade: the new process serves";

/// Ends all of them when it is dropped.
pub(super) struct Chain {
    pub(super) program: Program,
    /// Those after the first.
    after: Vec<Pid>,
}

impl Chain {
    pub(super) fn run(config: &str) -> Self {
        Self::of(Program::run(config))
    }

    pub(super) fn of(program: Program) -> Self {
        Self { program, after: Vec::new() }
    }

    pub(super) fn address(&self) -> &str {
        &self.program.address
    }

    pub(super) fn folder(&self) -> &Path {
        self.program.folder.path()
    }

    /// The one that is to serve now.
    pub(super) fn newest(&self) -> Pid {
        self.after.last().copied().unwrap_or_else(|| self.program.pid())
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(self.newest(), signal).unwrap();
    }

    /// Has the newest replaced, and waits until the next one serves.
    pub(super) fn upgrade(&mut self) {
        let line = self.after_asking(SERVES);
        self.is_followed(&line);
    }

    /// Waits until a next one serves that has been asked for, the first after this one.
    pub(super) fn taken_over(&mut self) {
        self.program.says(SERVES);
        let said = self.program.said();
        self.is_followed(said.lines().find(|line| line.contains(SERVES)).unwrap());
    }

    fn is_followed(&mut self, line: &str) {
        let pid = line.split_once("pid=").unwrap().1.trim().parse().unwrap();
        self.after.push(Pid::from_raw(pid).unwrap());
    }

    /// Asks for an upgrade; returns the line that says this of it.
    pub(super) fn after_asking(&self, says: &str) -> String {
        let lines = |said: &str| said.lines().filter(|line| line.contains(says)).count();
        let before = lines(&self.program.said());
        self.signal(Signal::USR2);
        let begun = Instant::now();
        loop {
            let said = self.program.said();
            if let Some(line) = said.lines().filter(|line| line.contains(says)).nth(before) {
                return line.to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "no {says:?} more in {said}");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Waits until all but the newest have ended.
    pub(super) fn settle(&mut self) {
        let newest = self.after.pop();
        if newest.is_some() {
            self.program.wait();
        }
        for pid in &self.after {
            gone(*pid);
        }
        self.after = newest.into_iter().collect();
    }

    /// Has the newest end, and waits for it. Says what all of them have said.
    pub(super) fn end(mut self) -> String {
        self.settle();
        self.signal(Signal::TERM);
        match self.after.pop() {
            Some(pid) => gone(pid),
            None => _ = self.program.wait(),
        }
        self.program.said()
    }
}

/// Waits for the end of a process whose parent has ended.
fn gone(pid: Pid) {
    let begun = Instant::now();
    while test_kill_process(pid).is_ok() && !is_zombie(pid) {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Whether it has ended and nobody has asked how: so it is in containers whose first process does not look.
fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, after)| after.starts_with('Z'))
}

impl Drop for Chain {
    fn drop(&mut self) {
        for pid in &self.after {
            // It fails when it has ended.
            let _ = kill_process(*pid, Signal::KILL);
        }
    }
}
