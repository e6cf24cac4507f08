//! What the disk store keeps over whatever happens to it, and what it admits to have lost.

mod damage;
mod failing;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::event::{Event, EventId};
use crate::store::PAGE_EVENTS;

const LIMITS: Limits =
    Limits { age: Duration::from_secs(60), events: 40, bytes: 1 << 20, max_bytes: 1 << 20, max_channels: 8 };

/// More than is ever published here.
const HEAD: u64 = 100_000;

fn open_with(folder: &TempDir, limits: Limits, sync: SyncMode, fresh: u32) -> Result<OpenDisk, DiskError> {
    Disk::open(folder.path(), limits, sync, Epoch::from_bits(fresh), Timestamp(0))
}

fn open(folder: &TempDir) -> OpenDisk {
    open_with(folder, LIMITS, SyncMode::Always, 7).unwrap()
}

fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

fn kept(epoch: Epoch, channels: &[&str], seq: u64, at: u64) -> Kept {
    let frame = Event { name: None, data: "x".into(), retry: None }.frame(EventId { epoch, seq });
    let record = Record { seq, frame, at: Timestamp(at), expires: None, collapse: None };
    Kept { channels: channels.iter().map(|name| channel(name)).collect(), record, key: None }
}

/// Reads page after page. A gap ends it.
fn read(disk: &Disk, names: &[&str], cursor: u64, now: u64) -> (Vec<u64>, bool) {
    let names: Vec<_> = names.iter().map(|n| channel(n)).collect();
    let (mut after, mut seqs) = (cursor, Vec::new());
    loop {
        let page = disk.page(&names, after, HEAD, Timestamp(now)).unwrap();
        assert!(page.records.len() <= PAGE_EVENTS && page.read > after);
        seqs.extend(page.records.iter().map(|record| record.seq));
        after = page.read;
        if page.gap || after == HEAD {
            return (seqs, page.gap);
        }
    }
}

#[test]
fn history_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let OpenDisk { disk, mut writer, is_new_epoch, repaired, .. } = open(&folder);
    assert_eq!((is_new_epoch, repaired, disk.head()), (false, 0, 0));
    let epoch = disk.epoch();
    let batch = [kept(epoch, &["a"], 1, 0), kept(epoch, &["a", "b"], 2, 0), kept(epoch, &["b"], 3, 0)];
    writer.write(batch.iter()).unwrap();
    let look = |disk: &Disk| {
        assert_eq!(read(disk, &["b", "a"], 0, 0), (vec![1, 2, 3], false));
        assert_eq!(read(disk, &["a"], 1, 0), (vec![2], false));
        assert_eq!((disk.channel(&channel("a")), disk.channel(&channel("c"))), (Some((2, 2)), None));
        assert_eq!((disk.head(), disk.epoch()), (3, epoch));
        let page = disk.page(&[channel("a")], 0, 1, Timestamp(0)).unwrap();
        assert_eq!(page.records[0].frame.chunk(), batch[0].record.frame.chunk());
    };
    look(&disk);
    // Not closed, as after kill -9; and closed.
    drop((disk, writer));
    let OpenDisk { disk, writer, .. } = open_with(&folder, LIMITS, SyncMode::Always, 8).unwrap();
    look(&disk);
    writer.close().unwrap();
    drop(disk);
    look(&open_with(&folder, LIMITS, SyncMode::Always, 9).unwrap().disk);
}

#[test]
fn keys_are_kept_with_their_events_until_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let OpenDisk { disk, mut writer, .. } = open(&folder);
    let id = EventId { epoch: disk.epoch(), seq: 1 };
    let key = KeptKey { name: "k".into(), digest: 5, id, streams: 3, until: Timestamp(100) };
    let event = Kept { key: Some(key.clone()), ..kept(disk.epoch(), &["a"], 1, 0) };
    writer.write([event].iter()).unwrap();
    drop((disk, writer));
    let OpenDisk { disk, mut writer, keys, .. } = open(&folder);
    assert_eq!(keys, [key]);
    writer.forget_keys(Timestamp(101), 10).unwrap();
    drop((disk, writer));
    assert_eq!(open(&folder).keys, []);
}

#[test]
fn what_a_bound_drops_is_a_gap_that_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let OpenDisk { disk, mut writer, .. } = open(&folder);
    let batch: Vec<_> = (1..=300).map(|seq| kept(disk.epoch(), &["a"], seq, seq)).collect();
    writer.write(batch.iter()).unwrap();
    while writer.trim(Timestamp(300), 50).unwrap() {}
    let look = |disk: &Disk| {
        assert_eq!(read(disk, &["a"], 260, 300), ((261..=300).collect(), false));
        assert_eq!(read(disk, &["a"], 259, 300), (vec![], true));
        assert_eq!(disk.channel(&channel("a")), Some((40, 300)));
    };
    look(&disk);
    drop((disk, writer));
    let OpenDisk { disk, mut writer, .. } = open(&folder);
    look(&disk);
    // Too old, first only to be read, and then at all.
    assert_eq!(read(&disk, &["a"], 270, 60_280), (vec![], true));
    assert!(!writer.trim(Timestamp(60_280), 1000).unwrap());
    assert_eq!(disk.channel(&channel("a")), Some((21, 300)));
    assert!(!writer.trim(Timestamp(70_000), 1000).unwrap());
    assert_eq!((disk.channel(&channel("a")), disk.index().bytes), (None, 0));
    assert_eq!(read(&disk, &["a"], 299, 70_000), (vec![], true));
    assert_eq!(read(&disk, &["a"], 300, 70_000), (vec![], false));
    drop((disk, writer));
    assert_eq!(read(&open(&folder).disk, &["other"], 299, 70_000), (vec![], true));
}

#[test]
fn all_channels_together_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_bytes: 10_000, ..LIMITS };
    let OpenDisk { disk, mut writer, .. } = open_with(&folder, limits, SyncMode::Always, 1).unwrap();
    for seq in 1..=200 {
        let name = format!("c{}", seq % 12);
        writer.write([kept(disk.epoch(), &[&name], seq, seq)].iter()).unwrap();
        while writer.trim(Timestamp(seq), 10).unwrap() {}
        let index = disk.index();
        assert!(index.bytes <= 10_000 && index.len() <= 8, "{} {}", index.bytes, index.len());
    }
    assert_eq!(read(&disk, &["c8"], 199, 200), (vec![200], false));
}

#[test]
fn a_newer_event_collapses_the_older_in_its_batch_and_before() {
    let folder = tempfile::tempdir().unwrap();
    let OpenDisk { disk, mut writer, .. } = open(&folder);
    let keyed = |seq| {
        let mut kept = kept(disk.epoch(), &["a"], seq, 0);
        kept.record.collapse = Some("k".into());
        kept
    };
    writer.write([keyed(1), kept(disk.epoch(), &["a"], 2, 0)].iter()).unwrap();
    writer.write([keyed(3), keyed(4)].iter()).unwrap();
    assert_eq!(read(&disk, &["a"], 0, 0), (vec![2, 4], false));
    assert_eq!(disk.channel(&channel("a")), Some((2, 4)));
}

#[test]
fn one_that_may_lack_its_end_begins_an_epoch_and_keeps_its_history() {
    let folder = tempfile::tempdir().unwrap();
    let begin = |fresh| open_with(&folder, LIMITS, SyncMode::Interval, fresh).unwrap();
    let OpenDisk { disk, mut writer, .. } = begin(1);
    let first = disk.epoch();
    writer.write([kept(first, &["a"], 1, 0)].iter()).unwrap();
    drop((disk, writer));
    // The process died, the machine did not.
    let OpenDisk { disk, writer, is_new_epoch, .. } = begin(2);
    assert_eq!((disk.epoch(), is_new_epoch), (first, false));
    // Now the machine did.
    disk.engine().unwrap().about.insert(engine::RUNNING, "interval another-start").unwrap();
    drop((disk, writer));
    let OpenDisk { disk, writer, is_new_epoch, .. } = begin(3);
    assert_eq!((disk.epoch(), is_new_epoch, disk.head()), (Epoch::from_bits(3), true, 1));
    let page = disk.page(&[channel("a")], 0, 1, Timestamp(0)).unwrap();
    assert!(page.records[0].frame.text().starts_with(format!("id: {}-1\n", disk.epoch()).as_bytes()));
    // What is synced each time is whole whatever happened.
    disk.engine().unwrap().about.insert(engine::RUNNING, "always another-start").unwrap();
    drop((disk, writer));
    assert_eq!(begin(4).disk.epoch(), Epoch::from_bits(3));
}

#[test]
fn who_cannot_have_it_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let OpenDisk { disk, writer, .. } = open(&folder);
    let error = open_with(&folder, LIMITS, SyncMode::Always, 1).unwrap_err();
    assert!(matches!(error, DiskError::Locked { .. }), "{error}");
    disk.engine().unwrap().about.insert("version", 2u64.to_be_bytes()).unwrap();
    drop((disk, writer));
    let error = open_with(&folder, LIMITS, SyncMode::Always, 1).unwrap_err();
    assert!(matches!(error, DiskError::Newer { .. }), "{error}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Disk::open(&file, LIMITS, SyncMode::Always, Epoch::from_bits(1), Timestamp(0)).unwrap_err();
    assert!(matches!(error, DiskError::Folder { .. }), "{error}");
    assert!(error.to_string().contains("file"));
}

#[test]
fn a_torn_end_is_cut_off_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let OpenDisk { disk, mut writer, .. } = open(&folder);
    for seq in 1..=3 {
        writer.write([kept(disk.epoch(), &["a"], seq, 0)].iter()).unwrap();
    }
    drop((disk, writer));
    let OpenDisk { disk, writer, repaired, .. } = open(&folder);
    assert_eq!((repaired, disk.head()), (0, 3), "nothing is torn yet");
    drop((disk, writer));
    let journals = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let journal = journals.filter(|path| path.extension().is_some_and(|end| end == "jnl")).max().unwrap();
    let size = journal::written(&journal).unwrap();
    std::fs::OpenOptions::new().write(true).open(&journal).unwrap().set_len(size - 5).unwrap();
    let OpenDisk { disk, repaired, .. } = open(&folder);
    assert!(repaired > 0);
    // The last that was written is that it was opened.
    assert_eq!((read(&disk, &["a"], 0, 0), disk.head()), ((vec![1, 2, 3], false), 3));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Against a model that never forgets: a read is right, or it admits a gap; over restarts too.
    #[test]
    fn a_read_is_whole_or_admits_a_gap(
        steps in prop::collection::vec(
            (prop::collection::btree_set(0u8..12, 1..3), 0u64..8_000, 0u8..10), 1..120),
        cursor in 0u64..120,
        asked in prop::collection::btree_set(0u8..12, 1..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { events: 8, max_bytes: 4_000, ..LIMITS };
        let begin = || open_with(&folder, limits.clone(), SyncMode::Always, 1).unwrap();
        let OpenDisk { mut disk, mut writer, .. } = begin();
        let (mut now, mut model, mut batch) = (0, Vec::<(u64, BTreeSet<u8>)>::new(), Vec::new());
        let last = steps.len() as u64;
        for (seq, (channels, pause, what)) in (1..).zip(steps) {
            now += pause;
            let names: Vec<_> = channels.iter().map(|c| format!("c{c}")).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            batch.push(kept(disk.epoch(), &names, seq, now));
            model.push((seq, channels));
            if what > 3 && seq < last { continue; }
            writer.write(batch.iter()).unwrap();
            batch.clear();
            if what == 2 { writer.trim(Timestamp(now), 5).unwrap(); }
            if what == 1 { while writer.trim(Timestamp(now), 5).unwrap() {} }
            if what == 0 {
                drop((disk, writer));
                OpenDisk { disk, writer, .. } = begin();
            }
        }
        let names: Vec<_> = asked.iter().map(|c| format!("c{c}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let (got, gap) = read(&disk, &names, cursor, now);
        let expected: Vec<u64> = model.iter()
            .filter(|(seq, channels)| *seq > cursor && channels.intersection(&asked).next().is_some())
            .map(|(seq, _)| *seq).collect();
        if gap {
            prop_assert!(expected.starts_with(&got));
        } else {
            prop_assert_eq!(got, expected);
        }
        // The numbers are those of what is there, and what is over a bound goes in the end.
        while writer.trim(Timestamp(now), 5).unwrap() {}
        let index = disk.index();
        prop_assert!(index.bytes <= 4_000 && index.len() <= 8);
        let there = disk.engine().unwrap().events.iter().count() as u64;
        let counted: u64 = (0..12).filter_map(|c| index.get(&channel(&format!("c{c}")))).map(|log| log.events).sum();
        prop_assert_eq!(there, counted);
    }
}
