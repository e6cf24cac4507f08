//! A stream of events as a client reads it: bare over HTTP/1.0, in chunks over HTTP/1.1.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// How long a read waits before its caller may look around.
const GLANCE: Duration = Duration::from_millis(50);

/// The receive buffer of one who reads through a straw, in bytes.
const NARROW: usize = 4096;

/// What a stream is asked for.
pub(super) struct Request<'a> {
    pub(super) address: &'a str,
    pub(super) target: &'a str,
    pub(super) last_id: Option<&'a str>,
    pub(super) is_chunked: bool,
    pub(super) is_narrow: bool,
}

/// What ends with an empty line.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) id: Option<String>,
    pub(super) event: Option<String>,
    pub(super) data: Option<String>,
}

/// What came of a read.
pub(super) enum Next {
    Block(Block),
    /// Nothing yet.
    Nothing,
    /// The connection was cut.
    Cut,
}

/// An open stream.
pub(super) struct Events {
    stream: TcpStream,
    raw: Vec<u8>,
    /// Bytes left of the chunk; none where there are no chunks.
    chunk: Option<usize>,
    text: Vec<u8>,
    /// Up to here the text has been taken.
    taken: usize,
    block: Block,
}

impl Events {
    /// Opens a stream. None if nobody is there, or it is cut before its head is whole.
    ///
    /// # Errors
    /// If it is refused.
    pub(super) fn open(request: &Request<'_>, patience: Duration) -> io::Result<Option<Self>> {
        let Ok(mut stream) = connect(request) else { return Ok(None) };
        let (mut raw, begun) = (Vec::new(), Instant::now());
        let end = loop {
            if let Some(end) = raw.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
            match receive(&mut stream, &mut raw) {
                Ok(true) => {}
                Err(error) if is_glance(&error) && begun.elapsed() < patience => {}
                _ => return Ok(None),
            }
        };
        if !raw.starts_with(b"HTTP/1.1 200 ") && !raw.starts_with(b"HTTP/1.0 200 ") {
            let head = String::from_utf8_lossy(&raw);
            return Err(invalid(&format!("a stream was refused: {head}")));
        }
        raw.drain(..end);
        let chunk = request.is_chunked.then_some(0);
        let mut events = Self { stream, raw, chunk, text: Vec::new(), taken: 0, block: Block::default() };
        events.decode()?;
        Ok(Some(events))
    }

    /// Reads on.
    ///
    /// # Errors
    /// If what comes is no stream of events, or if it ends as if it were whole.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        loop {
            while let Some(end) = self.text[self.taken..].iter().position(|byte| *byte == b'\n') {
                let line = &self.text[self.taken..self.taken + end];
                self.taken += end + 1;
                if line.is_empty() {
                    return Ok(Next::Block(std::mem::take(&mut self.block)));
                }
                self.block.add(line)?;
            }
            self.text.drain(..std::mem::take(&mut self.taken));
            match receive(&mut self.stream, &mut self.raw) {
                Ok(true) => self.decode()?,
                Err(error) if is_glance(&error) => return Ok(Next::Nothing),
                _ => return Ok(Next::Cut),
            }
        }
    }

    /// Takes the text out of its chunks.
    fn decode(&mut self) -> io::Result<()> {
        let Some(left) = &mut self.chunk else {
            self.text.append(&mut self.raw);
            return Ok(());
        };
        let mut raw = &self.raw[..];
        loop {
            let (now, rest) = raw.split_at(raw.len().min(*left));
            self.text.extend_from_slice(now);
            (*left, raw) = (*left - now.len(), rest);
            // The end of the last chunk is an empty line before the size of the next.
            let size = raw.strip_prefix(b"\r\n").unwrap_or(raw);
            let Some(end) = size.iter().position(|byte| *byte == b'\n').filter(|_| *left == 0) else { break };
            let digits = std::str::from_utf8(&size[..end]).unwrap_or_default().trim_end();
            *left = usize::from_str_radix(digits, 16).map_err(|_| invalid("no chunk where one begins"))?;
            if *left == 0 {
                return Err(invalid("the stream ended as if it were whole"));
            }
            raw = &size[end + 1..];
        }
        self.raw = raw.to_vec();
        Ok(())
    }
}

impl Block {
    fn add(&mut self, line: &[u8]) -> io::Result<()> {
        let line = std::str::from_utf8(line).map_err(|_| invalid("bytes that are no text"))?;
        let (field, value) = line.split_once(':').ok_or_else(|| invalid("a line that is no field"))?;
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "id" => self.id = Some(value),
            "event" => self.event = Some(value),
            "data" => self.data = Some(value),
            "" | "retry" => {}
            _ => return Err(invalid("a field that there is not")),
        }
        Ok(())
    }
}

fn connect(request: &Request<'_>) -> io::Result<TcpStream> {
    let address: SocketAddr = request.address.parse().map_err(io::Error::other)?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if request.is_narrow {
        socket.set_recv_buffer_size(NARROW)?;
    }
    socket.connect(&address.into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(GLANCE))?;
    let version = if request.is_chunked { "1.1" } else { "1.0" };
    let last = request.last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    let text = format!("GET {} HTTP/{version}\r\nHost: faults\r\n{last}\r\n", request.target);
    stream.write_all(text.as_bytes())?;
    Ok(stream)
}

/// Reads once. False at the end.
fn receive(stream: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut scratch = [0; 16 * 1024];
    let read = stream.read(&mut scratch)?;
    into.extend_from_slice(&scratch[..read]);
    Ok(read > 0)
}

fn is_glance(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
