//! The witness: a small file beside the engine's that says which event was acknowledged last. It is written after each
//! batch and not synced, so it may be older than the history, but after any end of the process never newer.
//!
//! Invariant: a history that ends before what the witness names has lost something that was acknowledged. One that is
//! missing or not readable says nothing good either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::event::Epoch;

/// Its name in the store's folder.
pub(super) const FILE: &str = "newest";

/// While it is written anew.
const PART: &str = "newest.part";

/// What a witness says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) epoch: Epoch,
    pub(super) seq: u64,
    /// Whether the store was closed after it.
    pub(super) is_closed: bool,
}

impl Newest {
    /// Reads what the witness of a folder says; none if there is none, or if it has been damaged.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join(FILE)).ok()?;
        let (once, again) = text.strip_suffix('\n')?.split_once('\n')?;
        let (epoch, rest) = once.split_once('-')?;
        let (seq, state) = rest.split_once(' ')?;
        let epoch = format!("{epoch}-0").parse::<crate::event::EventId>().ok()?.epoch;
        let newest = Self { epoch, seq: seq.parse().ok()?, is_closed: state == "closed" };
        (once == again && newest.text() == text).then_some(newest)
    }

    /// Always of one length, and twice, so that a damaged one is known.
    fn text(&self) -> String {
        let state = if self.is_closed { "closed" } else { "in use" };
        let line = format!("{}-{:020} {state}\n", self.epoch, self.seq);
        [&*line, &*line].concat()
    }
}

/// Writes it.
#[derive(Debug)]
pub(super) struct Witness(File);

impl Witness {
    /// Makes it anew.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub(super) fn new(folder: &Path, newest: Newest) -> io::Result<Self> {
        let part = folder.join(PART);
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&part)?;
        file.write_all(newest.text().as_bytes())?;
        file.sync_data()?;
        fs::rename(part, folder.join(FILE))?;
        // Or after a power cut the one before is there, which may say that the store was closed.
        File::open(folder)?.sync_all()?;
        Ok(Self(file))
    }

    /// Takes note of what was acknowledged. If that fails it is older than it might be, which is allowed.
    pub(super) fn say(&self, newest: Newest) {
        let _ = self.0.write_all_at(newest.text().as_bytes(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_written_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Newest::read(folder.path()), None);
        let newest = |seq, is_closed| Newest { epoch: Epoch::from_bits(7), seq, is_closed };
        let witness = Witness::new(folder.path(), newest(0, false)).unwrap();
        assert_eq!(Newest::read(folder.path()), Some(newest(0, false)));
        witness.say(newest(u64::MAX, true));
        assert_eq!(Newest::read(folder.path()), Some(newest(u64::MAX, true)));
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[place] ^= 1 << bit;
                fs::write(&path, damaged).unwrap();
                assert_eq!(Newest::read(folder.path()), None, "{place}");
            }
            fs::write(&path, &whole[..place]).unwrap();
            assert_eq!(Newest::read(folder.path()), None, "{place}");
        }
    }
}
