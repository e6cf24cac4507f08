//! Where the body of an answer ends (RFC 9112, sections 6 and 7). Pure: it takes pieces off a buffer and never reads.
//!
//! A body is whole only when its framing says so; what ends before that is broken. Every line of a chunked body is
//! bounded, and nothing is copied: pieces are split off the buffer that they were read into.

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use http_body::SizeHint;
use httparse::Status;

use super::error::AnswerFault;
use super::head::{MAX_FIELDS, has_blank_line};

/// The longest line of a chunk's size with its extensions, in bytes.
const MAX_CHUNK_LINE: usize = 4 * 1024;

/// The most bytes of trailers.
const MAX_TRAILERS: usize = 16 * 1024;

/// How much is read at a time, in bytes, of a body of which much is to come.
const LARGE_READ: usize = 64 * 1024;

/// How much is read at a time, in bytes, if it is not known what is to come.
const READ: usize = 16 * 1024;

/// The least room, in bytes, that is worth a system call.
const LEAST_READ: usize = 2 * 1024;

/// How a body ends, and how far it has come.
#[derive(Debug)]
pub(super) struct Framing(Kind);

#[derive(Debug)]
enum Kind {
    /// After so many bytes more.
    Length(u64),
    Chunked(Chunk),
    /// With the connection.
    Close,
}

/// What comes next of a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Size,
    /// So many bytes of data.
    Data(u64),
    /// The line's end behind the data.
    DataEnd,
    Trailers,
    End,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    /// Fields behind the body, which is whole.
    Trailers(HeaderMap),
    /// The body is whole.
    End,
    /// Not enough has come.
    Missing,
}

impl Framing {
    pub(super) fn none() -> Self {
        Self::length(0)
    }

    pub(super) fn length(length: u64) -> Self {
        Self(Kind::Length(length))
    }

    pub(super) fn chunked() -> Self {
        Self(Kind::Chunked(Chunk::Size))
    }

    pub(super) fn close() -> Self {
        Self(Kind::Close)
    }

    /// Whether all of the body has been taken.
    pub(super) fn is_end(&self) -> bool {
        matches!(self.0, Kind::Length(0) | Kind::Chunked(Chunk::End))
    }

    /// Whether the end of the connection is the end of the body.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.0, Kind::Close)
    }

    /// What is known of the size of what is left.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.0 {
            Kind::Length(left) => SizeHint::with_exact(left),
            Kind::Chunked(Chunk::End) => SizeHint::with_exact(0),
            Kind::Chunked(_) | Kind::Close => SizeHint::default(),
        }
    }

    /// The room to read into: if there is less than the first, as much as the second, in bytes.
    pub(super) fn room(&self) -> (usize, usize) {
        let known = match self.0 {
            Kind::Length(left) => left,
            Kind::Chunked(Chunk::Data(left)) => left.saturating_add(2),
            Kind::Chunked(_) | Kind::Close => return (LEAST_READ, READ),
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        (known.min(READ), known.clamp(LEAST_READ, LARGE_READ))
    }

    /// Takes the whole body off the front of `read`, if its length is known and all of it is there.
    pub(super) fn take_whole(&mut self, read: &mut BytesMut) -> Option<Bytes> {
        let Kind::Length(left) = &mut self.0 else { return None };
        let length = usize::try_from(*left).ok().filter(|length| *length <= read.len())?;
        *left = 0;
        Some(if length == 0 { Bytes::new() } else { read.split_to(length).freeze() })
    }

    /// Takes the next piece off the front of `read`.
    pub(super) fn take(&mut self, read: &mut BytesMut) -> Result<Piece, AnswerFault> {
        match &mut self.0 {
            Kind::Length(0) => Ok(Piece::End),
            Kind::Length(left) => Ok(take_data(read, left)),
            Kind::Close if read.is_empty() => Ok(Piece::Missing),
            Kind::Close => Ok(Piece::Data(read.split().freeze())),
            Kind::Chunked(next) => next.take(read),
        }
    }
}

fn take_data(read: &mut BytesMut, left: &mut u64) -> Piece {
    if read.is_empty() {
        return Piece::Missing;
    }
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
    *left -= length as u64;
    Piece::Data(read.split_to(length).freeze())
}

impl Chunk {
    fn take(&mut self, read: &mut BytesMut) -> Result<Piece, AnswerFault> {
        loop {
            match self {
                Self::Size => {
                    let seen = &read[..read.len().min(MAX_CHUNK_LINE)];
                    let Some(end) = memchr::memchr(b'\n', seen) else {
                        let is_too_long = read.len() >= MAX_CHUNK_LINE;
                        return if is_too_long { Err(AnswerFault::Chunk) } else { Ok(Piece::Missing) };
                    };
                    let size = chunk_size(&read[..end]).ok_or(AnswerFault::Chunk)?;
                    read.advance(end + 1);
                    *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
                }
                Self::Data(left) => {
                    let piece = take_data(read, left);
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(piece);
                }
                Self::DataEnd => {
                    if read.len() < 2 {
                        let is_wrong = read.first().is_some_and(|byte| *byte != b'\r');
                        return if is_wrong { Err(AnswerFault::Chunk) } else { Ok(Piece::Missing) };
                    }
                    if !read.starts_with(b"\r\n") {
                        return Err(AnswerFault::Chunk);
                    }
                    read.advance(2);
                    *self = Self::Size;
                }
                Self::Trailers => {
                    let Some(trailers) = take_trailers(read)? else { return Ok(Piece::Missing) };
                    *self = Self::End;
                    return Ok(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) });
                }
                Self::End => return Ok(Piece::End),
            }
        }
    }
}

/// The size in the line of a chunk, given without its LF. Extensions mean nothing to us (RFC 9112, section 7.1.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\r")?;
    // Where it ends must be beyond doubt: another reader might take a bare CR for the end.
    if line.contains(&b'\r') {
        return None;
    }
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    if digits.is_empty() || !matches!(rest.trim_ascii_start().first(), None | Some(b';')) {
        return None;
    }
    digits.iter().try_fold(0u64, |size, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        size.checked_mul(16)?.checked_add(digit.into())
    })
}

/// Takes the trailers and the blank line behind them (RFC 9112, section 7.1.2).
fn take_trailers(read: &mut BytesMut) -> Result<Option<HeaderMap>, AnswerFault> {
    if read.starts_with(b"\r\n") {
        read.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    // Not parsed before they are whole: they may come byte by byte.
    if read.len() < MAX_TRAILERS && !has_blank_line(read) {
        return Ok(None);
    }
    let mut lines = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let parsed = httparse::parse_headers(&read[..], &mut lines).map_err(AnswerFault::Trailers)?;
    let Status::Complete((length, lines)) = parsed else {
        return if read.len() >= MAX_TRAILERS { Err(AnswerFault::TrailersTooLarge) } else { Ok(None) };
    };
    if length > MAX_TRAILERS {
        return Err(AnswerFault::TrailersTooLarge);
    }
    let mut trailers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes())
            .map_err(|_| AnswerFault::Trailers(httparse::Error::HeaderName))?;
        let value = HeaderValue::from_bytes(line.value)
            .map_err(|_| AnswerFault::Trailers(httparse::Error::HeaderValue))?;
        trailers.append(name, value);
    }
    read.advance(length);
    Ok(Some(trailers))
}

#[cfg(test)]
mod tests;
