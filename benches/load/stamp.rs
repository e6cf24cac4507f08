//! The stamp that every event carries: which publication it is, and when it was sent.
//!
//! Invariant: nothing in it needs an escape in JSON or ends a line.

use std::io::Write as _;

/// What a stamp begins with.
const MARK: &[u8] = b"load:";

/// Names a publication. The publications of a lane are sent in the order of their numbers, which begin at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The publisher, or the user where each user gets events of their own.
    pub(crate) lane: u32,
    pub(crate) number: u32,
    /// When it was sent, by the run's clock.
    pub(crate) nanos: u64,
}

impl Stamp {
    /// Writes the stamp in place of what is in `out`, and fills it up to a size in bytes.
    pub(crate) fn write(self, out: &mut Vec<u8>, size: usize) {
        out.clear();
        // Writing to a Vec cannot fail.
        let _ = write!(out, "load:{}:{}:{}:", self.lane, self.number, self.nanos);
        if out.len() < size {
            out.resize(size, b'x');
        }
    }

    /// Reads the stamp at the beginning of an event's data; none if the event is not one of ours.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let rest = data.strip_prefix(MARK)?;
        let (lane, rest) = number(rest)?;
        let (count, rest) = number(rest)?;
        let (nanos, _) = number(rest)?;
        Some(Self { lane: u32::try_from(lane).ok()?, number: u32::try_from(count).ok()?, nanos })
    }
}

/// Reads digits and the colon behind them.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            b':' if at > 0 => return Some((value, &text[at + 1..])),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp { lane: 9, number: u32::MAX, nanos: u64::MAX };
        let mut text = Vec::new();
        for size in [0, 64, 4096] {
            stamp.write(&mut text, size);
            assert!(text.len() >= size);
            assert_eq!(Stamp::read(&text), Some(stamp));
        }
        assert_eq!(text.len(), 4096);
    }

    #[test]
    fn other_data_is_no_stamp() {
        for text in ["", "hello", "load:", "load:1:2:3", "load:1::3:", "load:1:x:3:", "load:99999999999:1:1:"]
        {
            assert_eq!(Stamp::read(text.as_bytes()), None, "{text}");
        }
    }
}
