//! The engine as we use it, and what is found in it when it is opened.
//!
//! Invariant: what the engine says of a damaged folder, and be it by a panic, is an error that says so; nothing is
//! believed of a history that may be damaged before all of it has been read.

use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use super::index::{Index, Log};
use super::{DiskError, entry, journal, tables};

/// How much of what was read is kept in memory, in bytes.
const CACHE: u64 = 16 << 20;

/// How much of one kind waits in memory to be sorted into files, in bytes. It is in the journal too.
const MEMTABLE: u64 = 8 << 20;

/// What the engine's file `version` holds, but for the number.
const FORMAT: &[u8] = b"FJL";

/// The number of the engine's format that we know.
const FORMAT_NUMBER: u8 = 3;

/// The version of what is written. One that is higher is not touched.
pub(super) const VERSION: u64 = 1;

pub(super) const HEAD: &str = "head";
pub(super) const FORGOTTEN: &str = "forgotten";
pub(super) const NEXT_ID: &str = "next-id";
/// There while a process runs on the store, with how it syncs and the machine's start.
pub(super) const RUNNING: &str = "running";

pub(super) struct Engine {
    pub(super) database: Database,
    /// By channel and number.
    pub(super) events: Keyspace,
    /// What is known of a channel, by its number.
    pub(super) channels: Keyspace,
    /// The newest event of a channel and collapse key.
    pub(super) collapses: Keyspace,
    /// Idempotency keys, by the time until which they are remembered.
    pub(super) keys: Keyspace,
    /// What users have read, by their channels.
    pub(super) marks: Keyspace,
    /// The version, the epoch, the head, and who runs.
    pub(super) about: Keyspace,
}

impl Engine {
    /// Opens the engine in a folder. Says how many bytes at the end of its journal were no whole write.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), DiskError> {
        let of_folder = |cause| DiskError::Folder { path: path.to_owned(), cause };
        match fs::read(path.join("version")) {
            Ok(format) => match (format.strip_prefix(FORMAT), format.last()) {
                (Some([number]), _) if *number > FORMAT_NUMBER => {
                    return Err(DiskError::Newer { path: path.to_owned() });
                }
                (Some([FORMAT_NUMBER]), _) => {}
                _ => return Err(DiskError::Damaged { what: "its format is not known".to_owned() }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(of_folder(error)),
        }
        let cut = locked(path, || tables::check(path).and_then(|()| journal::repair(path)))??;
        let opened = catch_unwind(AssertUnwindSafe(|| Self::databases(path)));
        let engine = opened
            .map_err(|_| DiskError::Damaged { what: "the engine cannot read it".to_owned() })?
            .map_err(|error| match error {
                fjall::Error::Locked => DiskError::Locked { path: path.to_owned() },
                fjall::Error::Io(cause) if !DiskError::is_of_damage(&cause) => of_folder(cause),
                other => DiskError::Engine(other),
            })?;
        if engine.number(VERSION_KEY)? > VERSION {
            return Err(DiskError::Newer { path: path.to_owned() });
        }
        Ok((engine, cut))
    }

    fn databases(path: &Path) -> fjall::Result<Self> {
        let database = Database::builder(path).cache_size(CACHE).worker_threads(1).open()?;
        let open =
            |name| database.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE));
        Ok(Self {
            events: open("events")?,
            channels: open("channels")?,
            collapses: open("collapses")?,
            keys: open("keys")?,
            marks: open("marks")?,
            about: open("about")?,
            database,
        })
    }

    /// A number of what is known of the whole; 0 if it is not there.
    pub(super) fn number(&self, name: &str) -> Result<u64, DiskError> {
        let value = self.about.get(name)?;
        value.map_or(Ok(0), |value| entry::number(&value).ok_or(DiskError::strange("a number")))
    }

    /// What is known of its channels.
    pub(super) fn index(&self) -> Result<Index, DiskError> {
        let mut index = Index::default();
        (index.head, index.forgotten) = (self.number(HEAD)?, self.number(FORGOTTEN)?);
        for guard in self.channels.iter() {
            let (key, value) = guard.into_inner()?;
            let (channel, log) = Log::read(&key, &value).ok_or(DiskError::strange("a channel"))?;
            index.put(&channel, log);
        }
        Ok(index)
    }

    /// Reads all that is kept, and holds it against what is known of the channels.
    pub(super) fn check(&self, index: &Index) -> Result<(), DiskError> {
        let mut found: HashMap<u64, (u64, u64)> = HashMap::new();
        for guard in self.events.iter() {
            let (key, value) = guard.into_inner()?;
            let channel = entry::number(&key);
            let seq = key.get(8..).and_then(entry::number).filter(|_| entry::is_event(&value));
            let (Some(channel), Some(seq)) = (channel, seq) else {
                return Err(DiskError::strange("an event"));
            };
            let (events, last) = found.entry(channel).or_default();
            (*events, *last) = (*events + 1, seq);
        }
        for log in index.logs() {
            let (events, last) = found.remove(&log.id).unwrap_or_default();
            if events != log.events || last > log.last {
                return Err(DiskError::strange("more or fewer events than it was told"));
            }
        }
        if !found.is_empty() {
            return Err(DiskError::strange("events of no channel"));
        }
        for keyspace in [&self.collapses, &self.keys, &self.marks] {
            for guard in keyspace.iter() {
                guard.into_inner()?;
            }
        }
        Ok(())
    }
}

/// Where our own version stands.
pub(super) const VERSION_KEY: &str = "version";

/// Does something while no other process has the store.
pub(super) fn locked<T>(path: &Path, act: impl FnOnce() -> T) -> Result<T, DiskError> {
    let of_folder = |cause| DiskError::Folder { path: path.to_owned(), cause };
    let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
    let lock = lock.map_err(of_folder)?;
    match lock.try_lock() {
        // Released when the file is closed.
        Ok(()) => Ok(act()),
        Err(fs::TryLockError::WouldBlock) => Err(DiskError::Locked { path: path.to_owned() }),
        Err(fs::TryLockError::Error(cause)) => Err(of_folder(cause)),
    }
}
