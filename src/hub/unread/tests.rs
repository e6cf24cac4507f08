//! The inbox's rules, tried without any socket.

use std::time::Duration;

use crate::event::{ChannelName, Epoch, Event, EventId, Timestamp};
use crate::hub::{Hub, Position, Publication, Read, Work};
use crate::store::{Limits, Memory};

const NOW: Timestamp = Timestamp(1_000_000);

/// A hub whose channels keep four events, for a minute.
fn hub() -> Hub {
    let limits = Limits {
        age: Duration::from_secs(60),
        events: 4,
        bytes: 1 << 20,
        max_bytes: 1 << 20,
        max_channels: 100,
    };
    Hub::new(1, Memory::new(limits), Epoch::from_bits(1))
}

fn names(channels: &[&str]) -> Vec<ChannelName> {
    channels.iter().map(|name| ChannelName::new(name).unwrap()).collect()
}

fn publication(channels: &[&str]) -> Publication {
    Publication {
        channels: names(channels).into(),
        event: Event { name: None, data: "x".into(), retry: None },
        ttl: None,
        key: None,
        collapse: None,
    }
}

fn publish(hub: &Hub, channels: &[&str]) -> EventId {
    hub.publish(publication(channels), NOW).unwrap().id
}

fn deliver(hub: &Hub, written: &[(&str, u64)]) {
    let written: Vec<_> = written.iter().map(|(own, seq)| (ChannelName::new(own).unwrap(), *seq)).collect();
    hub.mark_delivered(written.iter().map(|(own, seq)| (own, *seq)), NOW);
}

fn unread(hub: &Hub, user: &str, now: Timestamp) -> Vec<u64> {
    let found = hub.unread(user, None, (100, 1 << 20), now);
    assert_eq!((found.count, found.more), (found.records.len(), false));
    found.records.iter().map(|record| record.seq).collect()
}

#[test]
fn an_event_is_unread_until_it_is_marked() {
    let hub = hub();
    let ids = [publish(&hub, &["user:a"]), publish(&hub, &["user:a", "all"]), publish(&hub, &["user:a"])];
    let others = [publish(&hub, &["user:b"]), publish(&hub, &["all"])];
    assert_eq!(unread(&hub, "a", NOW), [1, 2, 3]);
    // Not theirs, not of this epoch, not given yet: nothing to mark.
    let foreign = EventId { epoch: Epoch::from_bits(2), seq: 1 };
    let future = EventId { seq: 99, ..ids[0] };
    let nothing = Read::Events(vec![others[0], others[1], foreign, future]);
    assert_eq!(hub.mark_read("a", &nothing, NOW), Ok(3));
    assert_eq!(hub.mark_read("a", &Read::UpTo(foreign), NOW), Ok(3));
    assert_eq!(hub.mark_read("a", &Read::Events(vec![ids[2], ids[0]]), NOW), Ok(1));
    assert_eq!((unread(&hub, "a", NOW), unread(&hub, "b", NOW)), (vec![2], vec![4]));
    // What comes later is not read, whatever was said of the future.
    assert_eq!(hub.mark_read("a", &Read::UpTo(future), NOW), Ok(0));
    publish(&hub, &["user:a"]);
    assert_eq!(unread(&hub, "a", NOW), [6]);
    deliver(&hub, &[("user:a", 6), ("user:b", 6), ("user:b", 5)]);
    assert_eq!((unread(&hub, "a", NOW), unread(&hub, "b", NOW)), (vec![], vec![4]));
    assert!(unread(&hub, "nobody", NOW).is_empty());
}

#[test]
fn what_history_drops_is_not_unread() {
    let hub = hub();
    for _ in 0..6 {
        publish(&hub, &["user:a"]);
    }
    assert_eq!(unread(&hub, "a", NOW), [3, 4, 5, 6]);
    let second = Duration::from_secs(1);
    let keyed = |ttl| Publication { ttl, collapse: Some("k".into()), ..publication(&["user:a"]) };
    hub.publish(keyed(None), NOW).unwrap();
    hub.publish(keyed(Some(second)), NOW).unwrap();
    // The newer of the same key took the older's place, and ends before the others do.
    assert_eq!(unread(&hub, "a", NOW), [4, 5, 6, 8]);
    assert_eq!(unread(&hub, "a", NOW.after(second)), [4, 5, 6]);
    let gone = NOW.after(Duration::from_secs(61));
    assert!(unread(&hub, "a", gone).is_empty());
    hub.sweep(gone);
    assert_eq!(hub.lock().marks.of(&names(&["user:a"])[0]), None);
}

#[test]
fn pages_follow_one_another() {
    let hub = hub();
    let ids: Vec<_> = (0..4).map(|_| publish(&hub, &["user:a"])).collect();
    let page = |after, bounds| {
        let found = hub.unread("a", after, bounds, NOW);
        let seqs: Vec<u64> = found.records.iter().map(|record| record.seq).collect();
        (found.count, seqs, found.more)
    };
    assert_eq!(page(None, (3, 1 << 20)), (4, vec![1, 2, 3], true));
    assert_eq!(page(Some(ids[2]), (3, 1 << 20)), (4, vec![4], false));
    // One is always given, however large it is.
    assert_eq!(page(None, (3, 1)), (4, vec![1], true));
    assert_eq!(page(Some(ids[3]), (3, 1)), (4, vec![], false));
}

#[test]
fn a_stream_without_an_id_starts_below_the_oldest_unread() {
    let hub = hub();
    let own = &names(&["user:a"])[0];
    let open =
        || hub.subscribe(0, Some("a"), &names(&["user:a", "all"]), Position::Unread(own), NOW).unwrap();
    assert_eq!((open().1.cursor.seq, open().1.head), (0, 0));
    for channels in [["user:a"], ["all"], ["user:a"], ["all"]] {
        publish(&hub, &channels);
    }
    deliver(&hub, &[("user:a", 1)]);
    let (_stream, start) = open();
    let replayed: Vec<u64> = start.unread.iter().map(|record| record.seq).collect();
    assert_eq!((start.cursor.seq, replayed, start.head), (2, vec![3], 4));
    assert!(start.gap.is_none() && !start.resumed);
    deliver(&hub, &[("user:a", 3)]);
    let (_stream, none) = open();
    assert_eq!((none.cursor.seq, none.unread.len(), none.head), (4, 0, 4));
}

#[tokio::test]
async fn the_streams_of_the_user_are_told_once() {
    let hub = hub();
    let stream = hub.subscribe(0, Some("a"), &names(&["user:a"]), Position::Now, NOW).unwrap();
    let id = publish(&hub, &["user:a"]);
    for _ in 0..2 {
        assert_eq!(hub.mark_read("a", &Read::UpTo(id), NOW), Ok(0));
    }
    let mut batch = Vec::new();
    hub.inbox(0).take(&mut batch).await;
    let [Work::Deliver(_), Work::Read(notice)] = &batch[..] else { panic!("{batch:?}") };
    assert_eq!(Some(notice.channel), stream.0.channels().next());
    let data = format!("{{\"read\":[\"{id}\"],\"read_up_to\":\"{id}\",\"unread\":0}}");
    assert_eq!(notice.frame.text(), format!("event: read\ndata: {data}\n\n"));
}
