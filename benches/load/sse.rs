//! Reads an event stream as far as a measurement needs it: the stamps of its events, and its last id.
//!
//! Invariant: bytes may be cut anywhere; the result is the same.

use memchr::memchr;

use crate::stamp::Stamp;

/// One stream's reader.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// The beginning of a line whose end has not come.
    part: Vec<u8>,
    /// The id of the event that is being read.
    id: Vec<u8>,
    id_is_new: bool,
    /// The id to come back with.
    last_id: Vec<u8>,
    stamp: Option<Stamp>,
}

impl Scanner {
    /// Takes the next bytes and tells the stamp of each event that ends in them.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut event: impl FnMut(Stamp)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let line = &bytes[..end];
            let ended = if self.part.is_empty() {
                self.line(line)
            } else {
                let mut whole = std::mem::take(&mut self.part);
                whole.extend_from_slice(line);
                let ended = self.line(&whole);
                whole.clear();
                self.part = whole;
                ended
            };
            if let Some(stamp) = ended {
                event(stamp);
            }
            bytes = &bytes[end + 1..];
        }
        self.part.extend_from_slice(bytes);
    }

    /// The id of the last whole event, empty before the first.
    pub(crate) fn last_id(&self) -> &[u8] {
        &self.last_id
    }

    /// Forgets what was cut off in the middle; the last id stays.
    pub(crate) fn restart(&mut self) {
        let last_id = std::mem::take(&mut self.last_id);
        *self = Self { last_id, ..Self::default() };
    }

    /// Takes a line. Returns the event's stamp if the line ended one.
    fn line(&mut self, line: &[u8]) -> Option<Stamp> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            if std::mem::take(&mut self.id_is_new) {
                std::mem::swap(&mut self.id, &mut self.last_id);
            }
            return self.stamp.take();
        }
        if let Some(data) = field(line, b"data:") {
            self.stamp = self.stamp.or_else(|| Stamp::read(data));
        } else if let Some(id) = field(line, b"id:") {
            self.id.clear();
            self.id.extend_from_slice(id);
            self.id_is_new = true;
        }
        None
    }
}

/// The value of a line if it is this field.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] =
        b"retry: 5000\nid: e-1\n\n:\nid: e-2\ndata: load:0:1:5:xx\n\nevent: hello\r\ndata: {}\r\n\r\n\
        id:e-3\ndata:load:0:2:6:\ndata: more\n\nid: e-4\n";

    #[test]
    fn wherever_it_is_cut_the_events_are_the_same() {
        let expected = [Stamp { lane: 0, number: 1, nanos: 5 }, Stamp { lane: 0, number: 2, nanos: 6 }];
        for size in 1..=TEXT.len() {
            let mut scanner = Scanner::default();
            let mut found = Vec::new();
            for piece in TEXT.chunks(size) {
                scanner.feed(piece, |stamp| found.push(stamp));
            }
            assert_eq!(found, expected, "in pieces of {size}");
            assert_eq!(scanner.last_id(), b"e-3", "an id counts with its event's end");
        }
    }

    #[test]
    fn what_was_cut_off_is_forgotten() {
        let mut scanner = Scanner::default();
        scanner.feed(b"id: a\n\nid: b\ndata: load:0:1:5:", |_| panic!("no event has ended"));
        scanner.restart();
        scanner.feed(b"\n\n", |_| panic!("the event was forgotten"));
        assert_eq!(scanner.last_id(), b"a");
    }
}
