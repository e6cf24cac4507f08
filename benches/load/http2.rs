//! HTTP/2 as a client of a benchmark needs it (RFC 9113): GET requests, and the bodies of their answers.
//!
//! Header fields are sent as literals that no table takes, so there is no state of HPACK to keep; of an answer's
//! fields only the status is read, which servers send as an entry of the static table.

use std::io;

use crate::codec::{Request, Signal, malformed};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// The largest window there is, in bytes.
const WINDOW: u32 = 0x7fff_ffff;
/// The window that a connection begins with.
const FIRST_WINDOW: u32 = 65_535;
/// The window is opened again once this much of it was used.
const REFILL: u32 = 1 << 30;
/// The largest frame other than DATA; what servers send unless told otherwise.
const MAX_FRAME: usize = 16 * 1024;

/// A client's side of a connection.
#[derive(Debug, Default)]
pub(crate) struct Http2 {
    requests: u32,
    /// The head of the frame that is being read, and, unless it is DATA, what has come of it.
    part: Vec<u8>,
    /// The DATA frame that is being read.
    data: Option<Data>,
    /// What was received since the connection's window was last opened, in bytes.
    received: u32,
}

#[derive(Debug, Clone, Copy)]
struct Data {
    request: u32,
    left: usize,
    /// How much at its end is padding.
    padding: usize,
    end: bool,
}

impl Http2 {
    /// Writes a request and returns its number, which counts from 0.
    pub(crate) fn request(&mut self, request: &Request<'_>, out: &mut Vec<u8>) -> u32 {
        if self.requests == 0 {
            out.extend_from_slice(PREFACE);
            // SETTINGS_ENABLE_PUSH is 0, SETTINGS_INITIAL_WINDOW_SIZE the largest.
            frame(out, SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff]);
            frame(out, WINDOW_UPDATE, 0, 0, &(WINDOW - FIRST_WINDOW).to_be_bytes());
        }
        let number = self.requests;
        self.requests += 1;
        let mut fields = Vec::with_capacity(256);
        // Entries of the static table: `:method: GET` and `:scheme: https`; the names of `:path` and `:authority`.
        fields.extend_from_slice(&[0x82, 0x87, 0x04]);
        string(&mut fields, request.path);
        fields.push(0x01);
        string(&mut fields, request.host.as_bytes());
        for (name, value) in request.headers {
            fields.push(0);
            string(&mut fields, name.as_bytes());
            string(&mut fields, value);
        }
        frame(out, HEADERS, END_STREAM | END_HEADERS, number * 2 + 1, &fields);
        number
    }

    /// Takes what was read; `out` gets acknowledgements and window updates.
    ///
    /// # Errors
    /// If it is not HTTP/2, or if the server says that it goes away.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        mut sink: impl FnMut(u32, Signal<'_>),
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let used = if let Some(data) = self.data.take() {
                self.body(data, bytes, &mut sink)
            } else {
                self.frame(bytes, out, &mut sink)?
            };
            bytes = &bytes[used..];
        }
        if self.received > REFILL {
            frame(out, WINDOW_UPDATE, 0, 0, &self.received.to_be_bytes());
            self.received = 0;
        }
        Ok(())
    }

    /// Takes bytes of a DATA frame and returns how many were its.
    fn body(&mut self, mut data: Data, bytes: &[u8], sink: &mut impl FnMut(u32, Signal<'_>)) -> usize {
        let now = data.left.min(bytes.len());
        let text = now.min(data.left.saturating_sub(data.padding));
        if text > 0 {
            sink(data.request, Signal::Data(&bytes[..text]));
        }
        data.left -= now;
        if data.left > 0 {
            self.data = Some(data);
        } else if data.end {
            sink(data.request, Signal::End);
        }
        now
    }

    /// Takes bytes of another frame, or of a frame's head, and returns how many were its.
    fn frame(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        sink: &mut impl FnMut(u32, Signal<'_>),
    ) -> io::Result<usize> {
        let mut part = std::mem::take(&mut self.part);
        let mut used = fill(&mut part, 9, bytes);
        if part.len() < 9 {
            self.part = part;
            return Ok(used);
        }
        let length = usize::from(part[0]) << 16 | usize::from(part[1]) << 8 | usize::from(part[2]);
        let (kind, flags) = (part[3], part[4]);
        let id = u32::from_be_bytes([part[5], part[6], part[7], part[8]]) & WINDOW;
        // Of DATA only the length of its padding is waited for.
        let padded = usize::from(kind == DATA && flags & PADDED != 0 && length > 0);
        let wanted = if kind == DATA { padded } else { length };
        if wanted > MAX_FRAME {
            return Err(malformed("a frame that is too large for HTTP/2"));
        }
        used += fill(&mut part, 9 + wanted, &bytes[used..]);
        if part.len() < 9 + wanted {
            self.part = part;
            return Ok(used);
        }
        let body = &part[9..];
        match kind {
            DATA => {
                self.received += u32::try_from(length).unwrap_or(u32::MAX);
                let padding = body.first().map_or(0, |length| usize::from(*length));
                let end = flags & END_STREAM != 0;
                let data = Data { request: request_of(id)?, left: length - padded, padding, end };
                // An empty one may be the last thing that is read for long.
                if data.left == 0 && end {
                    sink(data.request, Signal::End);
                } else if data.left > 0 {
                    self.data = Some(data);
                }
            }
            HEADERS => {
                let request = request_of(id)?;
                if let Some(status) = status(body, flags) {
                    sink(request, Signal::Status(status));
                }
                if flags & END_STREAM != 0 {
                    sink(request, Signal::End);
                }
            }
            RST_STREAM => sink(request_of(id)?, Signal::Broken),
            SETTINGS if flags & ACK == 0 => frame(out, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => frame(out, PING, ACK, 0, body),
            GOAWAY => return Err(malformed("the server went away")),
            _ => {}
        }
        part.clear();
        self.part = part;
        Ok(used)
    }
}

/// The request that a stream belongs to.
fn request_of(stream: u32) -> io::Result<u32> {
    if stream % 2 == 1 { Ok(stream / 2) } else { Err(malformed("a stream that was never opened")) }
}

/// Fills `part` up to a length and returns how much that took.
fn fill(part: &mut Vec<u8>, length: usize, bytes: &[u8]) -> usize {
    let now = length.saturating_sub(part.len()).min(bytes.len());
    part.extend_from_slice(&bytes[..now]);
    now
}

/// The status at the beginning of an answer's fields: none in trailers and in interim answers, 999 if it is none of
/// those in the static table.
fn status(mut fields: &[u8], flags: u8) -> Option<u16> {
    if flags & PADDED != 0 {
        fields = fields.get(1..)?;
    }
    if flags & PRIORITY != 0 {
        fields = fields.get(5..)?;
    }
    // A change of the table's size may come first (RFC 7541, section 6.3).
    while let [first, rest @ ..] = fields
        && first & 0xe0 == 0x20
    {
        fields = if first & 0x1f == 0x1f {
            &rest[rest.iter().position(|byte| byte & 0x80 == 0)? + 1..]
        } else {
            rest
        };
    }
    match *fields.first()? {
        0x88 => Some(200),
        0x89 => Some(204),
        0x8a => Some(206),
        0x8b => Some(304),
        0x8c => Some(400),
        0x8d => Some(404),
        0x8e => Some(500),
        // A literal whose name is `:status`, entry 8, in each of the three forms, or an entry of the server's own.
        0x48 | 0x08 | 0x18 | 0xbe..=0xff => Some(999),
        _ => None,
    }
}

/// Writes a frame.
fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(body);
}

/// Writes a string without Huffman coding: its length with a 7-bit prefix, and its bytes.
fn string(out: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 127 {
        out.push(low_bits(length));
    } else {
        out.push(127);
        length -= 127;
        while length >= 128 {
            out.push(low_bits(length) | 128);
            length >>= 7;
        }
        out.push(low_bits(length));
    }
    out.extend_from_slice(text);
}

fn low_bits(value: usize) -> u8 {
    u8::try_from(value & 0x7f).unwrap_or(0)
}

#[cfg(test)]
#[path = "http2_tests.rs"]
mod tests;
