//! Lines for the system's log: a datagram each, as `syslog(3)` sends them (RFC 3164 without a host), which is what
//! journald and rsyslog read at their local socket.
//!
//! Invariant: it waits for nobody longer than [`PATIENCE`], and then not again for a while; a socket that is away is tried
//! again by itself.

use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::sink::Written;

/// Facility "daemon" (3), severity "info" (6).
const PRIORITY: u8 = 3 * 8 + 6;

/// How long a datagram may wait for room in the socket.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long a socket that is away or full is left alone. Lines are lost meanwhile.
const REST: Duration = Duration::from_secs(1);

/// The system's log.
#[derive(Debug)]
pub struct Syslog {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    /// Nothing is tried before then.
    again_at: Option<Instant>,
    datagram: Vec<u8>,
}

impl Syslog {
    /// The one at a socket, which need not be there yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), socket: None, again_at: None, datagram: Vec::new() }
    }

    pub(super) fn write(&mut self, lines: &[u8]) -> Written {
        let mut written = Written::default();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let Err(error) = self.send(line) {
                written.lost += 1;
                written.error = Some(error);
            }
        }
        written
    }

    fn send(&mut self, line: &[u8]) -> io::Result<()> {
        if self.again_at.is_some_and(|again_at| Instant::now() < again_at) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.again_at = None;
        head(&mut self.datagram, SystemTime::now());
        self.datagram.extend_from_slice(line);
        // Who reads may have been started anew, at a socket of the same name.
        let known = self.socket.take();
        let sent = match known.map(|socket| self.send_by(socket)) {
            None => self.connect().and_then(|socket| self.send_by(socket)),
            Some(Err(error)) if is_gone(&error) => self.connect().and_then(|socket| self.send_by(socket)),
            Some(sent) => sent,
        };
        // A line that is too long is lost, and the next one need not be.
        if sent.as_ref().is_err_and(|error| error.raw_os_error() != Some(TOO_LONG)) {
            self.again_at = Some(Instant::now() + REST);
        }
        sent
    }

    fn send_by(&mut self, socket: UnixDatagram) -> io::Result<()> {
        let sent = loop {
            match socket.send(&self.datagram) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => break sent,
            }
        };
        if !sent.as_ref().is_err_and(is_gone) {
            self.socket = Some(socket);
        }
        sent.map(|_| ())
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(&self.path)?;
        Ok(socket)
    }
}

/// EMSGSIZE.
const TOO_LONG: i32 = rustix::io::Errno::MSGSIZE.raw_os_error();

/// Whether nobody reads at the other end any more.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | NotConnected | BrokenPipe)
}

/// Begins a datagram: `<30>Nov 21 17:03:00 sidestream[42]: `. The time is UTC; journald and rsyslog take their own.
fn head(datagram: &mut Vec<u8>, now: SystemTime) {
    // `Sat, 21 Nov 2026 17:03:00 GMT`
    let date = httpdate::fmt_http_date(now);
    let part = |range| date.get(range).unwrap_or("-");
    let (day, month, time) = (part(5..7).trim_start_matches('0'), part(8..11), part(17..25));
    datagram.clear();
    // Writing to a Vec cannot fail.
    let _ = write!(datagram, "<{PRIORITY}>{month} {day:>2} {time} sidestream[{}]: ", std::process::id());
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn the_head_is_that_of_syslog() {
        let mut datagram = b"old".to_vec();
        head(&mut datagram, UNIX_EPOCH + Duration::from_secs(1_793_547_180));
        let expected = format!("<30>Nov  1 15:33:00 sidestream[{}]: ", std::process::id());
        assert_eq!(String::from_utf8(datagram).unwrap(), expected);
    }

    #[test]
    fn lines_are_lost_while_it_is_away_and_come_when_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut syslog = Syslog::new(&path);
        let read = |socket: &UnixDatagram| {
            let mut buffer = [0; 256];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!(syslog.write(b"1\n2\n").lost, 2);
        let socket = UnixDatagram::bind(&path).unwrap();
        assert_eq!(syslog.write(b"3\n").lost, 1, "it is not tried for every line");
        syslog.again_at = Some(Instant::now());
        assert_eq!(syslog.write(b"4\n5\n").lost, 0);
        assert!(read(&socket).ends_with("]: 4") && read(&socket).ends_with("]: 5"));
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        let socket = UnixDatagram::bind(&path).unwrap();
        assert_eq!(syslog.write(b"6\n").lost, 0, "a new one at the same path is found at once");
        assert!(read(&socket).ends_with("]: 6"));
    }

    #[test]
    fn one_that_does_not_read_costs_a_moment_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let _socket = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::new(&path);
        let lines = b"a line\n".repeat(20_000);
        let begun = Instant::now();
        let written = syslog.write(&lines);
        assert!(written.lost > 0 && written.lost < 20_000, "{written:?}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
