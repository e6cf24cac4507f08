//! A client that shows every byte.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// Anything that bytes go over.
pub(crate) trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// A connection, and what has been read of it and not been looked at.
pub(crate) struct Client {
    wire: Box<dyn Wire>,
    tcp: Option<TcpStream>,
    read: Vec<u8>,
}

/// A response as it came over HTTP/1.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The head as it came, without the blank line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a field; of several lines the first.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// The value of a field in a head.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

impl Client {
    /// Connects to an address as [`sidestream::server::Server::addresses`] gives it.
    pub(crate) fn connect(address: &str) -> Self {
        if let Some(path) = address.strip_prefix("unix:") {
            let stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            return Self { wire: Box::new(stream), tcp: None, read: Vec::new() };
        }
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let tcp = stream.try_clone().unwrap();
        Self { wire: Box::new(stream), tcp: Some(tcp), read: Vec::new() }
    }

    /// A client over something else, such as TLS.
    pub(crate) fn over(wire: impl Wire + 'static, tcp: Option<TcpStream>) -> Self {
        Self { wire: Box::new(wire), tcp, read: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.wire.write_all(bytes.as_ref()).unwrap();
        self.wire.flush().unwrap();
        self
    }

    /// Sends bytes that the other side may no longer take.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.write_all(bytes.as_ref())?;
        self.wire.flush()
    }

    /// Sends a GET with the Host `test`, and more fields, each with its CRLF.
    pub(crate) fn get(&mut self, target: &str, fields: &str) -> &mut Self {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
    }

    /// Sends a POST of JSON with the Host `test`, and more fields, each with its CRLF.
    pub(crate) fn post(&mut self, target: &str, fields: &str, json: &str) -> &mut Self {
        let length = json.len();
        self.send(format!(
            "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n{fields}\r\n{json}"
        ))
    }

    /// Reads until `end` has come; returns everything up to and with it.
    pub(crate) fn until(&mut self, end: impl AsRef<[u8]>) -> String {
        let end = end.as_ref();
        let begun = Instant::now();
        loop {
            if let Some(place) = self.read.windows(end.len()).position(|window| window == end) {
                let rest = self.read.split_off(place + end.len());
                return String::from_utf8_lossy(&std::mem::replace(&mut self.read, rest)).into_owned();
            }
            let got = self.more().unwrap_or_else(|error| panic!("{error}, after {:?}", self.shown()));
            assert!(got > 0, "closed before {:?}, after {:?}", String::from_utf8_lossy(end), self.shown());
            assert!(
                begun.elapsed() < PATIENCE,
                "no {:?} in {:?}",
                String::from_utf8_lossy(end),
                self.shown()
            );
        }
    }

    /// Reads exactly so many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            let got = self.more().unwrap();
            assert!(got > 0, "closed after {:?}", self.shown());
        }
        let rest = self.read.split_off(count);
        std::mem::replace(&mut self.read, rest)
    }

    /// Reads exactly so many bytes, if they come.
    pub(crate) fn try_exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            if self.more().ok()? == 0 {
                return None;
            }
        }
        Some(self.exactly(count))
    }

    /// Reads a head, without its blank line.
    pub(crate) fn head(&mut self) -> String {
        let head = self.until("\r\n\r\n");
        head[..head.len() - 4].to_owned()
    }

    /// Reads a head, if there is another one.
    pub(crate) fn try_head(&mut self) -> Option<String> {
        while !self.read.windows(4).any(|window| window == b"\r\n\r\n") {
            if self.more().ok()? == 0 {
                return None;
            }
        }
        Some(self.head())
    }

    /// Reads a response with its body, by whichever framing it has.
    pub(crate) fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// Reads a response to a request of a method.
    pub(crate) fn response_to(&mut self, method: &str) -> Response {
        let head = self.head();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = if method == "HEAD" || matches!(status, 204 | 304) {
            Vec::new()
        } else if field(&head, "transfer-encoding").is_some_and(|coding| coding == "chunked") {
            self.chunks()
        } else if let Some(length) = field(&head, "content-length") {
            self.exactly(length.parse().unwrap())
        } else {
            self.rest()
        };
        Response { status, head, body }
    }

    /// Reads one chunk; an empty one is the end of the body.
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        let line = self.until("\r\n");
        let size =
            usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
        let mut chunk = self.exactly(size + 2);
        chunk.truncate(size);
        chunk
    }

    /// Reads one chunk, if a whole one comes before the end of the connection.
    pub(crate) fn try_chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(place) = self.read.windows(2).position(|window| window == b"\r\n") {
                let size = std::str::from_utf8(&self.read[..place]).unwrap();
                let size =
                    usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
                if self.read.len() >= place + 2 + size + 2 {
                    return Some(self.chunk());
                }
            }
            match self.more() {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {
                    panic!("nothing comes, after {:?}", self.shown())
                }
                Err(_) => return None,
            }
        }
    }

    /// Reads a body of chunks, with no trailers behind it.
    pub(crate) fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk();
            if chunk.is_empty() {
                return body;
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Reads to the end of the connection, clean or not.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.more() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => panic!("it is not closed, after {:?}", self.shown()),
                // A reset or a missing close_notify is an end too.
                Err(_) => break,
            }
        }
        std::mem::take(&mut self.read)
    }

    /// Waits for the end of the connection, and for nothing more to come before it.
    pub(crate) fn closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{:?} came before the end", String::from_utf8_lossy(&rest));
    }

    /// Whether nothing comes for a moment: for what must not happen.
    pub(crate) fn is_silent_for(&mut self, moment: Duration) -> bool {
        if !self.read.is_empty() {
            return false;
        }
        let tcp = self.tcp.as_ref().unwrap();
        tcp.set_read_timeout(Some(moment)).unwrap();
        let got = self.more();
        self.tcp.as_ref().unwrap().set_read_timeout(Some(PATIENCE)).unwrap();
        self.read.is_empty() && got.is_err_and(|error| is_timeout(&error))
    }

    /// Ends the connection as a process that is killed does: by a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(self.tcp.as_ref().unwrap()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Its own port.
    pub(crate) fn port(&self) -> u16 {
        self.tcp.as_ref().unwrap().local_addr().unwrap().port()
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        self.tcp.as_ref().unwrap().shutdown(Shutdown::Write).unwrap();
    }

    fn more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let got = loop {
            match self.wire.read(&mut buffer) {
                // With a timeout, the end of a child process of another test is told here too (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                got => break got?,
            }
        };
        self.read.extend_from_slice(&buffer[..got]);
        Ok(got)
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.read[..self.read.len().min(2000)]).into_owned()
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
