//! A Redis of this tool's own: a process with a port and a folder, which may be broken in any way.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::{Cmd, Connection, FromRedisValue};
use rustix::process::{Pid, Signal, kill_process};

/// Where Redis keeps its append-only file, in its folder.
const KEPT: &str = "appendonlydir";

/// How long it may take to answer. It may be stopped meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Redis that writes everything to its disk before it answers. Killed, and waited for, when it is dropped.
pub(super) struct Server {
    pub(super) address: String,
    port: u16,
    folder: PathBuf,
    child: Child,
}

impl Server {
    /// Starts one in a new folder, and waits until it answers.
    pub(super) fn start(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = spawn(port, &folder)?;
        let server = Self { address: format!("127.0.0.1:{port}"), port, folder, child };
        server.wait()?;
        Ok(server)
    }

    /// Kills it where it stands.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again, and waits until it answers.
    pub(super) fn start_again(&mut self) -> io::Result<()> {
        self.child = spawn(self.port, &self.folder)?;
        self.wait()
    }

    /// Forgets all it has kept, while it is down.
    pub(super) fn forget(&self) -> io::Result<()> {
        fs::remove_dir_all(self.folder.join(KEPT))
    }

    /// Copies what it has kept by now.
    pub(super) fn copy_kept(&self) -> io::Result<()> {
        let (from, to) = (self.folder.join(KEPT), self.folder.join("older"));
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Goes back to the copy, while it is down.
    pub(super) fn go_back(&self) -> io::Result<()> {
        self.forget()?;
        fs::rename(self.folder.join("older"), self.folder.join(KEPT))
    }

    /// Lets it do nothing, and go on.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Runs a command.
    pub(super) fn run<T: FromRedisValue>(&self, command: &[&str]) -> io::Result<T> {
        let mut cmd = Cmd::new();
        cmd.arg(command);
        cmd.query(&mut self.connect()?).map_err(io::Error::other)
    }

    /// Waits until what it says of itself holds this.
    pub(super) fn wait_for(&self, words: &str) -> io::Result<()> {
        let begun = Instant::now();
        while !self.run::<String>(&["INFO"])?.contains(words) {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("Redis never says {words}")));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn connect(&self) -> io::Result<Connection> {
        let client = redis::Client::open(format!("redis://{}", self.address)).map_err(io::Error::other)?;
        let connection = client.get_connection_with_timeout(PATIENCE).map_err(io::Error::other)?;
        connection.set_read_timeout(Some(PATIENCE)).map_err(io::Error::other)?;
        Ok(connection)
    }

    fn wait(&self) -> io::Result<()> {
        let begun = Instant::now();
        // While it reads its file it answers with an error.
        while let Err(error) = self.run::<String>(&["PING"]) {
            if begun.elapsed() > PATIENCE {
                return Err(error);
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It fails when it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &Path) -> io::Result<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "yes"]);
    command.args(["--repl-diskless-sync-delay", "0"]);
    command.arg("--dir").arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| io::Error::other(format!("redis-server cannot be started: {error}")))
}
