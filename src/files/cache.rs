//! Small files that were just asked for, kept by a worker with what is said of them.
//!
//! Opening, looking at, reading and closing a small file costs as much as all else that is done for it. Invariants: a
//! file is sent from here only if the same file, unchanged, is at its path at that very moment, which one system call
//! says; it was opened beneath the root when it was put here; whether there is an encoded form of it by now is looked at
//! every second.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::condition::Validators;
use super::media::Media;
use super::path::FilePath;
use super::root::{Meta, look};
use crate::http::{Coding, Codings};

/// The largest file that is kept, in bytes.
pub(super) const LARGEST: u64 = 16 * 1024;

/// What all of a route's files may take in one worker, in bytes. When it is full it is emptied: what is asked for often
/// is soon there again.
const ROOM: usize = 2 * 1024 * 1024;

/// What an entry takes besides its file.
const OVERHEAD: usize = 512;

/// How long an entry is of use.
const KEPT: Duration = Duration::from_secs(1);

/// The files that are kept.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: RefCell<HashMap<Box<[u8]>, Entry>>,
    taken: Cell<usize>,
}

/// A file, and what is said of it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) bytes: Bytes,
    pub(super) meta: Meta,
    pub(super) validators: Validators,
    pub(super) media: Media,
    pub(super) coding: Option<Coding>,
    /// How long it may be kept by others.
    pub(super) cache: HeaderValue,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    /// Where the bytes are from: of an encoded form, its own path.
    path: FilePath,
    since: Instant,
}

/// By what a file is found again: the target, and the codings that the client takes.
pub(super) type Key = SmallVec<[u8; 128]>;

pub(super) fn key(target: &str, codings: Codings) -> Key {
    let mut key = Key::from_slice(target.as_bytes());
    // A target has no spaces.
    key.extend(codings.iter().flat_map(|coding| [b' ', coding as u8]));
    key
}

impl Cache {
    /// A file that is still what it was. `folder` is the root.
    pub(super) fn find(&self, key: &Key, folder: &OwnedFd) -> Option<Kept> {
        let entries = self.entries.borrow();
        let entry = entries.get(key.as_slice())?;
        let is_good = entry.since.elapsed() < KEPT
            && look(folder, &entry.path).is_ok_and(|meta| meta == entry.kept.meta);
        is_good.then(|| entry.kept.clone())
    }

    /// Keeps a file.
    pub(super) fn keep(&self, key: Key, path: FilePath, kept: Kept) {
        let size = key.len() + kept.bytes.len() + OVERHEAD;
        let mut entries = self.entries.borrow_mut();
        if self.taken.get() + size > ROOM {
            entries.clear();
            self.taken.set(0);
        }
        self.taken.set(self.taken.get() + size);
        let key = key.into_boxed_slice();
        let length = key.len();
        if let Some(old) = entries.insert(key, Entry { kept, path, since: Instant::now() }) {
            self.taken.set(self.taken.get() - (length + old.kept.bytes.len() + OVERHEAD));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::media::media;
    use super::super::root::Root;
    use super::*;

    #[test]
    fn what_it_takes_is_bounded_and_what_has_changed_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "text").unwrap();
        let root = Root::new(folder.path().to_owned()).folder().unwrap().folder;
        let path = FilePath::parse("a").unwrap();
        let meta = look(&root, &path).unwrap();
        let kept = Kept {
            bytes: Bytes::from(vec![0; 10_000]),
            meta,
            validators: Validators::of(&meta, None, SystemTime::now()),
            media: media(b"a"),
            coding: None,
            cache: HeaderValue::from_static(""),
        };
        let cache = Cache::default();
        for n in 0..1000 {
            cache.keep(key(&format!("/{n}"), Codings::default()), path.clone(), kept.clone());
            cache.keep(key(&format!("/{n}"), Codings::default()), path.clone(), kept.clone());
            let sum: usize = cache
                .entries
                .borrow()
                .iter()
                .map(|(key, entry)| key.len() + entry.kept.bytes.len() + OVERHEAD)
                .sum();
            assert!(sum == cache.taken.get() && sum <= ROOM, "{sum}");
        }
        let last = key("/999", Codings::default());
        assert!(cache.find(&last, &root).is_some());
        std::fs::write(folder.path().join("a"), "TEXT").unwrap();
        std::fs::File::options()
            .write(true)
            .open(folder.path().join("a"))
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH)
            .unwrap();
        assert!(cache.find(&last, &root).is_none());
        std::fs::remove_file(folder.path().join("a")).unwrap();
        assert!(cache.find(&last, &root).is_none());
    }
}
