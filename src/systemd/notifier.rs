//! Telling the service manager: datagrams with `KEY=value` lines, as sd_notify(3) has them.
//!
//! Invariant: nothing that goes wrong here holds up or ends the process; it is said in the log.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long a word may take that the service manager has no room for yet.
const PATIENCE: Duration = Duration::from_secs(1);

/// The end at which the service manager is told. A cheap handle; the default one tells nobody.
#[derive(Debug, Clone, Default)]
pub struct Notifier(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    /// Whether another process is the main one, of which the service manager is to hear.
    is_other: AtomicBool,
}

impl Notifier {
    /// The one of `NOTIFY_SOCKET`.
    pub(super) fn from_env() -> Self {
        let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Self::default();
        };
        Self::connect(&address).unwrap_or_else(|error| {
            let address = address.to_string_lossy();
            tracing::warn!(%error, %address, "cannot reach the service manager at NOTIFY_SOCKET");
            Self::default()
        })
    }

    /// One that tells whoever listens at a path or, after `@`, at an abstract name.
    ///
    /// # Errors
    /// If nobody does.
    pub fn connect(address: &OsStr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        match address.as_bytes() {
            [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
            _ => socket.connect(address)?,
        }
        Ok(Self::by(socket))
    }

    fn by(socket: UnixDatagram) -> Self {
        Self(Some(Arc::new(Line { socket, is_other: AtomicBool::new(false) })))
    }

    /// Another process is the service from now on. It is the last that is told from here.
    pub fn is_replaced_by(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}"));
        if let Some(line) = &self.0 {
            line.is_other.store(true, Ordering::Relaxed);
        }
    }

    /// Whether anybody is told.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// The process serves; after a reload, it does so again.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// A new configuration is being read.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The process is on its way out.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// What `systemctl status` shows, one line.
    pub fn status(&self, line: &str) {
        self.tell(&format!("STATUS={line}"));
    }

    /// The process is alive.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, words: &str) {
        if let Some(Line { socket, is_other }) = self.0.as_deref()
            && !is_other.load(Ordering::Relaxed)
            && let Err(error) = socket.send(words.as_bytes())
        {
            tracing::warn!(%error, words, "the service manager cannot be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn whoever_listens_at_a_path_or_a_name_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let at_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("sidestream-test-{}", fastrand::u64(..));
        let at_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let address = format!("@{name}");
        for (socket, address) in [(at_path, path.as_os_str()), (at_name, OsStr::new(&address))] {
            let notifier = Notifier::connect(address).unwrap();
            notifier.ready();
            notifier.status("3 streams");
            notifier.reloading();
            assert_eq!(heard(&socket), "READY=1");
            assert_eq!(heard(&socket), "STATUS=3 streams");
            let words = heard(&socket);
            let micros = words.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(micros.parse::<u64>().unwrap() > 0, "{words}");
            notifier.clone().is_replaced_by(7);
            assert_eq!(heard(&socket), "MAINPID=7");
            notifier.stopping();
            socket.set_nonblocking(true).unwrap();
            assert!(socket.recv(&mut [0; 8]).is_err(), "the other process is not stopping");
        }
    }

    #[test]
    fn it_does_no_harm_if_nobody_listens() {
        assert!(Notifier::connect(OsStr::new("/nonexistent/notify")).is_err());
        Notifier::default().ready();
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        drop(theirs);
        Notifier::by(ours).alive();
    }
}
