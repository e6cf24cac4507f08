//! Opening a store: whose it is, whether anything of it is lost, and what is known of its channels.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fjall::{Database, KeyspaceCreateOptions, PersistMode};

use super::index::{Index, Log};
use super::{Disk, DiskError, DiskWriter, Engine, KeptKey, Shared, entry};
use crate::event::{Epoch, EventId, Timestamp};
use crate::store::Limits;

/// The version of what is written. One that is higher is not touched.
const VERSION: u64 = 1;

/// How much of what was read is kept in memory, in bytes.
const CACHE: u64 = 16 << 20;

/// How much of one kind waits in memory to be sorted into files, in bytes. It is in the journal too.
const MEMTABLE: u64 = 8 << 20;

/// What tells one start of the machine from the next.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

pub(super) const HEAD: &str = "head";
pub(super) const FORGOTTEN: &str = "forgotten";
pub(super) const NEXT_ID: &str = "next-id";
/// There while a process runs on the store, with how it syncs and the machine's start.
pub(super) const RUNNING: &str = "running";

/// When what was written is safe from a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Before it is acknowledged.
    Always,
    /// A moment later; only the process may fail before.
    Interval,
}

/// A store that has been opened.
#[derive(Debug)]
pub struct OpenDisk {
    /// For whoever reads.
    pub disk: Disk,
    /// For the one who writes.
    pub writer: DiskWriter,
    /// The idempotency keys that are still remembered, oldest first.
    pub keys: Vec<KeptKey>,
    /// Whether the end of what was written may be lost, so that a new epoch has begun.
    pub is_new_epoch: bool,
    /// How many bytes at the end of the journal were no whole write and were cut off.
    pub repaired: u64,
}

impl Disk {
    /// Opens the store in a folder, or makes it. `fresh` is its epoch if it needs a new one.
    ///
    /// # Errors
    /// If it is another's, a newer version's, or cannot be read and written.
    pub fn open(
        path: &Path,
        limits: Limits,
        sync: SyncMode,
        fresh: Epoch,
        now: Timestamp,
    ) -> Result<OpenDisk, DiskError> {
        let folder = |cause| DiskError::Folder { path: path.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(folder)?;
        let journals = journals(path);
        let engine = engine(path).map_err(|error| match error {
            fjall::Error::Locked => DiskError::Locked { path: path.to_owned() },
            fjall::Error::InvalidVersion(_) => DiskError::Newer { path: path.to_owned() },
            fjall::Error::Io(cause) => folder(cause),
            other => DiskError::Engine(other),
        })?;
        let number_of = |name| -> Result<u64, DiskError> {
            let value = engine.about.get(name)?;
            value.map_or(Ok(0), |value| entry::number(&value).ok_or(DiskError::Damaged))
        };
        if number_of("version")? > VERSION {
            return Err(DiskError::Newer { path: path.to_owned() });
        }
        let kept = engine.about.get("epoch")?.and_then(|value| epoch_of(&value));
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let may_lack_its_end = match engine.about.get(RUNNING)? {
            Some(mark) => may_lack_its_end(&mark, boot.trim()),
            None => false,
        };
        let epoch = kept.filter(|_| !may_lack_its_end).unwrap_or(fresh);

        let mut index = Index::default();
        (index.head, index.forgotten) = (number_of(HEAD)?, number_of(FORGOTTEN)?);
        for guard in engine.channels.iter() {
            let (key, value) = guard.into_inner()?;
            let (channel, log) = Log::read(&key, &value).ok_or(DiskError::Damaged)?;
            index.put(&channel, log);
        }
        let keys = kept_keys(&engine, now)?;
        let next_id = number_of(NEXT_ID)?;
        let repaired = repaired(journals);

        let mut batch = engine.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&engine.about, "version", VERSION.to_be_bytes());
        batch.insert(&engine.about, "epoch", epoch.as_str());
        let how = if sync == SyncMode::Always { "always" } else { "interval" };
        batch.insert(&engine.about, RUNNING, format!("{how} {}", boot.trim()).into_bytes());
        batch.commit()?;

        let shared = Shared { path: path.to_owned(), limits, sync, epoch, engine, index: Mutex::new(index) };
        let disk = Disk(Arc::new(shared));
        let writer = DiskWriter::new(disk.clone(), next_id);
        Ok(OpenDisk { disk, writer, keys, is_new_epoch: kept.is_some() && may_lack_its_end, repaired })
    }
}

fn engine(path: &Path) -> fjall::Result<Engine> {
    let database = Database::builder(path).cache_size(CACHE).worker_threads(1).open()?;
    let open =
        |name| database.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE));
    Ok(Engine {
        events: open("events")?,
        channels: open("channels")?,
        collapses: open("collapses")?,
        keys: open("keys")?,
        about: open("about")?,
        database,
    })
}

fn epoch_of(value: &[u8]) -> Option<Epoch> {
    let text = std::str::from_utf8(value).ok()?;
    format!("{text}-0").parse::<EventId>().ok().map(|id| id.epoch)
}

/// Whether what a process wrote that did not end well may be lost: what it had synced is not, and neither is anything
/// as long as the machine has run on.
fn may_lack_its_end(mark: &[u8], boot: &str) -> bool {
    let Some(mark) = mark.strip_prefix(b"interval ") else { return false };
    boot.is_empty() || mark != boot.as_bytes()
}

/// All that are still remembered: no more than the hub had room for.
fn kept_keys(engine: &Engine, now: Timestamp) -> Result<Vec<KeptKey>, DiskError> {
    let mut keys = Vec::new();
    for guard in engine.keys.range(now.0.to_be_bytes()..) {
        let (key, value) = guard.into_inner()?;
        keys.push(KeptKey::read(&key, &value).ok_or(DiskError::Damaged)?);
    }
    Ok(keys)
}

/// The journal's files and how much of each has been written to: room is made with zeros ahead of that.
fn journals(path: &Path) -> HashMap<PathBuf, u64> {
    let files = fs::read_dir(path).into_iter().flatten().flatten();
    let journals = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "jnl"));
    journals.filter_map(|file| Some((file.path(), written(&file.path()).ok()?))).collect()
}

/// Where the zeros at the end of a file begin.
pub(super) fn written(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut block = vec![0; 256 * 1024];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let length = usize::try_from(end - start).unwrap_or(usize::MAX).min(block.len());
        let block = &mut block[..length];
        file.read_exact_at(block, start)?;
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// How much shorter the files are now. The engine cuts off what is not whole; one that is gone was written out.
fn repaired(before: HashMap<PathBuf, u64>) -> u64 {
    let cut = |(path, was): (PathBuf, u64)| Some(was.saturating_sub(fs::metadata(path).ok()?.len()));
    before.into_iter().filter_map(cut).sum()
}
