//! An event stream, read: bytes in, in whatever pieces they come, events out. Pure.
//!
//! Follows WHATWG HTML, section 9.2.6. Invariant: how the bytes were cut makes no difference, and an id only counts
//! once the blank line behind it was seen, so that resuming from [`Parser::last_id`] never skips an event.

use std::error::Error;
use std::fmt;
use std::mem;

/// The most bytes that one event may have; no server can be configured to send a longer one.
const MAX_EVENT: usize = 64 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// The id to resume from after this event; empty when the stream has none.
    pub(super) id: String,
    /// The name; `message` when the stream gave none.
    pub(super) name: String,
    /// The `data:` lines, joined by LF.
    pub(super) data: String,
}

/// The state between two pieces of a stream.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    /// A CR ended the last line: an LF right behind it belongs to it.
    after_cr: bool,
    /// The first line is behind us, and with it a byte order mark.
    begun: bool,
    id: String,
    last_id: String,
    name: String,
    data: String,
    retry: Option<u64>,
}

/// An event that is longer than anything Sidestream sends; the stream cannot be read on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Parser {
    /// Begins a stream that resumes from `last_id` (empty: from nothing).
    pub(super) fn resuming(last_id: String) -> Self {
        Self { id: last_id.clone(), last_id, ..Self::default() }
    }

    /// The id of the last block that was complete.
    pub(super) fn last_id(&self) -> &str {
        &self.last_id
    }

    /// How many milliseconds the server last asked to wait before coming back.
    pub(super) fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// Takes the next bytes and adds the events that they complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        if mem::take(&mut self.after_cr) {
            match bytes {
                [b'\n', rest @ ..] => bytes = rest,
                [] => self.after_cr = true,
                _ => {}
            }
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
            let (part, rest) = bytes.split_at(end);
            self.extend_line(part)?;
            bytes = match rest {
                [b'\r', b'\n', rest @ ..] => rest,
                [b'\r'] => {
                    self.after_cr = true;
                    &[]
                }
                [_, rest @ ..] => rest,
                [] => &[],
            };
            let line = mem::take(&mut self.line);
            self.take_line(&line, events);
            // Keeps the buffer for the next line.
            self.line = line;
            self.line.clear();
        }
        self.extend_line(bytes)
    }

    fn extend_line(&mut self, part: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + part.len() + self.data.len() > MAX_EVENT {
            return Err(TooLong);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], events: &mut Vec<Event>) {
        let line = String::from_utf8_lossy(line);
        let first = !mem::replace(&mut self.begun, true);
        let line = match line.strip_prefix('\u{feff}') {
            Some(line) if first => line,
            _ => &line,
        };
        if line.is_empty() {
            return self.dispatch(events);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => value.clone_into(&mut self.name),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok();
            }
            // A comment (an empty field), or a field that nobody knows.
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        self.last_id.clone_from(&self.id);
        let name = mem::take(&mut self.name);
        let mut data = mem::take(&mut self.data);
        // Without one `data:` line it is no event.
        if data.pop().is_none() {
            return;
        }
        events.push(Event {
            id: self.last_id.clone(),
            name: if name.is_empty() { "message".to_owned() } else { name },
            data,
        });
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event of more than {} MiB", MAX_EVENT >> 20)
    }
}

impl Error for TooLong {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(id: &str, name: &str, data: &str) -> Event {
        Event { id: id.into(), name: name.into(), data: data.into() }
    }

    fn read(pieces: &[&[u8]]) -> (Vec<Event>, Parser) {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.feed(piece, &mut events).unwrap();
        }
        (events, parser)
    }

    #[test]
    fn reads_the_examples_of_the_standard() {
        for (stream, expected) in [
            ("data: a\n\n", vec![event("", "message", "a")]),
            ("data:a\ndata:  b\n\n", vec![event("", "message", "a\n b")]),
            ("event: x\nid: 7\ndata: {}\n\n", vec![event("7", "x", "{}")]),
            ("\u{feff}data: a\n\n", vec![event("", "message", "a")]),
            ("data\n\ndata\ndata\n\ndata:", vec![event("", "message", ""), event("", "message", "\n")]),
            (": comment\n\n", vec![]),
            ("event: x\n\ndata: a\n\n", vec![event("", "message", "a")]),
            (
                "id: 1\ndata: a\n\nid\ndata: b\n\n",
                vec![event("1", "message", "a"), event("", "message", "b")],
            ),
            ("id: a\0b\ndata: a\n\n", vec![event("", "message", "a")]),
            (
                "data: a\r\rdata: b\r\n\r\ndata: c\n\r",
                vec![event("", "message", "a"), event("", "message", "b"), event("", "message", "c")],
            ),
            ("data: not ended\n", vec![]),
            ("unknown: x\nDATA: x\ndata: a\n\n", vec![event("", "message", "a")]),
        ] {
            assert_eq!(read(&[stream.as_bytes()]).0, expected, "{stream:?}");
        }
    }

    #[test]
    fn an_id_counts_from_the_blank_line_on() {
        let (events, parser) = read(&[b"id: 3\n\nid: 4\ndata: x\n"]);
        assert!(events.is_empty());
        assert_eq!(parser.last_id(), "3");
        assert_eq!(Parser::resuming("9".into()).last_id(), "9");
    }

    #[test]
    fn retry_is_digits_only() {
        for (line, retry) in
            [("retry: 1500", Some(1500)), ("retry: 1s", None), ("retry:", None), ("retry: -1", None)]
        {
            assert_eq!(read(&[line.as_bytes(), b"\n"]).1.retry(), retry, "{line}");
        }
    }

    #[test]
    fn broken_utf8_becomes_replacement_characters() {
        assert_eq!(read(&[b"data: a\xff\n\n"]).0, [event("", "message", "a\u{fffd}")]);
    }

    #[test]
    fn an_endless_line_is_an_error() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; MAX_EVENT / 4];
        let fed: Vec<_> = (0..5).map(|_| parser.feed(&piece, &mut Vec::new())).collect();
        assert_eq!(fed.last(), Some(&Err(TooLong)));
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(
            lines in prop::collection::vec("(data|id|event|retry|x|)(:| |: |:  )?[a-cé\0]{0,4}(\r|\n|\r\n|\n\n|\r\r)", 0..20),
            bom in any::<bool>(),
            cuts in prop::collection::vec(0_usize..200, 0..20),
        ) {
            let stream = format!("{}{}", if bom { "\u{feff}" } else { "" }, lines.concat()).into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            let (whole, parser) = read(&[&stream]);
            let (pieced, other) = read(&pieces);
            prop_assert_eq!(whole, pieced);
            prop_assert_eq!(parser.last_id(), other.last_id());
            prop_assert_eq!(parser.retry(), other.retry());
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            read(&[&bytes]);
        }
    }
}
