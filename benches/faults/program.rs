//! Sidestream as a process of its own, which may be killed at any time.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::options::{Options, Store, Sync};

/// A running `sidestream run`. Killed, and waited for, when it is dropped.
pub(super) struct Program {
    /// Where its streams are.
    pub(super) address: String,
    child: Child,
    errors: Option<JoinHandle<()>>,
}

/// Where it runs, and how.
pub(super) struct Place {
    folder: tempfile::TempDir,
    binary: PathBuf,
}

impl Place {
    /// A folder with its configuration.
    pub(super) fn prepare(options: &Options) -> io::Result<Self> {
        let store = match options.store {
            Store::Memory => "kind = \"memory\"".to_owned(),
            Store::Disk => {
                let sync = if options.sync == Sync::Always { "always" } else { "interval" };
                format!("kind = \"disk\"\npath = \"store\"\nsync = \"{sync}\"")
            }
        };
        Self::with(options, &store)
    }

    /// The same for a node over a Redis.
    pub(super) fn over_redis(options: &Options, address: &str) -> io::Result<Self> {
        Self::with(options, &format!("kind = \"redis\"\nurl = \"redis://{address}\""))
    }

    fn with(options: &Options, store: &str) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("sidestream.toml"), config(options, store))?;
        let binary = match &options.binary {
            Some(binary) => binary.canonicalize()?,
            None => beside_this_tool()?,
        };
        Ok(Self { folder, binary })
    }

    /// Its publish socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("publish.sock")
    }

    /// The folder of its store.
    pub(super) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Starts it. Where files may not grow any more, it is told so by an error and not by a signal.
    pub(super) fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" run --config sidestream.toml"]).arg(&self.binary);
        command.current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn()
    }

    /// Starts it and waits until it listens.
    pub(super) fn run(&self) -> io::Result<Program> {
        let mut child = self.spawn()?;
        let Some(errors) = child.stderr.take() else { return Err(io::Error::other("no stderr")) };
        let mut errors = BufReader::new(errors);
        let mut said = String::new();
        let address = loop {
            let from = said.len();
            if errors.read_line(&mut said)? == 0 {
                let _ = child.wait();
                return Err(io::Error::other(format!("Sidestream did not start: {said}")));
            }
            if let Some((_, after)) = said[from..].split_once("address=\"") {
                break after.split('"').next().unwrap_or_default().to_owned();
            }
        };
        // It must never wait for us to read what it has to say.
        let errors = std::thread::spawn(move || {
            let mut scratch = [0; 4096];
            while errors.read(&mut scratch).is_ok_and(|read| read > 0) {}
        });
        Ok(Program { address, child, errors: Some(errors) })
    }

    /// The end of what was written to the store's journal.
    pub(super) fn journal_end(&self) -> io::Result<u64> {
        let mut end = 0;
        for entry in std::fs::read_dir(self.store())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "jnl") {
                end = end.max(written(&path)?);
            }
        }
        Ok(end)
    }
}

impl Program {
    /// Ends it where it stands.
    pub(super) fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Asks it to end, and waits for that.
    pub(super) fn drain(mut self, patience: Duration) -> io::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > patience {
                return Err(io::Error::other("Sidestream does not end"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Sets how long its files may become; none is no limit.
    pub(super) fn limit_files(&self, bytes: Option<u64>) -> io::Result<()> {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Fsize, limit)?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It fails when the program has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(errors) = self.errors.take() {
            let _ = errors.join();
        }
    }
}

fn beside_this_tool() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // target/release/examples/faults, or target/debug/deps/it-0123.
    let built = own.parent().and_then(Path::parent).map(|folder| folder.join("sidestream"));
    built.filter(|path| path.exists()).ok_or_else(|| {
        io::Error::other(
            "there is no sidestream beside this tool: build it as this was built, or give --binary",
        )
    })
}

fn config(options: &Options, store: &str) -> String {
    format!(
        "[server]\nworkers = 2\nshutdown_timeout = \"2s\"\n[log]\naccess = \"off\"\nlevel = \"info\"\n\
         [publish]\nsocket = \"publish.sock\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [store]\n{store}\nevents = {}\nage = \"{}s\"\nbytes = \"1GiB\"\nmax_bytes = \"4GiB\"\n\
         [[route]]\npath = \"/events\"\n[route.stream]\nauth = []\nchannels = []\nallow = [\"c*\"]\n\
         backlog = \"16KiB\"\nretry = \"1s\"\n",
        options.history, options.age
    )
}

/// Where the zeros at the end of a file begin.
fn written(path: &Path) -> io::Result<u64> {
    let text = std::fs::read(path)?;
    Ok(text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1))
}
