//! The chunked coding of HTTP/1.1 bodies.
//!
//! Invariant: bytes may be cut anywhere; data is passed on as it comes, never copied.

use std::io;

use crate::codec::malformed;

/// How far into a chunked body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// In a line that tells a size; what was read of it.
    Size { size: u64, digits: u8, extension: bool },
    /// In a chunk, with so many bytes to come.
    Inside(u64),
    /// In the line end behind a chunk.
    Behind,
    /// In the trailers; whether the line is empty so far.
    Trailers { empty: bool },
    /// It has ended.
    Done,
}

impl Chunks {
    /// Before the first chunk.
    pub(crate) const START: Self = Self::Size { size: 0, digits: 0, extension: false };

    /// Takes bytes until the body has ended, and returns how many were the body's.
    ///
    /// # Errors
    /// If they are not in this coding.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> io::Result<usize> {
        let mut at = 0;
        while at < bytes.len() && *self != Self::Done {
            if let Self::Inside(left) = *self {
                let rest = &bytes[at..];
                let now = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                data(&rest[..now]);
                at += now;
                let left = left - now as u64;
                *self = if left == 0 { Self::Behind } else { Self::Inside(left) };
            } else {
                *self = self.after(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// The state after a byte that is not data.
    fn after(self, byte: u8) -> io::Result<Self> {
        Ok(match (self, byte) {
            (Self::Size { digits: 0, .. }, b'\r' | b'\n' | b';') => {
                return Err(malformed("a chunk without a size"));
            }
            (Self::Size { size: 0, .. }, b'\n') => Self::Trailers { empty: true },
            (Self::Size { size, .. }, b'\n') => Self::Inside(size),
            (Self::Size { size, digits, .. }, b'\r' | b';') => Self::Size { size, digits, extension: true },
            (Self::Size { extension: true, .. }, _) => self,
            (Self::Size { size, digits, .. }, _) => {
                let digit = char::from(byte).to_digit(16).filter(|_| digits < 15);
                let digit = digit.ok_or_else(|| malformed("a chunk size that is not a number"))?;
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1, extension: false }
            }
            (Self::Behind, b'\r') => Self::Behind,
            (Self::Behind, b'\n') => Self::START,
            (Self::Trailers { empty: true }, b'\n') => Self::Done,
            (Self::Trailers { .. }, b'\n') => Self::Trailers { empty: true },
            (Self::Trailers { empty }, b'\r') => Self::Trailers { empty },
            (Self::Trailers { .. }, _) => Self::Trailers { empty: false },
            _ => return Err(malformed("a chunk longer than its size")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_same_wherever_it_is_cut() {
        let text = b"5\r\nhello\r\n1A;x=1\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nx-t: 1\r\n\r\nnext";
        for size in 1..=text.len() {
            let (mut chunks, mut body, mut left) = (Chunks::START, Vec::new(), Vec::new());
            for piece in text.chunks(size) {
                let used = chunks.feed(piece, |data| body.extend_from_slice(data)).unwrap();
                left.extend_from_slice(&piece[used..]);
            }
            assert_eq!(body, b"helloabcdefghijklmnopqrstuvwxyz", "in pieces of {size}");
            assert_eq!(left, b"next");
            assert_eq!(chunks, Chunks::Done);
        }
    }

    #[test]
    fn other_bytes_are_errors() {
        for text in ["\r\n", "g\r\n", "3\r\nabcd\r\n", "1000000000000000\r\n", ";\r\n"] {
            assert!(Chunks::START.clone().feed(text.as_bytes(), |_| ()).is_err(), "{text:?}");
        }
    }
}
