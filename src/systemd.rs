//! What a service manager gives the process and is told by it: sockets that it has opened, and how the process does.
//! The protocols are systemd's, which others speak too.
//!
//! Invariant: without a service manager everything here is nothing.

mod notifier;
mod sockets;

use std::time::Duration;
use std::{env, process};

pub use notifier::Notifier;
pub use sockets::{Passed, Sockets};

/// The variables that are for this process, and not for those it starts.
pub const VARIABLES: [&str; 6] =
    ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// The service manager that has started the process, if one has.
#[derive(Debug, Default)]
pub struct Supervisor {
    /// The sockets that it has opened.
    pub sockets: Sockets,
    /// Who is told how the process does.
    pub notifier: Notifier,
    /// Within how long it wants to hear that the process is alive, again and again.
    pub watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that the environment tells of. It is to be asked once, before there is a second thread: the variables of
    /// the sockets are removed, and no other place may take the sockets.
    pub fn from_env() -> Self {
        Self { sockets: Sockets::from_env(), notifier: Notifier::from_env(), watchdog: watchdog() }
    }
}

fn watchdog() -> Option<Duration> {
    let period = env::var("WATCHDOG_USEC").ok()?.parse().ok().filter(|micros| *micros > 0)?;
    let is_ours = match env::var("WATCHDOG_PID") {
        Ok(pid) => pid.parse() == Ok(process::id()),
        Err(_) => true,
    };
    is_ours.then_some(Duration::from_micros(period))
}
