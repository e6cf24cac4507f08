//! The hub over a store on disk: what publishers, streams and kicks see when the disk fails, hangs or is slow.

use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::*;
use crate::store::Disk;

struct World {
    hub: Hub,
    disk: Disk,
    committer: Option<Committer>,
    folder: TempDir,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let open = open(&folder);
    let disk = open.disk.clone();
    let (hub, committer) = Hub::on_disk(1, open, SyncMode::Always);
    World { hub, disk, committer: Some(committer), folder }
}

fn open(folder: &TempDir) -> OpenDisk {
    let limits = Limits {
        age: Duration::from_secs(60),
        events: 10_000,
        bytes: 1 << 30,
        max_bytes: 1 << 30,
        max_channels: 100,
    };
    Disk::open(folder.path(), limits, SyncMode::Always, Epoch::from_bits(1), NOW).unwrap()
}

impl World {
    fn start(&mut self) -> JoinHandle<()> {
        let committer = self.committer.take().unwrap();
        thread::spawn(move || committer.run())
    }

    fn publish(&self, publication: Publication) -> Result<Receipt, PublishError> {
        self.hub.publish(publication, NOW)
    }

    /// Publishes until the store takes it.
    async fn publish_at_last(&self, publication: Publication) -> Receipt {
        let begun = std::time::Instant::now();
        loop {
            if let Ok(receipt) = self.publish(publication.clone())
                && receipt.delivered().await.is_ok()
            {
                return receipt;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it stays down");
            tokio::task::yield_now().await;
        }
    }

    fn history(&self) -> Vec<u64> {
        let head = self.disk.head();
        let page = self.disk.page(&names(&["a"]), 0, head, NOW).unwrap();
        page.records.iter().map(|record| record.seq).collect()
    }
}

fn keyed(key: &str) -> Publication {
    Publication { key: Some(key.into()), ..publication(&["a"]) }
}

#[tokio::test]
async fn what_fails_to_be_written_is_refused_and_the_store_goes_on_by_itself() {
    for reaches_the_disk in [false, true] {
        let mut world = world();
        let _stream = subscribe(&world.hub, 0, &["a"], Position::Now);
        let running = world.start();
        let first = world.publish(keyed("one")).unwrap();
        assert_eq!(first.delivered().await, Ok(1));
        let fault = world.disk.fault();
        let broken = if reaches_the_disk { &fault.fails_after_writes } else { &fault.refuses_writes };
        broken.store(true, Ordering::SeqCst);
        let refused = world.hub.publish_all(vec![keyed("two"), publication(&["a"])], NOW).unwrap();
        for receipt in &refused {
            assert_eq!(receipt.delivered().await, Err(NotKept::Failed));
        }
        broken.store(false, Ordering::SeqCst);
        let again = world.publish_at_last(keyed("two")).await;
        assert!(
            again.id().unwrap().seq > refused[1].id().unwrap().seq,
            "an id is given once, and the key is free"
        );
        assert!(world.hub.is_well());
        assert_eq!(world.history(), [first.id().unwrap().seq, again.id().unwrap().seq]);
        let delivered: Vec<_> = taken(&world.hub, 0).await.iter().map(|delivery| delivery.seq).collect();
        assert_eq!(delivered, [first.id().unwrap().seq, again.id().unwrap().seq]);
        world.hub.close();
        running.join().unwrap();
    }
}

#[tokio::test]
async fn a_mark_that_cannot_be_kept_is_refused_and_is_nowhere_later() {
    for reaches_the_disk in [false, true] {
        let mut world = world();
        let running = world.start();
        let first = world.publish_at_last(publication(&["user:a"])).await.id().unwrap();
        let second = world.publish_at_last(publication(&["user:a"])).await.id().unwrap();
        let mark = |id| {
            let hub = world.hub.clone();
            async move { hub.mark_read("a", &Read::UpTo(id), NOW).await }
        };
        assert_eq!(mark(first).await.unwrap(), 1);
        let fault = world.disk.fault();
        let broken = if reaches_the_disk { &fault.fails_after_writes } else { &fault.refuses_writes };
        broken.store(true, Ordering::SeqCst);
        fault.refuses_opening.store(true, Ordering::SeqCst);
        assert!(matches!(mark(second).await, Err(MarkError::NotKept)));
        assert!(mark(second).await.is_err(), "it is down, and says so at once");
        broken.store(false, Ordering::SeqCst);
        fault.refuses_opening.store(false, Ordering::SeqCst);
        world.publish_at_last(publication(&["user:a"])).await;
        let unread = world.hub.unread("a", None, (10, 1 << 20), NOW).await.unwrap();
        assert_eq!(unread.count, 2);
        world.hub.close();
        running.join().unwrap();
        let World { hub, disk, folder, .. } = world;
        drop((hub, disk));
        let mark = open(&folder).marks.of(&names(&["user:a"])[0]).cloned().unwrap();
        assert!(mark.holds(first.seq) && !mark.holds(second.seq));
    }
}

#[tokio::test]
async fn while_it_is_down_publishers_are_refused_at_once() {
    let mut world = world();
    let running = world.start();
    let fault = world.disk.fault();
    fault.refuses_writes.store(true, Ordering::SeqCst);
    fault.refuses_opening.store(true, Ordering::SeqCst);
    let receipt = world.publish(publication(&["a"])).unwrap();
    assert_eq!(receipt.delivered().await, Err(NotKept::Failed));
    assert!(!world.hub.is_well());
    assert_eq!(world.publish(publication(&["a"])).unwrap_err(), PublishError::NotKept);
    let subscription = subscribe(&world.hub, 0, &["a"], Position::Now);
    assert_eq!(world.hub.lock().head, 0);
    drop(subscription);
    fault.refuses_writes.store(false, Ordering::SeqCst);
    fault.refuses_opening.store(false, Ordering::SeqCst);
    let receipt = world.publish_at_last(publication(&["a"])).await;
    assert_eq!(world.history(), [receipt.id().unwrap().seq]);
    assert!(world.hub.is_well());
    world.hub.close();
    running.join().unwrap();
}

#[tokio::test]
async fn a_dead_committer_holds_nobody_and_history_is_still_read() {
    let mut world = world();
    let running = world.start();
    let first = world.publish(publication(&["a"])).unwrap();
    assert_eq!(first.delivered().await, Ok(0));
    world.disk.fault().panics.store(true, Ordering::SeqCst);
    let lost = world.publish(publication(&["a"])).unwrap();
    let kicked = world.hub.disconnect("42", None, None, NOW).unwrap();
    assert_eq!(lost.delivered().await, Err(NotKept::Unknown));
    assert_eq!(kicked.count().await, Ok(0));
    assert!(running.join().is_err());
    assert_eq!(world.publish(publication(&["a"])).unwrap_err(), PublishError::NotKept);
    assert!(!world.hub.is_well());
    assert_eq!(world.history(), [first.id().unwrap().seq]);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_waits_for_so_long_and_may_ask_again() {
    let mut world = world();
    let begun = tokio::time::Instant::now();
    let receipts = world.hub.publish_all(vec![keyed("k"), publication(&["a"])], NOW).unwrap();
    for receipt in &receipts {
        assert_eq!(receipt.delivered().await, Err(NotKept::Unknown));
    }
    // All of a batch together, not one after the other.
    assert!((PATIENCE..2 * PATIENCE).contains(&begun.elapsed()));
    // Then the disk answers after all, and the key makes it one.
    tokio::time::resume();
    let running = world.start();
    let again = world.publish(keyed("k")).unwrap();
    while world.disk.head() < receipts[1].id().unwrap().seq {
        thread::yield_now();
    }
    assert_eq!((again.id().unwrap(), again.delivered().await), (receipts[0].id().unwrap(), Ok(0)));
    assert_eq!(world.history(), [1, 2]);
    world.hub.close();
    running.join().unwrap();
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes_and_events() {
    let world = world();
    let big = |channels: &[&str]| Publication {
        event: Event { name: None, data: vec![b'x'; 1 << 20].into(), retry: None },
        ..publication(channels)
    };
    // Each channel has its copy on disk.
    let sixteen: Vec<_> = (0..16).map(|n| format!("c{n}")).collect();
    let sixteen: Vec<_> = sixteen.iter().map(String::as_str).collect();
    for _ in 0..3 {
        world.publish(big(&sixteen)).unwrap();
    }
    assert_eq!(world.publish(big(&sixteen)).unwrap_err(), PublishError::NotKept);
    world.publish(big(&["a"])).unwrap();
    let world = self::world();
    for _ in 0..queue::QUEUE_EVENTS / 1024 {
        world.hub.publish_all(vec![publication(&["a"]); 1024], NOW).unwrap();
    }
    assert!(world.publish(publication(&["a"])).is_err());
    assert_eq!(world.hub.lock().queue.len(), queue::QUEUE_EVENTS);
}

#[tokio::test]
async fn a_kick_stands_behind_what_was_published_before_it() {
    let mut world = world();
    let _stream = subscribe(&world.hub, 0, &["a"], Position::Now);
    let before = world.publish(publication(&["a"])).unwrap();
    let kicked = world.hub.disconnect("42", None, Some(Duration::from_secs(9)), NOW).unwrap();
    let after = world.publish(publication(&["a"])).unwrap();
    assert!(world.hub.is_blocked("42", NOW), "the door is closed at once");
    assert_eq!(world.hub.inbox(0).len(), 0);
    let running = world.start();
    assert_eq!(after.delivered().await, Ok(1));
    let mut batch = Vec::new();
    world.hub.inbox(0).take(&mut batch).await;
    let mut seen = Vec::new();
    for work in batch {
        seen.push(match work {
            Work::Deliver(delivery) => delivery.seq,
            Work::Kick(kick) => {
                assert!(kick.blocked);
                kick.counted(1);
                0
            }
            Work::Read(_) | Work::Gap(_) | Work::Look(_) => unreachable!(),
        });
    }
    assert_eq!(seen, [before.id().unwrap().seq, 0, after.id().unwrap().seq]);
    assert_eq!(kicked.count().await, Ok(1));
    world.hub.close();
    running.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_kick_does_not_wait_for_a_disk_that_hangs() {
    let world = world();
    let _stream = subscribe(&world.hub, 0, &["a"], Position::Now);
    world.publish(publication(&["a"])).unwrap();
    let _kicked = world.hub.disconnect("42", None, None, NOW).unwrap();
    world.hub.sweep(NOW);
    assert_eq!(world.hub.inbox(0).len(), 0);
    tokio::time::advance(PATIENCE).await;
    world.hub.sweep(NOW);
    assert_eq!(world.hub.inbox(0).len(), 1);
}

#[tokio::test]
async fn what_is_too_old_goes_and_a_clock_that_steps_back_takes_nothing() {
    let mut world = world();
    let running = world.start();
    let at = |seconds: i64| Timestamp(NOW.0.saturating_add_signed(1000 * seconds));
    let publish = async |at| {
        let receipt = world.hub.publish(publication(&["a"]), at).unwrap();
        receipt.delivered().await.unwrap();
        receipt.id().unwrap().seq
    };
    let [first, second, third] = [publish(at(0)).await, publish(at(-3600)).await, publish(at(30)).await];
    world.hub.sweep(at(-3600));
    let fourth = publish(at(50)).await;
    assert_eq!(world.history(), [first, second, third, fourth]);
    // The first two are a minute old; the third is not yet.
    world.hub.sweep(at(80));
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while world.disk.channel(&names(&["a"])[0]).unwrap().0 > 2 {
        assert!(std::time::Instant::now() < until, "they stay");
        tokio::task::yield_now().await;
    }
    let gap = world.disk.page(&names(&["a"]), first, fourth, at(80)).unwrap();
    assert!(gap.gap);
    let page = world.disk.page(&names(&["a"]), second, fourth, at(80)).unwrap();
    assert_eq!(page.records.iter().map(|record| record.seq).collect::<Vec<_>>(), [third, fourth]);
    world.hub.close();
    running.join().unwrap();
}
