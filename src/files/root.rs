//! A root folder, and the opening of files beneath it.
//!
//! Invariants: whatever path is asked for, what is opened lies beneath the root, also if somebody swaps a folder for a
//! symbolic link meanwhile: the kernel holds it (openat2(2), `RESOLVE_BENEATH`). Only regular files come out.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat, openat2, statat};
use rustix::io::Errno;
use tokio::time::Instant;

use super::path::FilePath;

/// How long an open root is used before its path is looked at again: what a deploy has put in its place is seen by
/// then, and at once by who asks for a file that only the new one has.
const KEPT: Duration = Duration::from_secs(1);

/// How long an open root is believed when it does not have a file.
const BELIEVED: Duration = Duration::from_millis(100);

/// How often a path is tried again when folders are being renamed while it is followed.
const TRIES: usize = 8;

/// Not blocking: opening a pipe would wait for who writes into it.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Whether the kernel knows openat2(2) and a filter lets it through. Asked once in the process.
static HAS_OPENAT2: AtomicBool = AtomicBool::new(true);

/// The folder of a route.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    open: RefCell<Option<(Arc<OwnedFd>, Instant)>>,
}

/// A root that is open.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) folder: Arc<OwnedFd>,
    /// Whether another one may have taken its place meanwhile.
    pub(super) may_be_old: bool,
}

/// A file that was found, or a folder.
#[derive(Debug)]
pub(super) enum Opened {
    File(File, Meta),
    Folder,
}

/// What a file's folder knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    /// In bytes.
    pub(super) size: u64,
    /// When it was written, in seconds and nanoseconds since 1970.
    pub(super) modified: (i64, u64),
    /// When it was put here.
    pub(super) changed: (i64, u64),
    /// Which file it is on this machine: device and inode.
    pub(super) id: (u64, u64),
}

impl Meta {
    fn of(stat: &Stat) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
            id: (stat.st_dev, stat.st_ino),
        }
    }
}

impl Root {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: RefCell::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder. A symbolic link at its path is followed, and only there.
    pub(super) fn folder(&self) -> Result<Folder, Errno> {
        let mut kept = self.open.borrow_mut();
        let now = Instant::now();
        if let Some((folder, since)) = &*kept
            && now < *since + KEPT
        {
            return Ok(Folder { folder: folder.clone(), may_be_old: now >= *since + BELIEVED });
        }
        *kept = None;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = Arc::new(open(&self.path, flags, Mode::empty())?);
        *kept = Some((folder.clone(), now));
        Ok(Folder { folder, may_be_old: false })
    }

    /// Forgets the open folder.
    pub(super) fn forget(&self) {
        *self.open.borrow_mut() = None;
    }
}

/// Opens a path beneath a folder. `now` is only what needs no disk: `AGAIN` is for a thread that may wait.
pub(super) fn open_beneath(folder: &OwnedFd, path: &FilePath, now: bool) -> Result<Opened, Errno> {
    let file = if HAS_OPENAT2.load(Ordering::Relaxed) {
        match resolve(folder, path.as_path(), now) {
            // A filter of system calls may say either (seccomp(2)); so may a file that is not ours to read, and then the
            // other way says it too.
            Err(Errno::NOSYS) => {
                HAS_OPENAT2.store(false, Ordering::Relaxed);
                walk(folder, path.as_path())
            }
            Err(Errno::PERM) => walk(folder, path.as_path()),
            other => other,
        }
    } else {
        walk(folder, path.as_path())
    }?;
    let stat = fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Opened::File(File::from(file), Meta::of(&stat))),
        FileType::Directory => Ok(Opened::Folder),
        // A pipe, a device, a socket.
        _ => Err(Errno::NOENT),
    }
}

/// What is at a path now, without opening it. Only good to see whether it is still the file that was opened there.
pub(super) fn look(folder: &OwnedFd, path: &FilePath) -> Result<Meta, Errno> {
    Ok(Meta::of(&statat(folder, path.as_path(), AtFlags::empty())?))
}

fn resolve(folder: &OwnedFd, path: &Path, now: bool) -> Result<OwnedFd, Errno> {
    let mut how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if now {
        return openat2(folder, path, READ, Mode::empty(), how | ResolveFlags::CACHED);
    }
    how.remove(ResolveFlags::CACHED);
    for _ in 1..TRIES {
        match openat2(folder, path, READ, Mode::empty(), how) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    openat2(folder, path, READ, Mode::empty(), how)
}

/// The way of old: one segment after the other, and no symbolic link at all, since nobody could say where it leads.
fn walk(folder: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let mut at: Option<OwnedFd> = None;
    let mut segments = path.iter().peekable();
    while let Some(segment) = segments.next() {
        let flags =
            if segments.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC } else { READ };
        let from = at.as_ref().unwrap_or(folder);
        at = Some(openat(from, segment, flags | OFlags::NOFOLLOW, Mode::empty())?);
    }
    // An empty path is the folder itself.
    at.map_or_else(|| openat(folder, ".", READ, Mode::empty()), Ok)
}

/// Whether nothing is at a path, as far as a client is concerned.
pub(super) fn is_absent(error: Errno) -> bool {
    // XDEV leads out of the root, LOOP goes round or is a link where none is followed, NXIO is a socket.
    matches!(
        error,
        Errno::NOENT
            | Errno::NOTDIR
            | Errno::NAMETOOLONG
            | Errno::XDEV
            | Errno::LOOP
            | Errno::NXIO
            | Errno::INVAL
    )
}

#[cfg(test)]
mod tests;
