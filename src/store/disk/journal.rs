//! The engine's journal, read before the engine reads it: where its whole writes end.
//!
//! Invariant: what is cut off here had no whole write before its own end. The engine takes what is not whole in the
//! midst of a journal for its end, or refuses all of it, and believes every length that it reads; so it is only shown
//! whole writes. The format is the engine's third: a write is a start with the number of its items, the items, and an
//! end with their checksum.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::DiskError;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;

/// What an end ends with.
const TRAILER: [u8; 4] = *b"FJL\x03";

/// How much is read at once, in bytes.
const BLOCK: usize = 256 * 1024;

/// Cuts the newest journal of a store back to its whole writes. Says how many bytes of it were written and are gone.
///
/// # Errors
/// If it cannot be read or cut, or if an older journal, which was synced before the next began, is not whole.
pub(super) fn repair(folder: &Path) -> Result<u64, DiskError> {
    let mut cut = 0;
    let journals = journals(folder)?;
    for (number, path) in journals.iter().enumerate() {
        let whole = walk(path, |_, _| false)?.end;
        let lost = written(path)?.saturating_sub(whole);
        if lost == 0 {
            continue;
        }
        if number + 1 < journals.len() {
            return Err(DiskError::Damaged { what: format!("{} is not whole", path.display()) });
        }
        truncate(path, whole)?;
        cut = lost;
    }
    Ok(cut)
}

/// Cuts off the last write if `is_it` finds one of its items, given key and value. It was written and then failed.
///
/// # Errors
/// If the journal cannot be read or cut.
pub(super) fn take_back(folder: &Path, is_it: impl Fn(&[u8], &[u8]) -> bool) -> io::Result<()> {
    let Some(path) = journals(folder)?.pop() else { return Ok(()) };
    match walk(&path, is_it)?.found {
        Some(start) => truncate(&path, start),
        None => Ok(()),
    }
}

/// The journals of a store, the newest last.
fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| is_journal) {
            journals.push((number, path));
        }
    }
    journals.sort_unstable();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

fn truncate(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

/// Where the zeros at the end of a file begin: room is made with zeros ahead of what is written.
pub(super) fn written(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::FileExt as _;
    let file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let (mut block, zeros) = (vec![0; BLOCK], vec![0; BLOCK]);
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let length = usize::try_from(end - start).unwrap_or(usize::MAX).min(block.len());
        let block = &mut block[..length];
        file.read_exact_at(block, start)?;
        if *block == zeros[..length] {
            end = start;
            continue;
        }
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
    }
    Ok(0)
}

/// What a journal was found to be.
struct Walked {
    /// Where the last whole write ends.
    end: u64,
    /// Where the first write begins that was looked for.
    found: Option<u64>,
}

fn walk(path: &Path, is_it: impl Fn(&[u8], &[u8]) -> bool) -> io::Result<Walked> {
    let file = File::open(path)?;
    let left = file.metadata()?.len();
    let mut reader = Reader { input: BufReader::with_capacity(BLOCK, file), left, item: Vec::new() };
    let mut walked = Walked { end: 0, found: None };
    let mut begun = 0;
    loop {
        let mut is_found = false;
        let write = reader.write(|key, value| is_found |= is_it(key, value));
        match write {
            Ok(Some(length)) => begun += length,
            Ok(None) => return Ok(walked),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(walked),
            Err(error) => return Err(error),
        }
        if is_found && walked.found.is_none() {
            walked.found = Some(walked.end);
        }
        walked.end = begun;
    }
}

struct Reader {
    input: BufReader<File>,
    /// How much of the file has not been read.
    left: u64,
    item: Vec<u8>,
}

impl Reader {
    /// Reads a write and gives its length. None if what comes is not a whole one.
    fn write(&mut self, mut each: impl FnMut(&[u8], &[u8])) -> io::Result<Option<u64>> {
        let before = self.left;
        let [tag] = self.bytes()?;
        if tag != START {
            return Ok(None);
        }
        let items = u32::from_le_bytes(self.bytes()?);
        let _order: [u8; 8] = self.bytes()?;
        let mut sum = Xxh3::new();
        for _ in 0..items {
            // Tag, kind, compression, keyspace, and the lengths of the key, the value, and the value as written.
            let head: [u8; 21] = self.bytes()?;
            let [ITEM, kind, compression, ..] = head else { return Ok(None) };
            let number = |from: usize, to: usize| {
                head[from..to].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
            };
            let (key, value, as_written) = (number(11, 13), number(13, 17), number(17, 21));
            if kind > 2 || compression != 0 || value != as_written {
                return Ok(None);
            }
            if key + value > self.left {
                return Ok(None);
            }
            // Both are below 2^33, so that their sum is a length in memory.
            self.item.resize(usize::try_from(key + value).unwrap_or_default(), 0);
            self.input.read_exact(&mut self.item)?;
            self.left -= key + value;
            sum.update(&head);
            sum.update(&self.item);
            let (key, value) = self.item.split_at(usize::try_from(key).unwrap_or_default());
            each(key, value);
        }
        let [tag] = self.bytes()?;
        let checksum = u64::from_le_bytes(self.bytes()?);
        let is_whole = tag == END && checksum == sum.digest() && self.bytes()? == TRAILER;
        Ok(is_whole.then(|| before - self.left))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.left -= N as u64;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A write of items that have no value but their key.
    fn write(keys: &[&str]) -> Vec<u8> {
        let mut items = Vec::new();
        for key in keys {
            items.extend([ITEM, 0, 0]);
            items.extend(7u64.to_le_bytes());
            items.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
            items.extend([0; 8]);
            items.extend(key.as_bytes());
        }
        let mut sum = Xxh3::new();
        sum.update(&items);
        let start = [&[START][..], &u32::try_from(keys.len()).unwrap().to_le_bytes(), &[0; 8]].concat();
        [start, items, vec![END], sum.digest().to_le_bytes().to_vec(), TRAILER.to_vec()].concat()
    }

    fn journal(folder: &Path, number: u32, bytes: &[u8]) -> PathBuf {
        let path = folder.join(format!("{number}.jnl"));
        fs::write(&path, [bytes, &[0; 5000]].concat()).unwrap();
        path
    }

    #[test]
    fn the_newest_is_cut_back_to_its_last_whole_write_wherever_it_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (write(&["a", "b"]), write(&["head"]));
        let both = [&first[..], &second].concat();
        for end in 0..both.len() {
            let path = journal(folder.path(), 0, &both[..end]);
            let whole = if end < first.len() { 0 } else { first.len() };
            assert_eq!(repair(folder.path()).unwrap(), (written_to(&both[..end]) - whole) as u64, "{end}");
            if end > whole {
                assert_eq!(fs::metadata(&path).unwrap().len(), whole as u64);
            }
            // And wherever a bit is not as it was.
            let mut damaged = both.clone();
            damaged[end] ^= 4;
            journal(folder.path(), 0, &damaged);
            // The order of a write is the engine's to check.
            let is_order =
                |at: usize| (5..13).contains(&at) || (5..13).contains(&at.wrapping_sub(first.len()));
            let expected = both.len() - whole;
            assert_eq!(
                repair(folder.path()).unwrap(),
                if is_order(end) { 0 } else { expected as u64 },
                "{end}"
            );
        }
        journal(folder.path(), 0, &both);
        assert_eq!(repair(folder.path()).unwrap(), 0);
    }

    fn written_to(bytes: &[u8]) -> usize {
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    }

    #[test]
    fn an_older_one_must_be_whole() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = write(&["a"]);
        for number in [9, 10] {
            journal(folder.path(), number, &bytes);
        }
        assert_eq!(repair(folder.path()).unwrap(), 0);
        journal(folder.path(), 9, &bytes[..bytes.len() - 1]);
        assert!(repair(folder.path()).unwrap_err().is_damage());
    }

    #[test]
    fn a_write_is_taken_back_by_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (write(&["a"]), write(&["b", "c"]));
        let path = journal(folder.path(), 3, &[&first[..], &second].concat());
        take_back(folder.path(), |key, _| key == b"d").unwrap();
        assert_eq!(written(&path).unwrap(), (first.len() + second.len()) as u64);
        take_back(folder.path(), |key, _| key == b"c").unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
    }
}
