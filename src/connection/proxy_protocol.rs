//! The PROXY protocol, versions 1 and 2: a balancer in front says, before anything else, whose connection it carries.
//!
//! Invariants: not one byte behind the header is taken from the socket, since the next ones may be a TLS handshake; a
//! header is bounded, and whatever is not exactly one is refused. Written here and not taken from a crate: those parse
//! bytes that somebody has read already, and how to read no more than them is most of this file.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::transport::Socket;

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_HEAD: usize = 16;
/// The most bytes behind that head: addresses, and what a balancer adds of its own, such as a client's certificate.
const MAX_V2_REST: usize = 4096;

const V1: &[u8] = b"PROXY ";
/// The longest line of version 1, with its end.
const MAX_V1: usize = 107;

/// Why there is no header.
#[derive(Debug)]
pub enum HeaderError {
    /// What came is none.
    Malformed,
    /// It is longer than any balancer's.
    TooLong,
    /// The connection broke or ended.
    Io(io::Error),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("what it began with is no header of the PROXY protocol"),
            Self::TooLong => f.write_str("its header of the PROXY protocol is too long"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HeaderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Malformed | Self::TooLong => None,
        }
    }
}

/// Whose connection it is, as a balancer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// That of a client at this address.
    Client(SocketAddr),
    /// Its own: a health check.
    Itself,
    /// A client's whom it does not know.
    Nobody,
}

/// Reads a header off a socket, and nothing behind it.
pub(super) async fn read(socket: &Socket) -> Result<Said, HeaderError> {
    let mut came = Vec::new();
    let mut bytes = [0; V2_HEAD + MAX_V2_REST];
    loop {
        // Looked at first, and taken only as far as it is the header's.
        let seen = socket.peek(&mut bytes).await.map_err(HeaderError::Io)?;
        if seen == 0 {
            return Err(HeaderError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let before = came.len();
        came.extend_from_slice(&bytes[..seen]);
        let whole = parse(&came)?;
        let taken = whole.as_ref().map_or(seen, |header| header.length - before);
        socket.read_seen(&mut bytes[..taken]).map_err(HeaderError::Io)?;
        if let Some(header) = whole {
            return Ok(header.said);
        }
    }
}

/// A whole header.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    /// How many bytes it is.
    length: usize,
    said: Said,
}

/// Reads a header at the beginning of `bytes`; none if more bytes have to come before it is one.
fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let begins = |with: &[u8]| {
        let length = bytes.len().min(with.len());
        bytes[..length] == with[..length]
    };
    if begins(SIGNATURE) {
        parse_v2(bytes)
    } else if begins(V1) {
        parse_v1(bytes)
    } else {
        Err(HeaderError::Malformed)
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(MAX_V1)]) else {
        return if bytes.len() < MAX_V1 { Ok(None) } else { Err(HeaderError::TooLong) };
    };
    let line = bytes[V1.len()..end].strip_suffix(b"\r").ok_or(HeaderError::Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| HeaderError::Malformed)?;
    let said = v1_said(line).ok_or(HeaderError::Malformed)?;
    Ok(Some(Header { length: end + 1, said }))
}

/// What a line says, without its first word and its end; none if it is not such a line.
fn v1_said(line: &str) -> Option<Said> {
    // What follows it is not to be looked at.
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Said::Nobody);
    }
    let mut words = line.split(' ');
    let is_v6 = match words.next()? {
        "TCP4" => false,
        "TCP6" => true,
        _ => return None,
    };
    let mut address = || words.next()?.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv6() == is_v6);
    let (source, _) = (address()?, address()?);
    let (port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| Said::Client(SocketAddr::new(source, port)))
}

/// A port in decimal, without a sign or zeros before it.
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_plain)
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let Some((head, rest)) = bytes.split_at_checked(V2_HEAD) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > MAX_V2_REST {
        return Err(HeaderError::TooLong);
    }
    // The addresses come first; what a balancer adds behind them is passed over.
    let (otherwise, addresses) = match (head[12], head[13]) {
        // It speaks for itself, whatever it says beyond that.
        (0x20, _) => (Said::Itself, None),
        (0x21, 0x11) => (Said::Nobody, Some(12)),
        (0x21, 0x21) => (Said::Nobody, Some(36)),
        // No address, one of a kind that is no client's here (datagrams, Unix sockets).
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => (Said::Nobody, None),
        _ => return Err(HeaderError::Malformed),
    };
    if addresses.is_some_and(|needed| length < needed) {
        return Err(HeaderError::Malformed);
    }
    let Some(rest) = rest.get(..length) else { return Ok(None) };
    let said = match addresses {
        None => otherwise,
        Some(needed) => Said::Client(source(&rest[..needed]).ok_or(HeaderError::Malformed)?),
    };
    Ok(Some(Header { length: V2_HEAD + length, said }))
}

/// The first of two addresses, and the first of the two ports behind them.
fn source(block: &[u8]) -> Option<SocketAddr> {
    let (addresses, ports) = block.split_at_checked(block.len().checked_sub(4)?)?;
    let ip: IpAddr = match addresses.len() {
        8 => Ipv4Addr::from(*addresses.first_chunk::<4>()?).into(),
        _ => Ipv6Addr::from(*addresses.first_chunk::<16>()?).into(),
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*ports.first_chunk()?)))
}

#[cfg(test)]
mod tests;
