//! The protocols a connection may speak, without any I/O: requests become bytes, bytes become signals.

use std::io;

use crate::http1::Http1;
use crate::http2::Http2;
use crate::lines::Lines;

/// What is asked of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a [u8],
    /// Names in lower case, and values.
    pub(crate) headers: &'a [(String, Vec<u8>)],
    pub(crate) body: &'a [u8],
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Signal<'a> {
    /// An answer begins.
    Status(u16),
    /// Some of its body.
    Data(&'a [u8]),
    /// It has ended, as it should.
    End,
    /// It was broken off.
    Broken,
}

/// A protocol and its state on one connection.
#[derive(Debug)]
pub(crate) enum Codec {
    Http1(Http1),
    Http2(Box<Http2>),
    /// NDJSON: a line in, a line back.
    Lines(Lines),
}

impl Codec {
    /// Writes a request. Answers name it by its number: with HTTP/2 the requests of a connection count from 0,
    /// elsewhere answers come in order and it is always 0.
    pub(crate) fn request(&mut self, request: &Request<'_>, out: &mut Vec<u8>) -> u32 {
        match self {
            Self::Http1(_) => Http1::request(request, out),
            Self::Http2(http2) => return http2.request(request, out),
            Self::Lines(_) => Lines::request(request, out),
        }
        0
    }

    /// Takes what was read; `out` gets what the protocol itself has to say back.
    ///
    /// # Errors
    /// If it is not this protocol. The connection is of no more use.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        mut sink: impl FnMut(u32, Signal<'_>),
    ) -> io::Result<()> {
        match self {
            Self::Http1(http1) => http1.feed(bytes, |signal| sink(0, signal)),
            Self::Http2(http2) => http2.feed(bytes, out, sink),
            Self::Lines(lines) => {
                lines.feed(bytes, |signal| sink(0, signal));
                Ok(())
            }
        }
    }
}

/// An error of a peer that does not keep to the protocol.
pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
