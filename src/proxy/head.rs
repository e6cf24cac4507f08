//! Heads of HTTP/1.1 on the app's side (RFC 9112, sections 2 to 5): a request's written, an answer's read. Pure: bytes
//! in, bytes out.
//!
//! What is read is held to the letter by `httparse`: no folded lines, no bare CR, no NUL, no space before a colon.
//! How the body ends is decided here, once, and where two readers could differ about it the answer is refused.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::uri::PathAndQuery;
use http::{Extensions, Method, StatusCode};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use smallvec::SmallVec;

use super::error::AnswerFault;
use super::framing::Framing;

const KEEP_ALIVE: &str = "keep-alive";

const EVENT_STREAM: &[u8] = b"text/event-stream";

/// The largest head of an answer, in bytes.
pub(super) const MAX_HEAD: usize = 128 * 1024;

/// The most fields in a head, and in the trailers behind a body.
pub(super) const MAX_FIELDS: usize = 100;

/// Writes the first line of a request, of whose path `prefix` is taken off; the rest of it stays as it is.
pub(super) fn write_request_line(out: &mut Vec<u8>, method: &Method, target: &PathAndQuery, prefix: &str) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    let target = target.as_str();
    let target = target.strip_prefix(prefix).unwrap_or(target);
    // Of an absolute target that had no path, and of one that was the prefix, the query alone is left.
    if !target.starts_with(['/', '*']) {
        out.push(b'/');
    }
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Writes the line of one field.
pub(super) fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// All fields, but for a `Connection` that says no more than `keeps`.
    pub(super) fields: HeaderMap,
    /// The reason phrase, if it is not the usual one.
    pub(super) extensions: Extensions,
    /// How the body ends.
    pub(super) framing: Framing,
    /// Whether the connection may serve another request (RFC 9112, section 9.3).
    pub(super) keeps: bool,
    /// Whether it begins an event stream.
    pub(super) is_event_stream: bool,
    /// How long the app says that it keeps the connection when nothing is asked.
    pub(super) keep_alive: Option<Duration>,
}

/// How much of a head that has not all come has been looked at already: whatever pieces it comes in, looking at it
/// takes no more than a few times its length.
#[derive(Debug, Default)]
pub(super) struct Seen {
    searched: usize,
    parsed: usize,
}

impl Seen {
    /// Whether to parse what there is: its end has come, or no more of it may come, or it has doubled since the last
    /// time, so that what is not HTTP is not waited for.
    fn is_due(&mut self, read: &[u8]) -> bool {
        // The blank line may have been cut.
        let new = &read[self.searched.saturating_sub(2)..];
        self.searched = read.len();
        let is_due = read.len() >= (2 * self.parsed).min(MAX_HEAD) || has_blank_line(new);
        if is_due {
            self.parsed = read.len();
        }
        is_due
    }
}

/// Whether a line ends that has nothing in it, behind another one.
pub(super) fn has_blank_line(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|end| matches!(&bytes[end + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// Takes the head of an answer off the front of `read`; none if it has not all come. `seen` goes from one call to the
/// next; `fields` is an empty map to be filled, and stays as it is as long as there is no head; `to_head` says that
/// the request was a HEAD.
pub(super) fn take_answer(
    read: &mut BytesMut,
    seen: &mut Seen,
    fields: &mut HeaderMap,
    to_head: bool,
) -> Result<Option<Head>, AnswerFault> {
    while let Some(line) = [&b"\r\n"[..], b"\n"].into_iter().find(|line| read.starts_with(line)) {
        // Some apps end a body with a line's end that belongs to nothing.
        read.advance(line.len());
        *seen = Seen::default();
    }
    if !seen.is_due(read) {
        return Ok(None);
    }
    let mut places = Places::new();
    let Some(lines) = Lines::find(read, &mut places)? else {
        return if read.len() >= MAX_HEAD { Err(AnswerFault::HeadTooLarge) } else { Ok(None) };
    };
    if lines.length > MAX_HEAD {
        return Err(AnswerFault::HeadTooLarge);
    }
    *seen = Seen::default();
    let bytes = read.split_to(lines.length).freeze();
    let mut extensions = Extensions::new();
    if let Some(reason) = lines.reason
        && let Ok(reason) = ReasonPhrase::try_from(bytes.slice(reason))
    {
        extensions.insert(reason);
    }
    let mut fields = std::mem::take(fields);
    let said = Said::take(&bytes, &places, &mut fields)?;
    let (framing, is_whole) = said.framing(lines.status, lines.is_http_10, to_head)?;
    let keeps = is_whole && said.keeps(lines.is_http_10);
    Ok(Some(Head {
        status: lines.status,
        fields,
        extensions,
        framing,
        keeps,
        is_event_stream: said.is_event_stream.unwrap_or_default(),
        keep_alive: said.keep_alive_for,
    }))
}

/// Where the name and the value of each field are.
type Places = SmallVec<[(Range<usize>, Range<usize>); 24]>;

/// Where the other parts of a head are.
struct Lines {
    length: usize,
    status: StatusCode,
    is_http_10: bool,
    reason: Option<Range<usize>>,
}

impl Lines {
    /// Finds them; `fields` is filled where it is, since it is large.
    fn find(read: &[u8], fields: &mut Places) -> Result<Option<Self>, AnswerFault> {
        let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut head, read, &mut room);
        let Status::Complete(length) = parsed.map_err(AnswerFault::Head)? else { return Ok(None) };
        let (Some(version), Some(code)) = (head.version, head.code) else { return Ok(None) };
        let status = StatusCode::from_u16(code).map_err(|_| AnswerFault::Head(httparse::Error::Status))?;
        let start = read.as_ptr() as usize;
        let place = |part: &[u8]| {
            let from = part.as_ptr() as usize - start;
            from..from + part.len()
        };
        // A reason that is missing or unreadable is an empty one that lies elsewhere, and has no place.
        let is_of_use = |reason: &&str| !reason.is_empty() && Some(*reason) != status.canonical_reason();
        let reason = head.reason.filter(is_of_use);
        fields.extend(head.headers.iter().map(|line| (place(line.name.as_bytes()), place(line.value))));
        Ok(Some(Self {
            length,
            status,
            is_http_10: version == 0,
            reason: reason.map(|reason| place(reason.as_bytes())),
        }))
    }
}

/// What an answer says of its own framing and of its connection.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    is_coded: bool,
    /// Whether the one coding is `chunked`.
    is_chunked: bool,
    close: bool,
    keep_alive: bool,
    keep_alive_for: Option<Duration>,
    /// None until the type is said; the first one counts.
    is_event_stream: Option<bool>,
}

impl Said {
    /// Reads the fields into `map`; several lengths that agree become one.
    fn take(
        bytes: &Bytes,
        lines: &[(Range<usize>, Range<usize>)],
        map: &mut HeaderMap,
    ) -> Result<Self, AnswerFault> {
        let mut said = Self::default();
        map.reserve(lines.len());
        for (name, value) in lines {
            let name_length = name.len();
            let name = HeaderName::from_bytes(&bytes[name.clone()])
                .map_err(|_| AnswerFault::Head(httparse::Error::HeaderName))?;
            let text = &bytes[value.clone()];
            if name == CONTENT_LENGTH {
                let length = content_length(text).ok_or(AnswerFault::Length)?;
                match said.length.replace(length) {
                    Some(other) if other != length => return Err(AnswerFault::Length),
                    Some(_) => continue,
                    None if text.contains(&b',') => {
                        map.append(name, HeaderValue::from(length));
                        continue;
                    }
                    None => {}
                }
            } else if name == TRANSFER_ENCODING {
                said.coding(text)?;
            } else if name == CONNECTION {
                for option in tokens(text) {
                    said.close |= option.eq_ignore_ascii_case(b"close");
                    said.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                // What nearly all say. It is said by `keeps` now, and would only be taken out again.
                if matches!(text, b"keep-alive" | b"close") {
                    continue;
                }
            } else if name == CONTENT_TYPE {
                said.is_event_stream.get_or_insert_with(|| is_event_stream(text));
            }
            if name_length == KEEP_ALIVE.len() && name == KEEP_ALIVE {
                said.keep_alive_for = timeout(text);
            }
            let value = HeaderValue::from_maybe_shared(bytes.slice(value.clone()))
                .map_err(|_| AnswerFault::Head(httparse::Error::HeaderValue))?;
            map.append(name, value);
        }
        Ok(said)
    }

    /// We ask for no coding but `chunked`, so no other may come: its label ends here, and without it the client would
    /// take what is coded for the content (RFC 9112, section 7). `identity` of old is none.
    fn coding(&mut self, value: &[u8]) -> Result<(), AnswerFault> {
        for coding in tokens(value) {
            let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            let is_twice = self.is_coded && (is_chunked || self.is_chunked);
            if is_twice || !(is_chunked || coding.eq_ignore_ascii_case(b"identity")) {
                return Err(AnswerFault::Coding);
            }
            (self.is_coded, self.is_chunked) = (true, is_chunked);
        }
        self.is_coded = true;
        Ok(())
    }

    /// RFC 9112, section 6.3; and whether nothing in it is doubtful.
    fn framing(
        &self,
        status: StatusCode,
        is_http_10: bool,
        to_head: bool,
    ) -> Result<(Framing, bool), AnswerFault> {
        // HTTP/1.0 has no codings: who sends one does not know what it passes on (section 6.1).
        if self.is_coded && is_http_10 {
            return Err(AnswerFault::Coding);
        }
        let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(match (self.is_coded, self.length) {
            _ if to_head || has_none || status.is_informational() => (Framing::none(), true),
            // The coding overrides the length, and the connection ends: somebody may have read it otherwise.
            (true, length) if self.is_chunked => (Framing::chunked(), length.is_none()),
            (false, Some(length)) => (Framing::length(length), true),
            // Until the end of the connection, says the standard, and by the length, say some.
            (true, Some(_)) => return Err(AnswerFault::Coding),
            (_, None) => (Framing::close(), false),
        })
    }

    fn keeps(&self, is_http_10: bool) -> bool {
        !self.close && (!is_http_10 || self.keep_alive)
    }
}

fn is_event_stream(kind: &[u8]) -> bool {
    kind.get(..EVENT_STREAM.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(EVENT_STREAM))
}

/// What `Keep-Alive: timeout=5, max=100` says, in whole seconds.
fn timeout(value: &[u8]) -> Option<Duration> {
    let seconds = tokens(value).find_map(|token| token.strip_prefix(b"timeout="))?;
    std::str::from_utf8(seconds).ok()?.parse().ok().map(Duration::from_secs)
}

/// A length, or several that agree (RFC 9110, section 8.6). Digits only: no sign, nothing that overflows.
fn content_length(value: &[u8]) -> Option<u64> {
    let mut found = None;
    for text in value.split(|byte| *byte == b',') {
        let digits = text.trim_ascii();
        if digits.is_empty() {
            return None;
        }
        let length = digits.iter().try_fold(0u64, |length, digit| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
            length.checked_mul(10)?.checked_add(digit)
        })?;
        if found.replace(length).is_some_and(|other| other != length) {
            return None;
        }
    }
    found
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests;
