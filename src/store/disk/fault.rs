//! Faults of a disk, for tests: what a healthy one does not do when it is asked to.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Disk, DiskError};

/// What is to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    /// Writes fail, and nothing gets to the disk.
    pub(crate) refuses_writes: AtomicBool,
    /// Writes fail after all of them has got to the disk, as when it cannot be synced.
    pub(crate) fails_after_writes: AtomicBool,
    /// It cannot be opened again.
    pub(crate) refuses_opening: AtomicBool,
    /// Reads fail.
    pub(crate) refuses_reads: AtomicBool,
    /// The one who writes panics.
    pub(crate) panics: AtomicBool,
}

impl Fault {
    pub(super) fn writing(&self) -> Result<(), DiskError> {
        assert!(!self.panics.load(Ordering::SeqCst), "a panic that a test asked for");
        of(&self.refuses_writes)
    }

    pub(super) fn written(&self) -> Result<(), DiskError> {
        of(&self.fails_after_writes)
    }

    pub(super) fn opening(&self) -> Result<(), DiskError> {
        of(&self.refuses_opening)
    }

    pub(super) fn reading(&self) -> Result<(), DiskError> {
        of(&self.refuses_reads)
    }
}

impl Disk {
    /// What is to go wrong.
    pub(crate) fn fault(&self) -> &Fault {
        &self.0.fault
    }
}

/// An error of input and output, as a dying disk gives it.
fn of(fault: &AtomicBool) -> Result<(), DiskError> {
    const EIO: i32 = 5;
    if fault.load(Ordering::SeqCst) {
        return Err(DiskError::from(io::Error::from_raw_os_error(EIO)));
    }
    Ok(())
}
