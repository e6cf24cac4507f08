//! What users have read, kept beside history; and history as the inbox reads it.
//!
//! A user's mark is written whole, in the journal behind the events that it speaks of. Invariant: what is read back
//! holds nothing that history has not: a mark whose event was lost with the end of the journal is lost too.

use fjall::PersistMode;

use super::{Disk, DiskError, DiskWriter, Engine, entry};
use crate::event::{ChannelName, Timestamp};
use crate::store::page::PageBuilder;
use crate::store::{Limits, Mark, Marks, Page};

impl Disk {
    /// The first page of what a channel has past `place` and up to `upto` that is there to be told. Unlike for a client
    /// that resumes, what is gone before it is of no interest.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn kept_page(
        &self,
        channel: &ChannelName,
        place: u64,
        upto: u64,
        now: Timestamp,
    ) -> Result<Page, DiskError> {
        self.note(self.read_kept_page(channel, place, upto, now))
    }

    fn read_kept_page(
        &self,
        channel: &ChannelName,
        place: u64,
        upto: u64,
        now: Timestamp,
    ) -> Result<Page, DiskError> {
        // Taken before the index is looked at: the index is never older than the engine.
        let engine = self.engine()?;
        #[cfg(test)]
        self.0.fault.reading()?;
        let mut page = PageBuilder::new(upto);
        let log = self.index().get(channel).map(|log| (log.id, log.lost.max(place)));
        let oldest = self.oldest_kept(now);
        if let Some((id, place)) = log.filter(|(_, place)| *place < upto) {
            for read in self.read(&engine, id, place, upto) {
                let record = read?;
                if record.at >= oldest && !page.add(&record, now) {
                    break;
                }
            }
        }
        Ok(page.done())
    }

    /// Whether an event is kept in a channel.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn holds(&self, channel: &ChannelName, seq: u64) -> Result<bool, DiskError> {
        let engine = self.engine()?;
        let Some(id) = self.index().get(channel).map(|log| log.id) else { return Ok(false) };
        self.note(engine.events.contains_key(entry::event_key(id, seq)).map_err(DiskError::from))
    }
}

impl DiskWriter {
    /// Keeps marks, and forgets those that are none any more. They are safe from a power cut with the next batch, or
    /// after [`DiskWriter::sync`].
    ///
    /// # Errors
    /// Then it is not known which of them are kept, and they are to be written again. Unless it was only for want of
    /// room, nothing more is taken before [`DiskWriter::recover`].
    pub fn write_marks<'m>(
        &mut self,
        marks: impl Iterator<Item = (&'m ChannelName, Option<&'m Mark>)> + Clone,
    ) -> Result<(), DiskError> {
        if !self.is_sound() {
            return Err(DiskError::Away);
        }
        let bytes = marks.clone().filter_map(|(_, mark)| mark).map(|mark| mark.numbers().count() * 8);
        self.check_room(2 * bytes.sum::<usize>() as u64)?;
        let written = self.write_marks_with_room(marks);
        self.note(written)
    }

    fn write_marks_with_room<'m>(
        &mut self,
        marks: impl Iterator<Item = (&'m ChannelName, Option<&'m Mark>)>,
    ) -> Result<(), DiskError> {
        let engine = self.disk.engine()?;
        let mut writing = engine.database.batch().durability(Some(PersistMode::Buffer));
        for (user, mark) in marks {
            let key = user.as_str().as_bytes();
            match mark {
                Some(mark) => writing.insert(&engine.marks, key, value(mark)),
                None => writing.remove(&engine.marks, key),
            }
        }
        #[cfg(test)]
        self.disk.0.fault.writing()?;
        writing.commit()?;
        self.is_synced = false;
        #[cfg(test)]
        self.disk.0.fault.written()?;
        Ok(())
    }

    /// Moves the place of a mark up past all that is read.
    ///
    /// # Errors
    /// If the disk cannot be read. Then the mark is as it was.
    pub fn settle(&self, user: &ChannelName, mark: &mut Mark) -> Result<(), DiskError> {
        let kept = self.disk.note(self.kept_past(user, mark))?;
        mark.settle(kept.into_iter());
        Ok(())
    }

    /// The kept events past the place of a mark, as many as it has apart and one.
    fn kept_past(&self, user: &ChannelName, mark: &Mark) -> Result<Vec<u64>, DiskError> {
        let engine = self.disk.engine()?;
        let log = self.disk.index().get(user).map(|log| (log.id, log.lost.max(mark.up_to())));
        let Some((id, place)) = log else { return Ok(Vec::new()) };
        let range = entry::event_key(id, place.saturating_add(1))..=entry::event_key(id, u64::MAX);
        let mut kept = Vec::new();
        for guard in engine.events.range(range).take(mark.apart() + 1) {
            let key = guard.key()?;
            kept.push(key.get(8..).and_then(entry::number).ok_or(DiskError::strange("an event"))?);
        }
        Ok(kept)
    }
}

/// Reads all marks back, of a history that ends at `head`.
pub(super) fn kept(engine: &Engine, limits: &Limits, head: u64) -> Result<Marks, DiskError> {
    let mut marks = Vec::new();
    for guard in engine.marks.iter() {
        let (key, value) = guard.into_inner()?;
        let user = std::str::from_utf8(&key).ok().and_then(|name| ChannelName::new(name).ok());
        let numbers = value.chunks(8).filter_map(entry::number);
        let mark = Mark::of_numbers(numbers, head);
        marks.push(user.zip(mark).ok_or(DiskError::strange("a mark"))?);
    }
    Ok(Marks::new(limits.max_channels, limits.age).kept(marks))
}

fn value(mark: &Mark) -> Vec<u8> {
    mark.numbers().flat_map(u64::to_be_bytes).collect()
}
