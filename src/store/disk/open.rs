//! Opening a store: whose it is, whether anything of it is lost, and what is known of its channels.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use fjall::PersistMode;

use super::aside::{self, Aside, set_aside};
use super::engine::{Engine, NEXT_ID, RUNNING, VERSION, VERSION_KEY, locked};
use super::index::Index;
use super::witness::{Newest, Witness};
use super::{Disk, DiskError, DiskWriter, KeptKey, Shared, marks};
use crate::event::{Epoch, EventId, Timestamp};
use crate::store::{Limits, Marks};

/// What tells one start of the machine from the next.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

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
    /// What users have read.
    pub marks: Marks,
    /// Whether the end of what was acknowledged may be lost, so that a new epoch has begun.
    pub is_new_epoch: bool,
    /// How many bytes at the end of the journal were no whole write and were cut off.
    pub repaired: u64,
    /// The store that was there before, if it was so damaged that a new one has been begun.
    pub aside: Option<Aside>,
}

impl Disk {
    /// Opens the store in a folder, or makes it. `fresh` is its epoch if it needs a new one. A damaged store is set
    /// aside, and a new one is made.
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
        let of_folder = |cause| DiskError::Folder { path: path.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(of_folder)?;
        let mut aside = None;
        let mut put_aside = |why: String| -> Result<(), DiskError> {
            aside = Some(locked(path, || set_aside(path, why))?.map_err(of_folder)?);
            Ok(())
        };
        if aside::has_begun(path) {
            put_aside("it had been found damaged before".to_owned())?;
        }
        let (found, Kept { keys, marks }) = match Found::open(path, &limits, sync, fresh, now) {
            Err(error) if error.is_damage() => {
                put_aside(error.to_string())?;
                Found::open(path, &limits, sync, fresh, now)?
            }
            found => found?,
        };
        let epoch = found.epoch_or(fresh);
        let Found { engine, index, epoch: kept, next_id, may_lack_its_end, cut } = found;
        let newest = Newest { epoch, seq: index.head, is_closed: false };
        let witness = Witness::new(path, newest).map_err(of_folder)?;

        let disk = Self(Arc::new(Shared {
            path: path.to_owned(),
            limits,
            sync,
            epoch,
            engine: RwLock::new(Some(Arc::new(engine))),
            index: Mutex::new(index),
            is_damaged: AtomicBool::new(false),
            #[cfg(test)]
            fault: super::fault::Fault::default(),
        }));
        let writer = DiskWriter::new(disk.clone(), next_id, witness);
        let is_new_epoch = aside.is_some() || kept.is_some() && may_lack_its_end;
        Ok(OpenDisk { disk, writer, keys, marks, is_new_epoch, repaired: cut, aside })
    }
}

/// What was found in a folder.
pub(super) struct Found {
    pub(super) engine: Engine,
    pub(super) index: Index,
    epoch: Option<Epoch>,
    next_id: u64,
    /// Whether something may be lost that was acknowledged.
    may_lack_its_end: bool,
    cut: u64,
}

/// What is kept beside history.
struct Kept {
    keys: Vec<KeptKey>,
    marks: Marks,
}

impl Found {
    fn open(
        path: &Path,
        limits: &Limits,
        sync: SyncMode,
        fresh: Epoch,
        now: Timestamp,
    ) -> Result<(Self, Kept), DiskError> {
        let newest = Newest::read(path);
        let found = Self::open_after(path, newest)?;
        if found.may_lack_its_end {
            found.engine.check(&found.index)?;
        }
        let keys = kept_keys(&found.engine, now)?;
        let marks = marks::kept(&found.engine, limits, found.index.head)?;
        begin(&found.engine, &found.index, found.epoch_or(fresh), sync)?;
        Ok((found, Kept { keys, marks }))
    }

    fn epoch_or(&self, fresh: Epoch) -> Epoch {
        self.epoch.filter(|_| !self.may_lack_its_end).unwrap_or(fresh)
    }

    /// Opens what is there, where this is known to be the newest that was acknowledged.
    pub(super) fn open_after(path: &Path, newest: Option<Newest>) -> Result<Self, DiskError> {
        let (engine, cut) = Engine::open(path)?;
        let index = engine.index()?;
        let epoch = engine.about.get("epoch")?;
        let epoch = epoch.map(|epoch| epoch_of(&epoch).ok_or(DiskError::strange("an epoch"))).transpose()?;
        if epoch.is_none() && newest.is_some() {
            // The engine makes anew what its own list of contents has lost.
            return Err(DiskError::Damaged { what: "all of it is lost".to_owned() });
        }
        let went_down = engine.about.get(RUNNING)?.is_some_and(|mark| went_down(&mark, boot().trim()));
        let went_back = match newest {
            Some(newest) => {
                epoch != Some(newest.epoch) || index.head < newest.seq || newest.is_closed && cut > 0
            }
            None => epoch.is_some(),
        };
        let next_id = engine.number(NEXT_ID)?;
        Ok(Self { engine, index, epoch, next_id, may_lack_its_end: went_down || went_back, cut })
    }
}

/// Takes note of who runs.
pub(super) fn begin(engine: &Engine, index: &Index, epoch: Epoch, sync: SyncMode) -> Result<(), DiskError> {
    let how = if sync == SyncMode::Always { "always" } else { "interval" };
    let mut batch = engine.database.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(&engine.about, VERSION_KEY, VERSION.to_be_bytes());
    batch.insert(&engine.about, "epoch", epoch.as_str());
    batch.insert(&engine.about, RUNNING, format!("{how} {}", boot().trim()).into_bytes());
    let begun = batch.commit().map_err(DiskError::from);
    if begun.as_ref().is_err_and(DiskError::had_failed) {
        // It began to tidy up and failed at that. What it failed at may be what it read.
        engine.check(index)?;
    }
    begun
}

fn boot() -> String {
    fs::read_to_string(BOOT_ID).unwrap_or_default()
}

fn epoch_of(value: &[u8]) -> Option<Epoch> {
    let text = std::str::from_utf8(value).ok()?;
    format!("{text}-0").parse::<EventId>().ok().map(|id| id.epoch)
}

/// Whether what a process wrote that did not end well may be lost: what it had synced is not, and neither is anything
/// as long as the machine has run on.
fn went_down(mark: &[u8], boot: &str) -> bool {
    let Some(mark) = mark.strip_prefix(b"interval ") else { return false };
    boot.is_empty() || mark != boot.as_bytes()
}

/// All that are still remembered: no more than the hub had room for.
fn kept_keys(engine: &Engine, now: Timestamp) -> Result<Vec<KeptKey>, DiskError> {
    let mut keys = Vec::new();
    for guard in engine.keys.range(now.0.to_be_bytes()..) {
        let (key, value) = guard.into_inner()?;
        keys.push(KeptKey::read(&key, &value).ok_or(DiskError::strange("a key"))?);
    }
    Ok(keys)
}
