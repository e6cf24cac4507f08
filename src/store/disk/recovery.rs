//! The way back after a failed write: the engine takes nothing more until it is opened again, so it is.
//!
//! Invariants: a batch whose write has failed is taken out of the journal before the journal is read again, so that what
//! was refused is not there later; ids go on; and if history proves to be damaged it begins anew at the newest id, behind
//! a gap that every reader from before is told of.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::aside::{Aside, set_aside};
use super::engine::{FORGOTTEN, HEAD, NEXT_ID, locked};
use super::index::Index;
use super::open::{Found, begin};
use super::witness::{Newest, Witness};
use super::{DiskError, DiskWriter, entry, journal};

/// How long readers may take to end before the engine is opened again.
const READERS: Duration = Duration::from_secs(2);

impl DiskWriter {
    /// Whether the engine takes what is written, as far as is known.
    pub fn is_sound(&self) -> bool {
        !self.has_failed && !self.disk.0.is_damaged.load(Ordering::Relaxed)
    }

    /// Whether a batch that failed might still be found in history by whoever opens the store next.
    pub fn may_have_kept(&self) -> bool {
        self.may_have_kept
    }

    /// Makes the store take writes again, if its disk does. Says what it had to set aside for that.
    ///
    /// # Errors
    /// If the disk still fails or is full. To be tried again.
    pub fn recover(&mut self) -> Result<Option<Aside>, DiskError> {
        if self.is_sound() {
            self.check_room(0)?;
            return Ok(None);
        }
        if !self.may_have_kept {
            // While there is no room, what is there goes on being read.
            self.check_room(0)?;
        }
        let shared = self.disk.0.clone();
        let newest = Newest { epoch: shared.epoch, seq: self.disk.index().head, is_closed: false };
        self.close_engine()?;
        let is_failed =
            |key: &[u8], value: &[u8]| key == HEAD.as_bytes() && entry::number(value) > Some(newest.seq);
        locked(&shared.path, || journal::take_back(&shared.path, is_failed))??;
        self.may_have_kept = false;
        #[cfg(test)]
        shared.fault.opening()?;
        self.check_room(0)?;
        let is_damaged = shared.is_damaged.load(Ordering::Relaxed);
        let found = if is_damaged {
            Err(DiskError::Damaged { what: "a reader could not read it".to_owned() })
        } else {
            self.look(newest)
        };
        let (found, aside) = match found {
            Err(error) if error.is_damage() => {
                let aside = locked(&shared.path, || set_aside(&shared.path, error.to_string()))??;
                (self.anew(newest)?, Some(aside))
            }
            found => (found?, None),
        };
        let begun = begin(&found.engine, &found.index, newest.epoch, shared.sync);
        self.is_suspect |= begun.as_ref().is_err_and(|error| error.is_damage() || error.had_failed());
        begun?;
        self.witness = Witness::new(&shared.path, newest)?;
        self.over.clear();
        *self.disk.index() = found.index;
        *shared.engine.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(found.engine));
        shared.is_damaged.store(false, Ordering::Relaxed);
        (self.has_failed, self.is_suspect, self.is_synced) = (false, false, true);
        Ok(aside)
    }

    fn look(&self, newest: Newest) -> Result<Found, DiskError> {
        let found = Found::open_after(&self.disk.0.path, Some(newest))?;
        if found.index.head != newest.seq {
            return Err(DiskError::Damaged { what: "its end is lost".to_owned() });
        }
        if self.is_suspect {
            found.engine.check(&found.index)?;
        }
        Ok(found)
    }

    /// A new history, which begins after the newest event of the old one.
    fn anew(&self, newest: Newest) -> Result<Found, DiskError> {
        let mut found = Found::open_after(&self.disk.0.path, None)?;
        let mut batch = found.engine.database.batch();
        for (name, number) in [(HEAD, newest.seq), (FORGOTTEN, newest.seq), (NEXT_ID, self.next_id)] {
            batch.insert(&found.engine.about, name, number.to_be_bytes());
        }
        batch.commit()?;
        found.index = Index::after(newest.seq);
        Ok(found)
    }

    /// Closes the engine when nobody reads any more.
    pub(super) fn close_engine(&self) -> Result<(), DiskError> {
        let place = &self.disk.0.engine;
        let Some(mut engine) = place.write().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        let begun = Instant::now();
        loop {
            engine = match Arc::try_unwrap(engine) {
                Ok(engine) => {
                    drop(engine);
                    return Ok(());
                }
                Err(engine) => engine,
            };
            if begun.elapsed() > READERS {
                *place.write().unwrap_or_else(PoisonError::into_inner) = Some(engine);
                return Err(DiskError::Away);
            }
            // A page is read in well under this.
            thread::sleep(Duration::from_millis(1));
        }
    }
}
