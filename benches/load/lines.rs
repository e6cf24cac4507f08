//! NDJSON as the publish socket speaks it.

use memchr::memchr;

use crate::codec::{Request, Signal};

/// How a refusal begins.
const REFUSAL: &[u8] = b"{\"error\"";

/// Counts replies and tells refusals from them.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The beginning of the reply that is being read, as much of it as tells a refusal.
    begun: Vec<u8>,
}

impl Lines {
    /// Writes the body as a line.
    pub(crate) fn request(request: &Request<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(request.body);
        out.push(b'\n');
    }

    /// Tells 200 or 400 for every line that ends.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut sink: impl FnMut(Signal<'_>)) {
        while let Some(end) = memchr(b'\n', bytes) {
            self.begin(&bytes[..end]);
            let status = if self.begun == REFUSAL { 400 } else { 200 };
            self.begun.clear();
            sink(Signal::Status(status));
            sink(Signal::End);
            bytes = &bytes[end + 1..];
        }
        self.begin(bytes);
    }

    fn begin(&mut self, bytes: &[u8]) {
        let room = REFUSAL.len() - self.begun.len();
        self.begun.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_an_answer_wherever_it_is_cut() {
        let text =
            b"{\"id\":\"e-1\",\"delivered\":3}\n{\"error\":\"invalid_publication\"}\n{\"id\":\"e-2\"}\n";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                lines.feed(piece, |signal| {
                    if let Signal::Status(status) = signal {
                        found.push(status);
                    }
                });
            }
            assert_eq!(found, [200, 400, 200], "in pieces of {size}");
        }
    }
}
