//! Whether a request's line holds a `#`, which no request line may (RFC 9112, section 3.2). The library that parses it cuts
//! the target there without a word, so what a proxy in front of us took for the target would be another one.
//!
//! It is looked for in the bytes as they come, where it is certain that they begin a head: the connection is new, or the
//! bytes before them ended one that has no body. Invariant: what is not certain is not looked at, so no body and no other
//! field is ever taken for a request line; what slips through so is cut, as ever. HTTP/2 has no such lines.

use std::cell::Cell;

/// What of a connection's bytes are a request line.
#[derive(Debug)]
pub(super) struct LineWatch {
    next: Cell<Next>,
    /// Whether the last bytes that came ended with an empty line.
    ends_head: Cell<bool>,
    found: Cell<bool>,
}

/// What the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The first of a head, or of empty lines before it.
    Head,
    /// One of a request line.
    Line,
    /// Anything.
    Other,
}

impl LineWatch {
    /// For a new connection.
    pub(super) fn new() -> Self {
        Self { next: Cell::new(Next::Head), ends_head: Cell::new(false), found: Cell::new(false) }
    }

    /// Bytes have come; `is_waited_for` is whether they came while no request was being answered.
    pub(super) fn see(&self, bytes: &[u8], is_waited_for: bool) {
        self.ends_head.set(is_waited_for && bytes.ends_with(b"\r\n\r\n"));
        if !is_waited_for {
            // The rest of a body, or requests ahead of their turn.
            self.next.set(Next::Other);
        }
        let line = match self.next.get() {
            Next::Other => return,
            Next::Line => bytes,
            Next::Head => match bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) {
                Some(start) => &bytes[start..],
                None => return,
            },
        };
        let end = memchr::memchr(b'\n', line);
        self.next.set(if end.is_some() { Next::Other } else { Next::Line });
        if memchr::memchr(b'#', &line[..end.unwrap_or(line.len())]).is_some() {
            self.found.set(true);
        }
    }

    /// A request has been parsed. Whether its line holds a `#`, as far as it was looked at.
    pub(super) fn begin(&self, has_body: bool) -> bool {
        let is_next_certain = self.ends_head.get() && !has_body;
        self.next.set(if is_next_certain { Next::Head } else { Next::Other });
        self.found.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sees heads that come as the pieces say; whether each holds a `#`.
    fn found(requests: &[(&[&str], bool)]) -> Vec<bool> {
        let watch = LineWatch::new();
        let seen = requests.iter().map(|(pieces, has_body)| {
            for piece in *pieces {
                watch.see(piece.as_bytes(), true);
            }
            watch.begin(*has_body)
        });
        seen.collect()
    }

    #[test]
    fn it_is_found_in_lines_and_nowhere_else() {
        let plain = "GET / HTTP/1.1\r\nCookie: a#b\r\n\r\n";
        let marked = "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(found(&[(&[plain], false), (&[marked], false), (&[plain], false)]), [false, true, false]);
        assert_eq!(found(&[(&["\r\n", "GET /a", "#b HTTP/1.1\r\n", "X: #\r\n\r\n"], false)]), [true]);
        assert_eq!(found(&[(&["GET /a", "b HTTP/1.1\r\n", "X: #\r\n\r\n"], false)]), [false]);
    }

    #[test]
    fn what_may_be_a_body_or_the_middle_of_a_head_is_left_alone() {
        let post = "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
        let marked = "GET /a#b HTTP/1.1\r\n\r\n";
        // The body comes after the answer, which may happen when it is refused.
        assert_eq!(
            found(&[(&[post], true), (&["#\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"], false)]),
            [false, false]
        );
        // The second head has begun with the first.
        let both = "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nX: y\r\n";
        assert_eq!(found(&[(&[both], false), (&["Cookie: a#b\r\n\r\n"], false)]), [false, false]);
        // Then it is certain again.
        assert_eq!(found(&[(&[both], false), (&["A: #\r\n\r\n"], false), (&[marked], false)])[2..], [true]);
        // While another request is being answered.
        let watch = LineWatch::new();
        watch.see(post.as_bytes(), true);
        watch.begin(true);
        watch.see(b"#\r\n\r\n", false);
        watch.see(b"GET /#", true);
        assert!(!watch.begin(false));
    }
}
