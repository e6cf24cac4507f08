//! HTTP/1.1 as a client of a benchmark needs it: one answer after the other, their bodies as they come.

use std::io;

use memchr::memmem;

use crate::chunks::Chunks;
use crate::codec::{Request, Signal, malformed};

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// How far into an answer we are.
#[derive(Debug, Default)]
pub(crate) struct Http1 {
    /// The beginning of a head whose end has not come.
    head: Vec<u8>,
    body: Body,
}

#[derive(Debug, Default)]
enum Body {
    /// Between two answers, or in a head.
    #[default]
    None,
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

impl Http1 {
    /// Writes a request.
    pub(crate) fn request(request: &Request<'_>, out: &mut Vec<u8>) {
        for part in
            [request.method.as_bytes(), b" ", request.path, b" HTTP/1.1\r\nHost: ", request.host.as_bytes()]
        {
            out.extend_from_slice(part);
        }
        for (name, value) in request.headers {
            for part in [b"\r\n", name.as_bytes(), b": ", value] {
                out.extend_from_slice(part);
            }
        }
        if request.method != "GET" {
            out.extend_from_slice(b"\r\nContent-Length: ");
            out.extend_from_slice(itoa::Buffer::new().format(request.body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(request.body);
    }

    /// Takes what was read.
    ///
    /// # Errors
    /// If it is not HTTP/1.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut sink: impl FnMut(Signal<'_>)) -> io::Result<()> {
        while !bytes.is_empty() {
            let used = match &mut self.body {
                Body::None => self.head(bytes, &mut sink)?,
                Body::UntilClose => {
                    sink(Signal::Data(bytes));
                    bytes.len()
                }
                Body::Length(left) => {
                    let now = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= now as u64;
                    let ended = *left == 0;
                    sink(Signal::Data(&bytes[..now]));
                    if ended {
                        self.end(&mut sink);
                    }
                    now
                }
                Body::Chunked(chunks) => {
                    let used = chunks.feed(bytes, |data| sink(Signal::Data(data)))?;
                    if *chunks == Chunks::Done {
                        self.end(&mut sink);
                    }
                    used
                }
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    fn end(&mut self, sink: &mut impl FnMut(Signal<'_>)) {
        self.body = Body::None;
        sink(Signal::End);
    }

    /// Takes bytes of a head and returns how many were the head's.
    fn head(&mut self, bytes: &[u8], sink: &mut impl FnMut(Signal<'_>)) -> io::Result<usize> {
        let before = self.head.len();
        let (head, used) = if before == 0
            && let Some(end) = memmem::find(bytes, b"\r\n\r\n")
        {
            (parse(&bytes[..end])?, end + 4)
        } else {
            self.head.extend_from_slice(bytes);
            let Some(end) = memmem::find(&self.head, b"\r\n\r\n") else {
                return if self.head.len() > MAX_HEAD {
                    Err(malformed("a head without an end"))
                } else {
                    Ok(bytes.len())
                };
            };
            let head = parse(&self.head[..end])?;
            self.head = Vec::new();
            (head, end + 4 - before)
        };
        if head.status >= 200 {
            sink(Signal::Status(head.status));
            match head.body {
                Body::Length(0) => self.end(sink),
                body => self.body = body,
            }
        }
        Ok(used)
    }
}

struct Head {
    status: u16,
    body: Body,
}

/// Reads a head without its empty line.
fn parse(head: &[u8]) -> io::Result<Head> {
    let status = head
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| malformed("an answer that is not HTTP/1"))?;
    let mut body = if matches!(status, 204 | 304) { Body::Length(0) } else { Body::UntilClose };
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case(b"chunked") {
            body = Body::Chunked(Chunks::START);
        } else if name.eq_ignore_ascii_case(b"content-length") && matches!(body, Body::UntilClose) {
            let length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            body = Body::Length(length.ok_or_else(|| malformed("a length that is not a number"))?);
        }
    }
    Ok(Head { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERS: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
        HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n\
        HTTP/1.1 200 OK\r\n\r\nuntil the end";

    #[test]
    fn answers_are_the_same_wherever_they_are_cut() {
        for size in 1..=ANSWERS.len() {
            let mut http1 = Http1::default();
            let (mut heads, mut ends, mut body) = (Vec::new(), 0, Vec::new());
            for piece in ANSWERS.chunks(size) {
                let take = |signal: Signal<'_>| match signal {
                    Signal::Status(status) => heads.push(status),
                    Signal::Data(data) => body.extend_from_slice(data),
                    Signal::End => ends += 1,
                    Signal::Broken => unreachable!(),
                };
                http1.feed(piece, take).unwrap();
            }
            assert_eq!(heads, [200, 204, 403, 200], "in pieces of {size}");
            assert_eq!((ends, body.as_slice()), (3, b"hellonountil the end".as_slice()));
        }
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        for text in
            ["SSH-2.0\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"]
        {
            assert!(Http1::default().feed(text.as_bytes(), |_| ()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_request_with_and_without_a_body() {
        let headers = [("accept".to_owned(), b"text/event-stream".to_vec())];
        let get = Request { method: "GET", host: "h", path: b"/p", headers: &headers, body: b"" };
        let mut out = Vec::new();
        Http1::request(&get, &mut out);
        assert_eq!(out, b"GET /p HTTP/1.1\r\nHost: h\r\naccept: text/event-stream\r\n\r\n");
        out.clear();
        Http1::request(&Request { method: "POST", headers: &[], body: b"{}", ..get }, &mut out);
        assert_eq!(out, b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}");
    }
}
