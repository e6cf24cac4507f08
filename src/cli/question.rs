//! A question to a running server, over HTTP/1.1 on a connection that is the question's alone.
//!
//! Invariants: no server is waited for without an end, and no more is read of an answer than is bounded; what is printed of it
//! cannot touch the terminal.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;

use crate::config::Secret;

/// How long it may take to connect, and how long the server may pause: less than what asks gives a check by default.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer. Real ones have a few thousand.
const MAX_ANSWER: u64 = 1024 * 1024;
/// The most fields of an answer.
const MAX_FIELDS: usize = 32;

/// Where a server is asked: `unix:PATH` or `http://HOST:PORT`, and on TCP perhaps a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// At a Unix socket.
    Unix(PathBuf),
    /// At a host and perhaps a port; `path` is empty if none was named.
    Http {
        /// `127.0.0.1:9001`
        authority: String,
        /// `/readyz?a`
        path: String,
    },
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
                let path = url.path_and_query().map_or("/", |path| path.as_str());
                let path = if path == "/" { "" } else { path };
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

impl Place {
    /// The same place, at `path` if it names none.
    pub(super) fn or_path(self, path: &str) -> Self {
        match self {
            Self::Http { authority, path: named } if named.is_empty() => {
                Self::Http { authority, path: path.to_owned() }
            }
            named => named,
        }
    }

    /// The status and the body of what a path is answered by GET.
    pub(super) fn ask(&self, path: &str, token: Option<&Secret>) -> io::Result<(u16, String)> {
        match self {
            Self::Unix(socket) => {
                let stream = UnixStream::connect(socket)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                exchange(stream, "sidestream", path, token)
            }
            Self::Http { authority, .. } => {
                let stream = connect(authority)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                exchange(stream, authority, path, token)
            }
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

/// Asks on a connection whose end is the answer's.
fn exchange(
    mut stream: impl Read + Write,
    host: &str,
    path: &str,
    token: Option<&Secret>,
) -> io::Result<(u16, String)> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let token = match token.map(Secret::expose) {
        // It would end the line, or the server would read another token.
        Some(token) if token.bytes().any(|byte| byte.is_ascii_control()) => {
            return Err(invalid("the token has a control character or a line break"));
        }
        Some(token) => format!("Authorization: Bearer {token}\r\n"),
        None => String::new(),
    };
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{token}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
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
        let place = |text: &str| text.parse::<Place>().map(|place| place.or_path("/healthz"));
        for (text, shown) in [
            ("unix:/run/s.sock", "unix:/run/s.sock"),
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001/healthz"),
            ("http://127.0.0.1:9001/", "http://127.0.0.1:9001/healthz"),
            ("http://[::1]:9001/readyz", "http://[::1]:9001/readyz"),
        ] {
            assert_eq!(place(text).unwrap().to_string(), shown);
        }
        for wrong in ["", "unix:", "/run/s.sock", "https://a/", "http://", "http://a@b/", "localhost:80"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    /// A connection that answers the same whatever is asked, and remembers that.
    struct Answer(&'static [u8], Vec<u8>);

    impl Read for Answer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Answer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_whole_answer_is_one() {
        let asked = |answer| exchange(&mut Answer(answer, Vec::new()), "a", "/healthz", None);
        let (status, said) = asked(b"HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\n{\x1b[1m}\n").unwrap();
        assert_eq!((status, said.as_str()), (503, "{[1m}"));
        for broken in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"{\"error\":\"x\"}\n", b"SSH-2.0-x\r\n\r\n"] {
            assert!(asked(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn a_token_is_sent_as_it_is_or_not_at_all() {
        let sent = |token: &str| {
            let mut stream = Answer(b"HTTP/1.1 200 OK\r\n\r\n", Vec::new());
            exchange(&mut stream, "a", "/x", Some(&Secret::resolve(token).unwrap()))
                .map(|_| String::from_utf8(stream.1).unwrap())
        };
        let head = "GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\r\nConnection: close\r\n\r\n";
        assert_eq!(sent("s3cret").unwrap(), head);
        assert!(sent("s3cret\r\nX: y").is_err());
    }
}
