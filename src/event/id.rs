//! Event ids: `<epoch>-<seq>`, one order for everything a deployment publishes.

use std::fmt;
use std::str::FromStr;

/// The alphabet of an epoch: lower-case base 32 without the letters that look like digits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The life of one history. Ids of another epoch cannot be compared with ours (design, section 6).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; Epoch::LEN]);

impl Epoch {
    /// The length of an epoch, in characters.
    pub const LEN: usize = 6;

    /// An epoch from random bits (the low 30 are used).
    pub fn from_bits(bits: u32) -> Self {
        let mut text = [0; Self::LEN];
        for (place, byte) in text.iter_mut().enumerate() {
            *byte = ALPHABET[(bits >> (5 * place)) as usize & 31];
        }
        Self(text)
    }

    /// The characters of the epoch, all ASCII.
    pub fn as_str(&self) -> &str {
        // Every byte comes from ALPHABET, so the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or("000000")
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The place of an event in its epoch's order. The first event of an epoch has `seq` 1; 0 is "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId {
    /// The history it belongs to.
    pub epoch: Epoch,
    /// Its place there.
    pub seq: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl FromStr for EventId {
    type Err = InvalidEventId;

    /// Reads only what [`fmt::Display`] writes: no sign, no leading zero, no space.
    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        let (epoch, seq) = text.split_once('-').ok_or(InvalidEventId)?;
        let epoch: [u8; Epoch::LEN] = epoch.as_bytes().try_into().map_err(|_| InvalidEventId)?;
        let digits = !seq.is_empty() && seq.bytes().all(|b| b.is_ascii_digit());
        if !digits || (seq.len() > 1 && seq.starts_with('0')) || !epoch.iter().all(|b| ALPHABET.contains(b)) {
            return Err(InvalidEventId);
        }
        Ok(Self { epoch: Epoch(epoch), seq: seq.parse().map_err(|_| InvalidEventId)? })
    }
}

/// The text is not an id of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidEventId;

impl fmt::Display for InvalidEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an event id of the form <epoch>-<seq>")
    }
}

impl std::error::Error for InvalidEventId {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_it_did_not_write() {
        let epoch = Epoch::from_bits(7);
        for bad in [
            "",
            "-",
            "1",
            "abc",
            "-1",
            "000000-",
            "000000-+1",
            "000000-01",
            "000000- 1",
            "000000-1 ",
            "00000-1",
            "000000-18446744073709551616",
            "00000I-1",
            "0000000-1",
            "1642678901234",
            "00000\u{e9}-1",
        ] {
            assert_eq!(bad.parse::<EventId>(), Err(InvalidEventId), "{bad:?}");
        }
        assert_eq!(format!("{epoch}-0").parse(), Ok(EventId { epoch, seq: 0 }));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bits: u32, seq: u64) {
            let id = EventId { epoch: Epoch::from_bits(bits), seq };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = text.parse::<EventId>();
        }
    }
}
