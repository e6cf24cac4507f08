//! `sidestream health`: asks a running server whether it is well, for containers that have neither a shell nor curl.
//!
//! Invariant: exit code 0 is only given with an answer of 200 in hand, and no server is waited for without an end.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;

use super::failure::Failure;
use super::terminal;

/// How long it may take to connect, and how long the server may pause: less than what asks gives a check by default.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer. Real ones have two thousand.
const MAX_ANSWER: u64 = 64 * 1024;
/// The most fields of an answer.
const MAX_FIELDS: usize = 32;
/// What is asked for where the address names no path.
const PATH: &str = "/healthz";

/// Ask a running server whether it is well, as health checks of containers do.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It prints what the server says of itself, and exits with 1 if that is not well or does not come.

Examples:
  sidestream health unix:/run/sidestream/publish.sock
  sidestream health http://127.0.0.1:8080/healthz")]
pub(super) struct Args {
    /// The publish socket, unix:PATH, or an address, http://HOST:PORT/PATH.
    #[arg(value_name = "WHERE", default_value = "unix:./sidestream.sock")]
    place: Place,
}

/// Where a server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Unix(PathBuf),
    Http { authority: String, path: String },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err("the path is missing".to_owned())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let url: Uri = text.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
        match (url.scheme_str(), url.authority()) {
            (Some("http"), Some(authority)) if !authority.as_str().contains('@') => {
                let path = url.path_and_query().map_or(PATH, |path| path.as_str());
                let path = if path == "/" { PATH } else { path };
                Ok(Self::Http { authority: authority.to_string(), path: path.to_owned() })
            }
            _ => Err("write it as unix:PATH or http://HOST:PORT/PATH".to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http { authority, path } => write!(f, "http://{authority}{path}"),
        }
    }
}

/// Prints what the server says of itself.
pub(super) fn command(args: Args) -> Result<(), Failure> {
    let place = &args.place;
    let (status, said) = ask(place).map_err(|error| {
        Failure::new(format!("no answer from {place}"))
            .because(error)
            .help("is the server running, and is this its [publish] socket?")
    })?;
    if status == 200 {
        terminal::line(said)
    } else {
        Err(Failure::new(format!("{place} is not well: status {status}: {said}")))
    }
}

/// The status and the body of the answer.
fn ask(place: &Place) -> io::Result<(u16, String)> {
    match place {
        Place::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream, "sidestream", PATH)
        }
        Place::Http { authority, path } => {
            let stream = connect(authority)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream, authority, path)
        }
    }
}

/// Connects to the first address of a host that takes it.
fn connect(authority: &str) -> io::Result<TcpStream> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let host = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks on a connection that is the request's alone, so its end is the answer's.
fn exchange(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<(u16, String)> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    match (response.parse(&answer), response.code) {
        (Ok(httparse::Status::Complete(length)), Some(status)) => {
            let body = String::from_utf8_lossy(&answer[length..]);
            Ok((status, body.trim().chars().filter(|c| !c.is_control()).collect()))
        }
        (Ok(_), _) => Err(io::ErrorKind::UnexpectedEof.into()),
        (Err(error), _) => Err(invalid(&format!("what comes is not HTTP: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_socket_or_an_address() {
        let place = |text: &str| text.parse::<Place>();
        for (text, shown) in [
            ("unix:/run/s.sock", "unix:/run/s.sock"),
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001/healthz"),
            ("http://[::1]:9001/readyz", "http://[::1]:9001/readyz"),
        ] {
            assert_eq!(place(text).unwrap().to_string(), shown);
        }
        for wrong in ["", "unix:", "/run/s.sock", "https://a/", "http://", "http://a@b/", "localhost:80"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    /// A connection that answers the same whatever is asked.
    struct Answer(&'static [u8]);

    impl Read for Answer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Answer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_whole_answer_is_one() {
        let asked = |answer| exchange(Answer(answer), "a", PATH);
        let (status, said) = asked(b"HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\n{\x1b[1m}\n").unwrap();
        assert_eq!((status, said.as_str()), (503, "{[1m}"));
        for broken in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"{\"error\":\"x\"}\n", b"SSH-2.0-x\r\n\r\n"] {
            assert!(asked(broken).is_err(), "{broken:?}");
        }
    }
}
