//! The memory store: a bounded log per channel, gone with the process.
//!
//! Dropped first is always the oldest: within a channel when it has too many events or bytes, over all channels when
//! the store has too many bytes or channels, and whatever is too old. Every drop raises the mark of what its channel
//! has lost, so no gap is silent.

mod unread;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::event::{ChannelName, Frame, Timestamp};

/// What an event costs in memory beside its frame, in bytes; counted so that many tiny events are bounded too.
const RECORD_OVERHEAD: usize = 128;

/// The order of records is tidied when it holds this many more entries than twice the live ones.
const STALE_ENTRIES: usize = 4096;

/// How much history is kept.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long an event is kept.
    pub age: Duration,
    /// How many events a channel keeps.
    pub events: usize,
    /// How many bytes a channel keeps, the overhead of each record included.
    pub bytes: usize,
    /// How many bytes all channels keep.
    pub max_bytes: usize,
    /// How many channels have history.
    pub max_channels: usize,
}

/// One event as it is kept.
#[derive(Debug)]
pub struct Record {
    /// Its place in the epoch.
    pub seq: u64,
    /// Its bytes.
    pub frame: Frame,
    /// When it was published.
    pub at: Timestamp,
    /// When it is of no use any more, if its publisher said so.
    pub expires: Option<Timestamp>,
    /// Its publisher's collapse key.
    pub collapse: Option<Box<str>>,
}

/// What lies past a cursor.
#[derive(Debug, Default)]
pub struct Replay {
    /// The events above the cursor, in order, once each.
    pub records: Vec<Arc<Record>>,
    /// Whether events above the cursor are gone.
    pub gap: bool,
}

/// The logs of all channels.
#[derive(Debug)]
pub struct Memory {
    limits: Limits,
    channels: HashMap<ChannelName, Log>,
    /// Every record of every channel, oldest first. Entries whose record is gone are skipped and tidied away.
    order: VecDeque<(u64, ChannelName)>,
    records: usize,
    bytes: usize,
    /// The highest `lost` of any channel that has no log any more.
    forgotten: u64,
}

#[derive(Debug)]
struct Log {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    /// Events up to and with this one may be gone.
    lost: u64,
    /// The newest event, kept or not.
    last: u64,
}

impl Memory {
    /// An empty store.
    pub fn new(limits: Limits) -> Self {
        Self { limits, channels: HashMap::new(), order: VecDeque::new(), records: 0, bytes: 0, forgotten: 0 }
    }

    /// Keeps an event under each of its channels. `record.seq` must be above every earlier one.
    pub fn append(&mut self, channels: &[ChannelName], record: Record) {
        let now = record.at;
        let record = Arc::new(record);
        for channel in channels {
            let forgotten = self.forgotten;
            let log = self.channels.entry(channel.clone()).or_insert_with(|| Log {
                records: VecDeque::new(),
                bytes: 0,
                lost: forgotten,
                last: 0,
            });
            log.last = record.seq;
            let mut freed = log.collapse(&record);
            log.bytes += cost(&record);
            log.records.push_back(record.clone());
            while log.records.len() > self.limits.events || log.bytes > self.limits.bytes {
                freed += log.drop_oldest();
            }
            self.records = self.records + 1 - freed.records;
            self.bytes = self.bytes + cost(&record) - freed.bytes;
            if log.records.is_empty() {
                // The event alone is more than a channel may keep.
                self.forget(channel);
            } else {
                self.order.push_back((record.seq, channel.clone()));
            }
        }
        self.shrink(now);
    }

    /// Reads what the channels have past `cursor`.
    pub fn since(&self, channels: &[ChannelName], cursor: u64, now: Timestamp) -> Replay {
        let oldest = self.oldest_kept(now);
        let mut replay = Replay::default();
        for channel in channels {
            let Some(log) = self.channels.get(channel) else {
                replay.gap |= cursor < self.forgotten;
                continue;
            };
            replay.gap |= cursor < log.lost;
            let start = log.records.partition_point(|record| record.seq <= cursor);
            for record in log.records.range(start..) {
                if record.at < oldest {
                    // Too old, and not swept yet.
                    replay.gap = true;
                } else if record.expires.is_none_or(|expires| now < expires) {
                    replay.records.push(record.clone());
                }
            }
        }
        if channels.len() > 1 {
            replay.records.sort_unstable_by_key(|record| record.seq);
            replay.records.dedup_by_key(|record| record.seq);
        }
        replay
    }

    /// Drops what is too old. Cheap when nothing is.
    pub fn sweep(&mut self, now: Timestamp) {
        self.shrink(now);
    }

    /// How many events a channel has, and the newest it ever had.
    pub fn channel(&self, channel: &ChannelName) -> Option<(usize, u64)> {
        self.channels.get(channel).map(|log| (log.records.len(), log.last))
    }

    /// How many bytes are kept, the overhead of each record included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn oldest_kept(&self, now: Timestamp) -> Timestamp {
        let age = u64::try_from(self.limits.age.as_millis()).unwrap_or(u64::MAX);
        Timestamp(now.0.saturating_sub(age))
    }

    fn shrink(&mut self, now: Timestamp) {
        let oldest = self.oldest_kept(now);
        while let Some((seq, channel)) = self.order.front() {
            let Some(log) = self.channels.get(channel) else {
                self.order.pop_front();
                continue;
            };
            let Some(first) = log.records.front().filter(|first| first.seq == *seq) else {
                // Dropped before, by its channel's own bounds; or collapsed.
                self.order.pop_front();
                continue;
            };
            let over = self.bytes > self.limits.max_bytes || self.channels.len() > self.limits.max_channels;
            if !over && first.at >= oldest {
                break;
            }
            self.drop_front();
        }
        if self.order.len() > 2 * self.records + STALE_ENTRIES {
            let channels = &self.channels;
            self.order.retain(|(seq, channel)| {
                channels.get(channel).is_some_and(|log| log.records.front().is_some_and(|r| r.seq <= *seq))
            });
        }
    }

    fn drop_front(&mut self) {
        let Some((_, channel)) = self.order.pop_front() else {
            return;
        };
        let Some(log) = self.channels.get_mut(&channel) else {
            return;
        };
        let freed = log.drop_oldest();
        self.records -= freed.records;
        self.bytes -= freed.bytes;
        if log.records.is_empty() {
            self.forget(&channel);
        }
    }

    /// Drops an empty log, and remembers what it had lost.
    fn forget(&mut self, channel: &ChannelName) {
        if let Some(log) = self.channels.remove(channel) {
            self.forgotten = self.forgotten.max(log.lost);
        }
    }
}

/// What a drop gave back.
#[derive(Debug, Default)]
struct Freed {
    records: usize,
    bytes: usize,
}

impl std::ops::AddAssign for Freed {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

impl Log {
    fn drop_oldest(&mut self) -> Freed {
        let Some(record) = self.records.pop_front() else {
            return Freed::default();
        };
        self.lost = record.seq;
        self.bytes -= cost(&record);
        Freed { records: 1, bytes: cost(&record) }
    }

    /// Takes out the older event with the same collapse key. A channel holds at most one, so the search, newest
    /// first, is bounded by the channel's events.
    fn collapse(&mut self, newer: &Record) -> Freed {
        let Some(key) = &newer.collapse else {
            return Freed::default();
        };
        let found = self.records.iter().rposition(|record| record.collapse.as_ref() == Some(key));
        let Some(record) = found.and_then(|index| self.records.remove(index)) else {
            return Freed::default();
        };
        self.bytes -= cost(&record);
        Freed { records: 1, bytes: cost(&record) }
    }
}

fn cost(record: &Record) -> usize {
    record.frame.len() + RECORD_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        age: Duration::from_secs(60),
        events: 4,
        bytes: 1 << 20,
        max_bytes: 1 << 20,
        max_channels: 8,
    };

    fn channel(name: &str) -> ChannelName {
        ChannelName::new(name).unwrap()
    }

    fn record(seq: u64, at: u64) -> Record {
        Record { seq, frame: Frame::new(b"data: x\n\n"), at: Timestamp(at), expires: None, collapse: None }
    }

    fn read(store: &Memory, names: &[&str], cursor: u64, now: u64) -> (Vec<u64>, bool) {
        let names: Vec<_> = names.iter().map(|n| channel(n)).collect();
        let replay = store.since(&names, cursor, Timestamp(now));
        (replay.records.iter().map(|r| r.seq).collect(), replay.gap)
    }

    #[test]
    fn an_event_of_two_channels_is_read_once_and_in_order() {
        let mut store = Memory::new(LIMITS);
        store.append(&[channel("a")], record(1, 0));
        store.append(&[channel("a"), channel("b")], record(2, 0));
        store.append(&[channel("b")], record(3, 0));
        assert_eq!(read(&store, &["b", "a"], 0, 0), (vec![1, 2, 3], false));
        assert_eq!(read(&store, &["a", "b"], 2, 0), (vec![3], false));
        assert_eq!(read(&store, &["c"], 0, 0), (vec![], false));
    }

    #[test]
    fn what_a_bound_drops_is_a_gap() {
        let mut store = Memory::new(LIMITS);
        for seq in 1..=6 {
            store.append(&[channel("a")], record(seq, 0));
        }
        assert_eq!(read(&store, &["a"], 2, 0), (vec![3, 4, 5, 6], false));
        assert_eq!(read(&store, &["a"], 1, 0), (vec![3, 4, 5, 6], true));
    }

    #[test]
    fn age_and_ttl_end_events_and_only_age_is_a_gap() {
        let mut store = Memory::new(LIMITS);
        store.append(&[channel("a")], record(1, 0));
        store.append(&[channel("a")], Record { expires: Some(Timestamp(10)), ..record(2, 0) });
        assert_eq!(read(&store, &["a"], 0, 9), (vec![1, 2], false));
        assert_eq!(read(&store, &["a"], 0, 10), (vec![1], false));
        assert_eq!(read(&store, &["a"], 0, 60_001), (vec![], true));
        store.sweep(Timestamp(60_001));
        assert_eq!(store.bytes(), 0);
        assert_eq!(read(&store, &["a"], 0, 60_001), (vec![], true));
        assert_eq!(read(&store, &["a"], 2, 60_001), (vec![], false));
    }

    #[test]
    fn a_newer_event_collapses_the_older() {
        let mut store = Memory::new(LIMITS);
        let keyed = |seq| Record { collapse: Some("k".into()), ..record(seq, 0) };
        store.append(&[channel("a")], keyed(1));
        store.append(&[channel("a")], record(2, 0));
        store.append(&[channel("a")], keyed(3));
        assert_eq!(read(&store, &["a"], 0, 0), (vec![2, 3], false));
    }

    #[test]
    fn a_channel_forgotten_for_room_leaves_a_gap() {
        let mut store = Memory::new(LIMITS);
        for seq in 1..=9 {
            store.append(&[channel(&format!("c{seq}"))], record(seq, 0));
        }
        assert_eq!(read(&store, &["c1"], 0, 0), (vec![], true));
        assert_eq!(read(&store, &["c9"], 1, 0), (vec![9], false));
        store.append(&[channel("c1")], record(10, 0));
        assert_eq!(read(&store, &["c1"], 0, 0), (vec![10], true));
    }

    proptest! {
        /// Against a model that never forgets: a read is right, or it admits a gap.
        #[test]
        fn a_read_is_whole_or_admits_a_gap(
            appends in prop::collection::vec((prop::collection::btree_set(0u8..12, 1..3), 0u64..30_000, any::<bool>()), 1..200),
            cursor in 0u64..200,
            asked in prop::collection::btree_set(0u8..12, 1..4),
        ) {
            let mut store = Memory::new(Limits { max_bytes: 40 * (RECORD_OVERHEAD + 14), ..LIMITS });
            let (mut now, mut model) = (0, Vec::new());
            for (seq, (channels, pause, sweep)) in (1..).zip(appends) {
                now += pause;
                let names: Vec<_> = channels.iter().map(|c| channel(&format!("c{c}"))).collect();
                store.append(&names, record(seq, now));
                if sweep { store.sweep(Timestamp(now)); }
                model.push((seq, channels));
            }
            let names: Vec<_> = asked.iter().map(|c| format!("c{c}")).collect();
            let (got, gap) = read(&store, &names.iter().map(String::as_str).collect::<Vec<_>>(), cursor, now);
            let expected: Vec<u64> = model.iter()
                .filter(|(seq, channels)| *seq > cursor && channels.intersection(&asked).next().is_some())
                .map(|(seq, _)| *seq).collect();
            if gap {
                prop_assert!(expected.ends_with(&got) || got.iter().all(|seq| expected.contains(seq)));
            } else {
                prop_assert_eq!(got, expected);
            }
            let kept: usize = store.channels.values().map(|log| log.records.len()).sum();
            prop_assert_eq!(kept, store.records);
            prop_assert!(store.bytes <= store.limits.max_bytes);
            prop_assert!(store.channels.len() <= store.limits.max_channels);
            prop_assert!(store.channels.values().all(|log| !log.records.is_empty()));
        }
    }
}
