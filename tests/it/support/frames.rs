//! HTTP/2 by hand, for what no client would send and for what one does not show.

use std::io;
use std::time::{Duration, Instant};

use super::Client;
use super::session::Session;
use super::tls::client_config;

pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A wait of nothing at all would be one without an end.
const SHORTEST: Duration = Duration::from_millis(1);

/// A connection over which frames go (RFC 9113, section 4).
pub(crate) struct Frames {
    client: Client,
}

/// A frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) content: Vec<u8>,
}

impl Frame {
    /// The error code of a RST_STREAM or a GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let place = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.content[place..place + 4].try_into().unwrap())
    }

    /// Whether it is a HEADERS that begins with `:status: 200`, of the static table (RFC 7541, appendix A).
    pub(crate) fn is_ok(&self) -> bool {
        self.kind == HEADERS && self.content.first() == Some(&0x88)
    }
}

impl Frames {
    /// Connects, naming the host `test`, and sends the preface with empty settings.
    pub(crate) fn connect(address: &str) -> Self {
        let session = Session::begin(address, "test", &client_config(&["h2"])).unwrap();
        let mut this = Self { client: session.client };
        this.client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        this.send(SETTINGS, 0, 0, &[]);
        this
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, content: &[u8]) -> &mut Self {
        self.try_send(kind, flags, stream, content).unwrap();
        self
    }

    /// Sends a frame that the other side may no longer take.
    pub(crate) fn try_send(&mut self, kind: u8, flags: u8, stream: u32, content: &[u8]) -> io::Result<()> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(content);
        self.client.try_send(frame)
    }

    /// Sends the head of a request without a body, as these fields in this order.
    pub(crate) fn headers(&mut self, stream: u32, fields: &[(&str, &str)]) -> &mut Self {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields))
    }

    /// Sends a GET for the host `test`.
    pub(crate) fn get(&mut self, stream: u32, path: &str) -> &mut Self {
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "test"), (":path", path)];
        self.headers(stream, &fields)
    }

    /// The next frame that says something, if the connection does not end instead.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.any()?;
            if !matches!(frame.kind, SETTINGS | PING | WINDOW_UPDATE) {
                return Some(frame);
            }
        }
    }

    /// The next frame. Settings and pings are answered.
    fn any(&mut self) -> Option<Frame> {
        let head = self.client.try_exactly(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let content = self.client.try_exactly(length)?;
        let frame = Frame { kind: head[3], flags: head[4], stream, content };
        if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
            let content = if frame.kind == PING { &frame.content[..] } else { &[] };
            // Whoever sent it may have closed since.
            let _ = self.try_send(frame.kind, ACK, 0, content);
        }
        Some(frame)
    }

    /// Reads whatever comes for a while; whether none of it ends anything.
    pub(crate) fn is_open_for(&mut self, span: Duration) -> bool {
        let until = Instant::now() + span;
        while Instant::now() < until {
            if !self.client.is_silent_for(until.saturating_duration_since(Instant::now()).max(SHORTEST)) {
                let frame = self.any();
                if !frame.is_some_and(|frame| !matches!(frame.kind, RST_STREAM | GOAWAY)) {
                    return false;
                }
            }
        }
        true
    }

    /// The next frame of a kind on a stream.
    pub(crate) fn next_of(&mut self, stream: u32, kind: u8) -> Frame {
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("closed without a frame {kind} on {stream}"));
            if frame.stream == stream && frame.kind == kind {
                return frame;
            }
        }
    }
}

/// Fields as literals that nobody remembers (RFC 7541, section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // Lengths of seven bits, and of two further bytes (RFC 7541, section 5.1).
            match u8::try_from(text.len()) {
                Ok(short @ ..127) => block.push(short),
                _ => {
                    let rest = u16::try_from(text.len() - 127).unwrap();
                    let [low, high] = [rest % 128 + 128, rest / 128].map(|part| u8::try_from(part).unwrap());
                    block.extend([127, low, high]);
                }
            }
            block.extend(text.as_bytes());
        }
    }
    block
}
