//! An app whose part the test itself plays, step by step, in the order in which the test is read.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;

use socket2::SockRef;

use super::client::field;
use super::{Client, PATIENCE};

/// A listening app that answers nothing by itself.
pub(crate) struct Backend {
    listener: Listening,
    origin: String,
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Backend {
    /// On a port of its own.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        Self { listener: Listening::Tcp(listener), origin }
    }

    /// On a Unix socket.
    pub(crate) fn on(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        Self { listener: Listening::Unix(listener), origin: format!("unix:{}", path.display()) }
    }

    /// As an upstream's server is written.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Waits for the next connection.
    pub(crate) fn accept(&self) -> Client {
        match &self.listener {
            Listening::Tcp(_) => {
                let stream = self.accept_tcp();
                let handle = stream.try_clone().unwrap();
                Client::over(stream, Some(handle))
            }
            Listening::Unix(listener) => {
                let (stream, _) = listener.accept().expect("nobody connects to the app");
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Client::over(stream, None)
            }
        }
    }

    /// Waits for the next connection and returns its socket.
    pub(crate) fn accept_tcp(&self) -> TcpStream {
        let Listening::Tcp(listener) = &self.listener else { panic!("on a Unix socket") };
        let (stream, _) = listener.accept().expect("nobody connects to the app");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Whether no connection waits to be accepted.
    pub(crate) fn is_left_alone(&self) -> bool {
        let Listening::Tcp(listener) = &self.listener else { panic!("on a Unix socket") };
        listener.set_nonblocking(true).unwrap();
        let accepted = listener.accept();
        listener.set_nonblocking(false).unwrap();
        accepted.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// How a test plays an app on a connection.
impl Client {
    /// Reads a request with its body.
    pub(crate) fn request(&mut self) -> (String, Vec<u8>) {
        let head = self.head();
        let body = match (field(&head, "transfer-encoding"), field(&head, "content-length")) {
            (Some("chunked"), None) => self.chunks(),
            (None, Some(length)) => self.exactly(length.parse().unwrap()),
            (None, None) => Vec::new(),
            framing => panic!("framed twice or not at all: {framing:?}"),
        };
        (head, body)
    }

    /// Answers a request with 200 and a body.
    pub(crate) fn answer(&mut self, body: &str) -> &mut Self {
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }
}
