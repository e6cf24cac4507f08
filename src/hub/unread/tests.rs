//! The inbox's rules, tried without any socket.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::event::{ChannelName, Epoch, Event, EventId, Timestamp};
use crate::hub::{Hub, Position, Publication, Read, Work};
use crate::store::{Disk, Limits, MAX_APART, Memory, SyncMode};

const NOW: Timestamp = Timestamp(1_000_000);

const LIMITS: Limits =
    Limits { age: Duration::from_secs(60), events: 4, bytes: 1 << 20, max_bytes: 1 << 20, max_channels: 100 };

/// A hub whose channels keep four events, for a minute.
fn hub() -> Hub {
    Hub::new(1, Memory::new(LIMITS), Epoch::from_bits(1))
}

/// The same over a store on disk. It ends, all written, when this is dropped.
struct OnDisk {
    hub: Hub,
    committer: Option<JoinHandle<()>>,
}

impl OnDisk {
    fn open(folder: &Path, limits: Limits) -> Self {
        let open = Disk::open(folder, limits, SyncMode::Always, Epoch::from_bits(1), NOW).unwrap();
        let (hub, committer) = Hub::on_disk(1, open, SyncMode::Always);
        Self { hub, committer: Some(std::thread::spawn(move || committer.run())) }
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        self.hub.close();
        self.committer.take().unwrap().join().unwrap();
    }
}

/// Tries both stores.
fn on_both(test: impl Fn(&Hub)) {
    on_both_with(&LIMITS, test);
}

fn on_both_with(limits: &Limits, test: impl Fn(&Hub)) {
    test(&Hub::new(1, Memory::new(limits.clone()), Epoch::from_bits(1)));
    let folder = tempfile::tempdir().unwrap();
    test(&OnDisk::open(folder.path(), limits.clone()).hub);
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn mark(hub: &Hub, user: &str, read: &Read) -> usize {
    wait(hub.mark_read(user, read, NOW)).unwrap()
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
    let receipt = hub.publish(publication(channels), NOW).unwrap();
    wait(receipt.delivered()).unwrap();
    receipt.id().unwrap()
}

fn deliver(hub: &Hub, written: &[(&str, u64)]) {
    let written: Vec<_> = written.iter().map(|(own, seq)| (ChannelName::new(own).unwrap(), *seq)).collect();
    hub.mark_delivered(written.iter().map(|(own, seq)| (own, *seq)), NOW);
}

fn unread(hub: &Hub, user: &str, now: Timestamp) -> Vec<u64> {
    let found = wait(hub.unread(user, None, (10_000, 1 << 20), now)).unwrap();
    assert_eq!((found.count, found.more), (found.records.len(), false));
    found.records.iter().map(|record| record.seq).collect()
}

#[test]
fn an_event_is_unread_until_it_is_marked() {
    on_both(|hub| {
        let ids = [publish(hub, &["user:a"]), publish(hub, &["user:a", "all"]), publish(hub, &["user:a"])];
        let others = [publish(hub, &["user:b"]), publish(hub, &["all"])];
        assert_eq!(unread(hub, "a", NOW), [1, 2, 3]);
        // Not theirs, not of this epoch, not given yet: nothing to mark.
        let foreign = EventId { epoch: Epoch::from_bits(2), seq: 1 };
        let future = EventId { seq: 99, ..ids[0] };
        let nothing = Read::Events(vec![others[0], others[1], foreign, future]);
        assert_eq!(mark(hub, "a", &nothing), 3);
        assert_eq!(mark(hub, "a", &Read::UpTo(foreign)), 3);
        assert_eq!(mark(hub, "a", &Read::Events(vec![ids[2], ids[0]])), 1);
        assert_eq!((unread(hub, "a", NOW), unread(hub, "b", NOW)), (vec![2], vec![4]));
        // What comes later is not read, whatever was said of the future.
        assert_eq!(mark(hub, "a", &Read::UpTo(future)), 0);
        publish(hub, &["user:a"]);
        assert_eq!(unread(hub, "a", NOW), [6]);
        deliver(hub, &[("user:a", 6)]);
        assert_eq!((unread(hub, "a", NOW), unread(hub, "b", NOW)), (vec![], vec![4]));
        assert!(unread(hub, "nobody", NOW).is_empty());
    });
}

#[test]
fn of_a_page_only_what_a_channel_carried_is_marked() {
    on_both(|hub| {
        for channels in [&["user:a"][..], &["all"], &["user:a", "all"]] {
            publish(hub, channels);
        }
        let own = &names(&["user:a"])[0];
        assert_eq!(hub.carried(own, 0..9), [1, 3]);
    });
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
    on_both(|hub| {
        let ids: Vec<_> = (0..4).map(|_| publish(hub, &["user:a"])).collect();
        let page = |after, bounds| {
            let found = wait(hub.unread("a", after, bounds, NOW)).unwrap();
            let seqs: Vec<u64> = found.records.iter().map(|record| record.seq).collect();
            (found.count, seqs, found.more)
        };
        assert_eq!(page(None, (3, 1 << 20)), (4, vec![1, 2, 3], true));
        assert_eq!(page(Some(ids[2]), (3, 1 << 20)), (4, vec![4], false));
        // One is always given, however large it is.
        assert_eq!(page(None, (3, 1)), (4, vec![1], true));
        assert_eq!(page(Some(ids[3]), (3, 1)), (4, vec![], false));
    });
}

#[test]
fn the_streams_of_the_user_are_told_once() {
    on_both(|hub| {
        let stream = hub.subscribe(0, Some("a"), &names(&["user:a"]), Position::Now, NOW).unwrap();
        let id = publish(hub, &["user:a"]);
        for _ in 0..2 {
            assert_eq!(mark(hub, "a", &Read::UpTo(id)), 0);
        }
        let mut batch = Vec::new();
        wait(hub.inbox(0).take(&mut batch));
        let [Work::Deliver(_), Work::Read(notice)] = &batch[..] else { panic!("{batch:?}") };
        assert_eq!(Some(notice.channel), stream.0.channels().next());
        let data = format!("{{\"read\":[\"{id}\"],\"read_up_to\":\"{id}\",\"unread\":0}}");
        assert_eq!(notice.frame.text(), format!("event: read\ndata: {data}\n\n"));
    });
}

#[test]
fn what_is_told_stands_in_its_place_among_what_is_published() {
    const STEPS: u64 = 200;
    on_both_with(&Limits { events: 1000, ..LIMITS }, |hub| {
        let _stream = hub.subscribe(0, Some("a"), &names(&["user:a"]), Position::Now, NOW).unwrap();
        let (last, steps) = (AtomicU64::new(publish(hub, &["user:a"]).seq), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while steps.load(Relaxed) < STEPS {
                    // No further ahead than history reaches.
                    if last.load(Relaxed) < 40 + 4 * steps.load(Relaxed) {
                        last.store(publish(hub, &["user:a"]).seq, Relaxed);
                    }
                    std::thread::yield_now();
                }
            });
            let id = |seq| EventId { epoch: hub.epoch(), seq };
            for step in 0..STEPS {
                while last.load(Relaxed) <= step {
                    std::thread::yield_now();
                }
                let seq = last.load(Relaxed);
                let is_one = step % 3 == 0;
                let read = if is_one { Read::Events(vec![id(seq)]) } else { Read::UpTo(id(seq / 2)) };
                mark(hub, "a", &read);
                steps.store(step + 1, Relaxed);
            }
        });
        let (mut batch, mut unread, mut told) = (Vec::new(), 0, 0);
        wait(hub.inbox(0).take(&mut batch));
        for work in batch {
            let Work::Read(notice) = work else {
                unread += 1;
                continue;
            };
            let said: serde_json::Value = serde_json::from_str(&notice.frame.parsed().data).unwrap();
            unread -= said["read"].as_array().unwrap().len();
            assert_eq!(said["unread"], unread);
            told += 1;
        }
        assert!(told > 1 && unread == self::unread(hub, "a", NOW).len(), "{told} {unread}");
    });
}

#[test]
fn marks_on_disk_outlive_the_process_as_long_as_their_events() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { events: 5000, ..LIMITS };
    let open = || OnDisk::open(folder.path(), limits.clone());
    let disk = open();
    let ids: Vec<_> = (0..200).map(|_| publish(&disk.hub, &["user:a"])).collect();
    publish(&disk.hub, &["user:b"]);
    deliver(&disk.hub, &[("user:a", 2), ("user:b", 201)]);
    assert_eq!(mark(&disk.hub, "a", &Read::Events(ids[5..150].to_vec())), 200 - 146);
    drop(disk);

    let disk = open();
    let left: Vec<u64> = [1].into_iter().chain(3..=5).chain(151..=200).collect();
    assert_eq!((unread(&disk.hub, "a", NOW), unread(&disk.hub, "b", NOW)), (left, vec![]));
    assert_eq!(mark(&disk.hub, "a", &Read::UpTo(ids[160])), 200 - 161);
    let own = &names(&["user:a"])[0];
    // Many are one place, where nothing is unread before them.
    let kept = disk.hub.lock().marks.of(own).cloned().unwrap();
    assert_eq!((kept.up_to(), kept.apart()), (161, 0));
    drop(disk);

    let disk = open();
    assert_eq!(disk.hub.lock().marks.of(own), Some(&kept));
    // They go with what they speak of, on disk as well.
    disk.hub.sweep(NOW.after(2 * limits.age));
    drop(disk);
    assert_eq!(open().hub.lock().marks.of(own), None);
}

#[test]
fn what_is_marked_in_a_rush_is_settled_by_and_by() {
    let folder = tempfile::tempdir().unwrap();
    let many = 3 * MAX_APART as u64;
    let limits = Limits { events: 5000, ..LIMITS };
    let disk = OnDisk::open(folder.path(), limits.clone());
    let batch: Vec<_> = (0..many).map(|_| publication(&["user:a"])).collect();
    let receipts = disk.hub.publish_all(batch, NOW).unwrap();
    wait(receipts.last().unwrap().delivered()).unwrap();
    for seq in 1..=many {
        deliver(&disk.hub, &[("user:a", seq)]);
    }
    assert!(unread(&disk.hub, "a", NOW).is_empty());
    drop(disk);
    assert!(unread(&OnDisk::open(folder.path(), limits).hub, "a", NOW).is_empty());
}

#[test]
fn who_watches_is_told_who_comes_and_goes_and_what_is_read() {
    on_both(|hub| {
        // Each of two is told all of it.
        let [watch, other] = hub.watch(2) else { panic!() };
        let own = ChannelName::of_user("a").unwrap();
        let there = || hub.with_streams(names(&["user:a", "user:b"]));
        let (subscription, _) =
            hub.subscribe(0, Some("a"), &names(&["user:a", "all"]), Position::Now, NOW).unwrap();
        assert_eq!(wait(watch.next()).changed, [own.clone()].into());
        assert_eq!(there(), names(&["user:a"]));
        let ids = [publish(hub, &["user:a"]), publish(hub, &["user:a"])];
        deliver(hub, &[("user:a", ids[0].seq)]);
        assert_eq!(wait(watch.next()).read, [(own.clone(), ids[0].seq)]);
        // What is read already is no news.
        mark(hub, "a", &Read::UpTo(ids[1]));
        assert_eq!(wait(watch.next()).read, [(own.clone(), ids[1].seq)]);
        drop(subscription);
        assert_eq!(wait(watch.next()).changed, [own].into());
        assert_eq!(there(), []);
        let seen = wait(other.next());
        assert_eq!((seen.changed.len(), seen.read.len(), seen.lost), (1, 2, 0));
    });
}
