//! One event, looked up in one channel.
//!
//! Invariant: that an event is not there is only said where history reaches back to it.

use std::sync::Arc;

use super::{Disk, DiskError, Logs, Record, Store};
use crate::event::{ChannelName, Timestamp};

/// What a channel has of an event.
#[derive(Debug, Clone)]
pub enum Found {
    /// It is kept. It may have outlived its time.
    Here(Arc<Record>),
    /// History does not reach back to it.
    Gone,
    /// The channel never had it; or a later event of the same collapse key took its place.
    Not,
}

impl Store {
    /// What a channel has of an event.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn find(&self, channel: &ChannelName, seq: u64) -> Result<Found, DiskError> {
        self.logs().map_or_else(|disk| disk.find(channel, seq), |logs| Ok(logs.find(channel, seq)))
    }

    /// The event of a channel that is kept under a collapse key.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn find_collapsing(
        &self,
        channel: &ChannelName,
        key: &str,
    ) -> Result<Option<Arc<Record>>, DiskError> {
        match self.logs() {
            Ok(logs) => Ok(logs.find_collapsing(channel, key)),
            Err(disk) => disk.find_collapsing(channel, key),
        }
    }

    /// What was published before this is too old to be kept.
    pub fn oldest_kept(&self, now: Timestamp) -> Timestamp {
        self.logs().map_or_else(|disk| disk.oldest_kept(now), |logs| logs.oldest_kept(now))
    }
}

impl Logs {
    /// What a channel has of an event.
    pub fn find(&self, channel: &ChannelName, seq: u64) -> Found {
        let Some(log) = self.channels.get(channel) else { return Found::below(seq, self.forgotten) };
        match log.records.binary_search_by_key(&seq, |record| record.seq) {
            Ok(place) => Found::Here(log.records[place].clone()),
            Err(_) => Found::below(seq, log.lost),
        }
    }

    /// The event of a channel that is kept under a collapse key. The search is bounded by what a channel keeps.
    pub fn find_collapsing(&self, channel: &ChannelName, key: &str) -> Option<Arc<Record>> {
        let mut records = self.channels.get(channel)?.records.iter().rev();
        records.find(|record| record.collapse.as_deref() == Some(key)).cloned()
    }
}

impl Disk {
    /// What a channel has of an event.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn find(&self, channel: &ChannelName, seq: u64) -> Result<Found, DiskError> {
        if let Some(record) = self.one(channel, seq)? {
            return Ok(Found::Here(record));
        }
        // Looked at last: what goes has been announced before.
        Ok(Found::below(seq, self.lost(channel)))
    }

    /// The event of a channel that is kept under a collapse key.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn find_collapsing(
        &self,
        channel: &ChannelName,
        key: &str,
    ) -> Result<Option<Arc<Record>>, DiskError> {
        match self.newest_of(channel, key)? {
            Some(seq) => self.one(channel, seq),
            None => Ok(None),
        }
    }
}

impl Found {
    /// What is said of an event that is not there, where events up to `lost` may be gone.
    fn below(seq: u64, lost: u64) -> Self {
        if seq <= lost { Self::Gone } else { Self::Not }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use tempfile::TempDir;

    use crate::event::{Epoch, Event, EventId};
    use crate::store::{Kept, Limits, Memory, SyncMode};

    const LIMITS: Limits =
        Limits { age: Duration::from_secs(60), events: 2, bytes: 9999, max_bytes: 99_999, max_channels: 9 };

    fn channel(name: &str) -> ChannelName {
        ChannelName::new(name).unwrap()
    }

    fn record(seq: u64, collapse: Option<&str>) -> Record {
        let event = Event { name: None, data: "x".into(), retry: None };
        let frame = event.frame(EventId { epoch: Epoch::from_bits(7), seq });
        Record { seq, frame, at: Timestamp(seq), expires: None, collapse: collapse.map(Into::into) }
    }

    /// What becomes of events 1 to 5 of a channel that keeps two, of which the last takes the place of the fourth.
    fn said(find: impl Fn(&str, u64) -> Found) -> String {
        let word = |found| match found {
            Found::Here(record) => record.seq.to_string(),
            Found::Gone => "gone".to_owned(),
            Found::Not => "not".to_owned(),
        };
        [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("a", 5), ("b", 1)]
            .map(|(of, seq)| word(find(of, seq)))
            .join(" ")
    }

    #[test]
    fn an_event_is_there_or_gone_or_has_never_been() {
        let mut memory = Memory::new(LIMITS);
        let folder = TempDir::new().unwrap();
        let fresh = Epoch::from_bits(7);
        let open = Disk::open(folder.path(), LIMITS, SyncMode::Always, fresh, Timestamp(0)).unwrap();
        let (disk, mut writer) = (open.disk, open.writer);
        for seq in 1..=5 {
            let record = record(seq, (seq > 3).then_some("k"));
            memory.append(&[channel("a")], record.clone());
            writer.write([&Kept { channels: [channel("a")].into(), record, key: None }].into_iter()).unwrap();
            writer.trim(Timestamp(0), 9).unwrap();
        }
        let in_memory = said(|of, seq| memory.logs().find(&channel(of), seq));
        assert_eq!(in_memory, "gone gone 3 not 5 not");
        assert_eq!(said(|of, seq| disk.find(&channel(of), seq).unwrap()), in_memory);
        let [a, b] = [channel("a"), channel("b")];
        let newest = |record: Option<Arc<Record>>| record.map(|record| record.seq);
        for (of, key, seq) in [(&a, "k", Some(5)), (&a, "other", None), (&b, "k", None)] {
            assert_eq!(newest(memory.logs().find_collapsing(of, key)), seq);
            assert_eq!(newest(disk.find_collapsing(of, key).unwrap()), seq);
        }
    }
}
