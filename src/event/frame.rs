//! Frames: an event encoded once, for every subscriber and every protocol.

use std::io::Write as _;

use bytes::Bytes;

use super::{EventId, EventName, Timestamp};

/// Room for the chunk-size line of HTTP/1.1: at most 8 hex digits and CRLF, and the CRLF after the data.
const CHUNK_OVERHEAD: usize = 12;

/// When a frame expires that is of use for ever.
const NEVER: Timestamp = Timestamp(u64::MAX);

/// What one publication says, before it has an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// The `event:` field; none is the client's default, `message`.
    pub name: Option<EventName>,
    /// The data, split into lines when encoded. Must not hold NUL; who accepts it checks that.
    pub data: Bytes,
    /// The `retry:` field, in milliseconds.
    pub retry: Option<u32>,
}

impl Event {
    /// Encodes the event under its id.
    pub fn frame(&self, id: EventId) -> Frame {
        let mut text = Vec::with_capacity(self.data.len() + 96);
        line(&mut text, "id: ", id);
        self.fields(&mut text);
        Frame::new(&text)
    }

    /// Encodes the event without an id of its own: the client's last id stays what it was.
    pub fn frame_without_id(&self) -> Frame {
        let mut text = Vec::with_capacity(self.data.len() + 64);
        self.fields(&mut text);
        Frame::new(&text)
    }

    fn fields(&self, text: &mut Vec<u8>) {
        if let Some(name) = &self.name {
            line(text, "event: ", name.as_str());
        }
        if let Some(retry) = self.retry {
            line(text, "retry: ", retry);
        }
        for part in lines(&self.data) {
            text.extend_from_slice(b"data: ");
            text.extend_from_slice(part);
            text.push(b'\n');
        }
        text.push(b'\n');
    }
}

/// Bytes of an event stream, ready for the socket: one HTTP/1.1 chunk, whose inside is what every other protocol
/// sends. Cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct Frame {
    chunk: Bytes,
    /// Where the text begins: after the chunk-size line.
    start: u8,
    /// From then on it is of no use, and is not written any more.
    expires: Timestamp,
}

impl Frame {
    /// Encodes text that is already in event-stream form. An empty chunk would end the body, so empty text becomes
    /// the empty comment.
    pub fn new(text: &[u8]) -> Self {
        let text = if text.is_empty() { b":\n" } else { text };
        let mut chunk = Vec::with_capacity(text.len() + CHUNK_OVERHEAD);
        // Writing to a Vec cannot fail.
        let _ = write!(chunk, "{:x}\r\n", text.len());
        let start = u8::try_from(chunk.len()).unwrap_or(u8::MAX);
        chunk.extend_from_slice(text);
        chunk.extend_from_slice(b"\r\n");
        Self { chunk: chunk.into(), start, expires: NEVER }
    }

    /// The same frame, of use until then.
    #[must_use]
    pub fn until(self, expires: Option<Timestamp>) -> Self {
        Self { expires: expires.unwrap_or(NEVER), ..self }
    }

    /// Until when it is of use, if not for ever.
    pub fn expires(&self) -> Option<Timestamp> {
        (self.expires != NEVER).then_some(self.expires)
    }

    /// The frame as one chunk of an HTTP/1.1 body (RFC 9112, section 7.1).
    pub fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// The bare text, for HTTP/2 and HTTP/1.0.
    pub fn text(&self) -> Bytes {
        self.chunk.slice(usize::from(self.start)..self.chunk.len() - 2)
    }

    /// The length on an HTTP/1.1 wire, in bytes; what histories and backlogs count.
    pub fn len(&self) -> usize {
        self.chunk.len()
    }

    /// Never true; here because there is a [`Frame::len`].
    pub fn is_empty(&self) -> bool {
        self.chunk.is_empty()
    }
}

/// A comment line, which a client reads past. One line and no blank one, so that no client fires an event for it.
/// `text` is the operator's and holds no line break.
pub fn comment(text: &str) -> Frame {
    let mut line = Vec::with_capacity(text.len() + 2);
    line.push(b':');
    line.extend(text.bytes().filter(|b| !matches!(b, b'\r' | b'\n')));
    line.push(b'\n');
    Frame::new(&line)
}

/// How every stream begins: the reconnection time and the client's cursor, on `hello` if there is one, else on an
/// id line and a blank one, which fire nothing and still set the last event id. Without a cursor the client keeps the
/// id it came with: what is to move it comes behind.
pub fn opening(retry_ms: u64, cursor: Option<EventId>, hello: Option<&Event>) -> Frame {
    let mut text = Vec::with_capacity(64 + hello.map_or(0, |event| event.data.len() + 32));
    line(&mut text, "retry: ", retry_ms);
    if let Some(cursor) = cursor {
        line(&mut text, "id: ", cursor);
    }
    match hello {
        Some(event) => event.fields(&mut text),
        None => text.push(b'\n'),
    }
    Frame::new(&text)
}

/// An id line and a blank one: the client fires nothing and comes back with this id.
pub fn place(cursor: EventId) -> Frame {
    Frame::new(format!("id: {cursor}\n\n").as_bytes())
}

/// The id that a piece of a stream begins with: a frame as text, or as a chunk.
pub fn id_in(piece: &[u8]) -> Option<EventId> {
    let mut lines = piece.split(|byte| *byte == b'\n').take(2);
    lines.find_map(|line| std::str::from_utf8(line).ok()?.strip_prefix("id: ")?.parse().ok())
}

fn line(text: &mut Vec<u8>, field: &str, value: impl std::fmt::Display) {
    // Writing to a Vec cannot fail.
    let _ = writeln!(text, "{field}{value}");
}

/// The lines of data as a client will count them: ended by CRLF, LF or CR. Never none.
fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let data = rest?;
        match memchr::memchr2(b'\r', b'\n', data) {
            None => {
                rest = None;
                Some(data)
            }
            Some(end) => {
                let width = if data[end..].starts_with(b"\r\n") { 2 } else { 1 };
                rest = Some(&data[end + width..]);
                Some(&data[..end])
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Epoch;
    use proptest::prelude::*;

    fn id(seq: u64) -> EventId {
        EventId { epoch: Epoch::from_bits(0), seq }
    }

    fn text(event: &Event) -> String {
        String::from_utf8(event.frame(id(7)).text().to_vec()).unwrap()
    }

    fn event(name: Option<&str>, data: &str) -> Event {
        Event {
            name: name.map(|n| EventName::configured(n).unwrap()),
            data: data.to_owned().into(),
            retry: None,
        }
    }

    #[test]
    fn encodes_fields_in_order() {
        for (made, expected) in [
            (event(None, "hi"), "id: 000000-7\ndata: hi\n\n"),
            (event(Some("note"), "{}"), "id: 000000-7\nevent: note\ndata: {}\n\n"),
            (event(None, ""), "id: 000000-7\ndata: \n\n"),
            (event(None, "a\nb\rc\r\nd\n"), "id: 000000-7\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
            (Event { retry: Some(250), ..event(None, "x") }, "id: 000000-7\nretry: 250\ndata: x\n\n"),
        ] {
            assert_eq!(text(&made), expected);
        }
    }

    #[test]
    fn a_chunk_is_the_text_with_its_length() {
        let frame = Frame::new(b"data: 0123456789\n\n");
        assert_eq!(&frame.chunk()[..], b"12\r\ndata: 0123456789\n\n\r\n");
        assert_eq!(&frame.text()[..], b"data: 0123456789\n\n");
        assert_eq!(&Frame::new(b"").text()[..], b":\n");
    }

    #[test]
    fn a_stream_opens_with_an_id_that_fires_nothing() {
        assert_eq!(&opening(5000, Some(id(3)), None).text()[..], b"retry: 5000\nid: 000000-3\n\n");
        assert_eq!(&opening(5000, None, None).text()[..], b"retry: 5000\n\n");
        let hello = event(Some("connected"), "{}");
        let expected = b"retry: 5000\nid: 000000-3\nevent: connected\ndata: {}\n\n";
        assert_eq!(&opening(5000, Some(id(3)), Some(&hello)).text()[..], expected);
    }

    #[test]
    fn a_comment_is_one_line() {
        assert_eq!(&comment("").text()[..], b":\n");
        assert_eq!(&comment("heart\r\nbeat").text()[..], b":heartbeat\n");
    }

    /// What a client makes of a stream (WHATWG HTML, section 9.2.6), as far as our frames go.
    fn read_back(text: &str) -> (Option<String>, Option<String>, String) {
        let normal = text.replace("\r\n", "\n").replace('\r', "\n");
        let (mut id, mut name, mut data) = (None, None, Vec::new());
        for line in normal.strip_suffix("\n\n").unwrap().split('\n') {
            let (field, value) = line.split_once(": ").unwrap();
            match field {
                "id" => id = Some(value.to_owned()),
                "event" => name = Some(value.to_owned()),
                "data" => data.push(value.to_owned()),
                other => panic!("a field came from nowhere: {other:?}"),
            }
        }
        (id, name, data.join("\n"))
    }

    proptest! {
        #[test]
        fn data_comes_back_with_its_line_breaks_as_lf(data in "[^\\x00]*") {
            let read = read_back(&text(&event(Some("e"), &data)));
            let normal = data.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(read, (Some("000000-7".into()), Some("e".into()), normal));
        }

        #[test]
        fn the_chunk_length_is_true(data in "[^\\x00]{0,5000}") {
            let frame = event(None, &data).frame(id(1));
            let chunk = frame.chunk();
            let end = memchr::memmem::find(chunk, b"\r\n").unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(&chunk[..end]).unwrap(), 16).unwrap();
            prop_assert_eq!(chunk.len(), end + 2 + size + 2);
            prop_assert_eq!(frame.text().len(), size);
        }
    }
}
