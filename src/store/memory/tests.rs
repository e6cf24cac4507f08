//! What the memory store keeps and what it admits to have lost.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::event::Frame;
use crate::store::{PAGE_BYTES, PAGE_EVENTS};

/// More than is ever published here.
const HEAD: u64 = 100_000;

const LIMITS: Limits =
    Limits { age: Duration::from_secs(60), events: 4, bytes: 1 << 20, max_bytes: 1 << 20, max_channels: 8 };

fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

fn record(seq: u64, at: u64) -> Record {
    Record { seq, frame: Frame::new(b"data: x\n\n"), at: Timestamp(at), expires: None, collapse: None }
}

/// Reads page after page, as a reader would that takes its time. The gap ends it.
fn read(store: &Memory, names: &[&str], cursor: u64, now: u64) -> (Vec<u64>, bool) {
    let names: Vec<_> = names.iter().map(|n| channel(n)).collect();
    let (mut after, mut seqs) = (cursor, Vec::new());
    loop {
        let page = store.logs().page(&names, after, HEAD, Timestamp(now));
        assert!(page.records.len() <= PAGE_EVENTS && page.read > after);
        seqs.extend(page.records.iter().map(|record| record.seq));
        after = page.read;
        if page.gap || after == HEAD {
            return (seqs, page.gap);
        }
    }
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
    assert_eq!(read(&store, &["a"], 1, 0), (vec![], true));
}

#[test]
fn a_page_is_bounded_in_events_and_bytes_and_what_is_above_is_left() {
    let mut store = Memory::new(Limits { events: 1000, ..LIMITS });
    for seq in 1..=200 {
        store.append(&[channel("a")], Record { expires: Some(Timestamp(seq % 2)), ..record(seq, 0) });
    }
    let page = store.logs().page(&[channel("a")], 10, 150, Timestamp(0));
    assert_eq!((page.read, page.records.len()), (74, 32), "half of them are over, and are counted");
    let page = store.logs().page(&[channel("a")], 140, 150, Timestamp(0));
    assert_eq!((page.read, page.records.len()), (150, 5));
    for seq in 201..=203 {
        let frame = Frame::new(&vec![b'x'; 2 * PAGE_BYTES / 3]);
        store.append(&[channel("b")], Record { frame, ..record(seq, 0) });
    }
    let pages: Vec<_> =
        [0, 201, 202].map(|after| store.logs().page(&[channel("b")], after, 203, Timestamp(0)).read).into();
    assert_eq!(pages, [201, 202, 203]);
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
    assert_eq!(read(&store, &["c1"], 0, 0), (vec![], true));
}

proptest! {
    /// Against a model that never forgets: a read is right, or it admits a gap.
    #[test]
    fn a_read_is_whole_or_admits_a_gap(
        appends in prop::collection::vec((prop::collection::btree_set(0u8..12, 1..3), 0u64..30_000, any::<bool>()), 1..200),
        cursor in 0u64..200,
        asked in prop::collection::btree_set(0u8..12, 1..4),
    ) {
        let mut store = Memory::new(Limits { max_bytes: 40 * (crate::store::log::RECORD_OVERHEAD + 14), ..LIMITS });
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
        let kept: usize = store.logs.channels.values().map(|log| log.records.len()).sum();
        prop_assert_eq!(kept, store.records);
        prop_assert!(store.bytes <= store.logs.limits.max_bytes);
        prop_assert!(store.logs.channels.len() <= store.logs.limits.max_channels);
        prop_assert!(store.logs.channels.values().all(|log| !log.records.is_empty()));
    }
}
