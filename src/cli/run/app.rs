//! The app as a child of `sidestream run -- COMMAND`: for containers of one process, where nobody else looks after it.
//!
//! Invariant: the app is asked to end only after the last connection to it, and it never outlives the server, unless that is
//! killed.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{self, Path};
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal as Kill, WaitOptions, WaitStatus, kill_process, kill_process_group, wait, waitpid,
};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::cli::failure::Failure;
use crate::config::{Action, Config, Origin};
use crate::shutdown::{Signal, Stage, Trigger};
use crate::systemd;

/// What a shell ends with when there is no such command, and when it may not be run.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// What is added to the number of a signal that ended a process.
const BY_SIGNAL: i32 = 128;

/// The app, which runs or has ended.
pub(super) struct App {
    pid: Pid,
    ended: watch::Receiver<Option<Ended>>,
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
struct Ended {
    status: WaitStatus,
    /// Whether the process was on its way out by then.
    is_expected: bool,
}

impl App {
    /// Starts it and has the server drained when it ends. `port` is where it is to listen, `socket` where it publishes.
    pub(super) fn start(
        words: &[OsString],
        (port, socket): (Option<u16>, Option<&Path>),
        (trigger, signal): (Trigger, Signal),
    ) -> Result<Self, Failure> {
        let [program, arguments @ ..] = words else {
            return Err(Failure::new("there is no command after `--`"));
        };
        let mut command = Command::new(program);
        command.args(arguments);
        // Out of the terminal's group: Ctrl-C is for us, who let the app finish first.
        command.process_group(0);
        for variable in systemd::VARIABLES {
            command.env_remove(variable);
        }
        if let Some(port) = port {
            command.env("PORT", port.to_string());
        }
        if let Some(socket) = socket {
            command.env("SIDESTREAM_SOCKET", path::absolute(socket).unwrap_or_else(|_| socket.to_owned()));
        }
        let name = program.to_string_lossy();
        let child = command.spawn().map_err(|error| refused(&name, error))?;
        let pid = Pid::from_child(&child);
        info!(command = %name, pid = pid.as_raw_nonzero(), "app started");
        let (tell, ended) = watch::channel(None);
        let watching = thread::Builder::new().name("app".to_owned()).spawn(move || {
            let status = match wait_for(pid) {
                Ok(status) => status,
                Err(error) => {
                    warn!(%error, "the app cannot be watched");
                    return;
                }
            };
            let is_expected = signal.stage() > Stage::Running;
            if !is_expected {
                warn!(status = %shown(status), "the app has ended; stopping");
                trigger.drain();
            }
            // Who wants to know may have gone.
            let _ = tell.send(Some(Ended { status, is_expected }));
        });
        match watching {
            Ok(_) => Ok(Self { pid, ended }),
            Err(error) => {
                // The child's own handle: it cannot have been waited for.
                let mut child = child;
                let _ = child.kill();
                let _ = child.wait();
                Err(Failure::new("the app cannot be watched").because(error))
            }
        }
    }

    /// Ends it, unless it has ended: asks it, and kills it and its children when it has not ended in this time or everything is
    /// to end at once. Returns what the process is to exit with.
    pub(super) fn end(mut self, patience: Duration, mut signal: Signal) -> Result<u8, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| Failure::new("the app cannot be ended").because(error))?;
        let ended = runtime.block_on(async {
            if self.ended.borrow().is_none() {
                // It fails when the app has ended at this moment.
                let _ = kill_process(self.pid, Kill::TERM);
            }
            let why = tokio::select! {
                ended = has_ended(&mut self.ended) => return ended,
                () = sleep(patience) => "it did not end in time",
                () = signal.reached(Stage::Stopped) => "everything is to end at once",
            };
            warn!(why, "killing the app");
            let _ = kill_process_group(self.pid, Kill::KILL);
            has_ended(&mut self.ended).await
        });
        // What it has started in its own group and left behind, like the app itself under a shell. Mostly there is nothing.
        let _ = kill_process_group(self.pid, Kill::TERM);
        Ok(ended.map_or(1, Ended::code))
    }
}

/// None if it cannot be known.
async fn has_ended(ended: &mut watch::Receiver<Option<Ended>>) -> Option<Ended> {
    ended.wait_for(Option::is_some).await.ok().and_then(|ended| *ended)
}

impl Ended {
    fn code(self) -> u8 {
        let by = self.status.terminating_signal();
        // It did what it was asked to.
        if self.is_expected && by == Some(Kill::TERM.as_raw()) {
            return 0;
        }
        let code = self.status.exit_status().or_else(|| Some(BY_SIGNAL + by?));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }
}

fn shown(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// Waits for the end of a child. The first process of a container is also the parent of all that lost theirs, and waits for
/// those too: they would stay in the table of processes otherwise.
fn wait_for(pid: Pid) -> io::Result<WaitStatus> {
    let is_first = process::id() == 1;
    loop {
        let ended = match is_first {
            true => wait(WaitOptions::empty()),
            false => waitpid(Some(pid), WaitOptions::empty()),
        };
        match ended {
            Ok(Some((ended, status))) if ended == pid => return Ok(status),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn refused(name: &str, error: io::Error) -> Failure {
    let (code, help) = match error.kind() {
        ErrorKind::NotFound => (NOT_FOUND, "write its path, or see that it is in PATH"),
        ErrorKind::PermissionDenied => {
            (NOT_EXECUTABLE, "make it executable (chmod +x), or name its interpreter")
        }
        _ => (NOT_EXECUTABLE, "try it alone in a shell"),
    };
    Failure::new(format!("cannot start `{name}`")).because(error).help(help).code(code)
}

/// Where the app is expected: the port of the first server on this machine of the upstream that `/` goes to, or the first
/// route that goes to any.
pub(super) fn port(config: &Config) -> Option<u16> {
    let upstream = |path: Option<&str>| {
        config.routes.iter().find_map(|route| match &route.action {
            Action::Proxy(proxy) if path.is_none_or(|path| route.path == path) => Some(proxy.upstream),
            _ => None,
        })
    };
    let upstream = config.upstreams.get(upstream(Some("/")).or_else(|| upstream(None))?)?;
    upstream.servers.iter().find_map(|server| match server {
        Origin::Tcp { host, port } if is_here(host) => Some(*port),
        _ => None,
    })
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port_of(upstreams: &str, routes: &[(&str, &str)]) -> Option<u16> {
        let mut text = format!("[[listen]]\naddress = \"127.0.0.1:0\"\n{upstreams}");
        for (path, upstream) in routes {
            text += &format!("[[route]]\npath = \"{path}\"\n[route.proxy]\nupstream = \"{upstream}\"\n");
        }
        port(&Config::parse(&text, "test.toml", Path::new("")).unwrap_or_else(|error| panic!("{error}")))
    }

    #[test]
    fn the_app_is_told_the_port_of_the_upstream_of_the_root() {
        let upstreams = "[upstreams.api]\nservers = [\"http://127.0.0.1:9001\"]\n\
                         [upstreams.app]\nservers = [\"http://10.0.0.1:80\", \"http://localhost:8000\"]\n\
                         [upstreams.file]\nservers = [\"unix:/run/app.sock\"]\n";
        for (routes, expected) in [
            (&[("/", "app")][..], Some(8000)),
            (&[("/api/", "api"), ("/", "app")], Some(8000)),
            (&[("/api/", "api")], Some(9001)),
            (&[("/", "file"), ("/api/", "api")], None),
        ] {
            assert_eq!(port_of(upstreams, routes), expected, "{routes:?}");
        }
    }
}
