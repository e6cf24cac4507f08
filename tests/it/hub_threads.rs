//! The hub between threads as they are: publishers that wait for their counts, workers that sleep until they are woken,
//! and streams that come and go between any two events.
//!
//! What crosses threads is a mutex and a waker of the runtime's, neither of which a model checker could stand in for
//! without another build of both; so many real interleavings are tried instead. A wake-up that is lost leaves a worker
//! and its publishers asleep, and is seen as a wait without end.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use sidestream::event::{ChannelName, Epoch, Event, EventId, Timestamp};
use sidestream::hub::{Delivery, Hub, Position, Publication, Subscription, Work};
use sidestream::store::{Disk, Limits, Memory, SyncMode};
use tokio::time::timeout;

use crate::support::PATIENCE;

const WORKERS: usize = 3;
const PUBLISHERS: usize = 3;
const CHANNELS: u8 = 4;
const EVENTS: usize = 600;

/// All channels, by bits.
const ALL: u8 = (1 << CHANNELS) - 1;

/// What a stream was given.
struct Given {
    channels: u8,
    /// It had this when it began, and all up to that when it ended.
    from: u64,
    upto: u64,
    events: Vec<u64>,
}

struct Stream {
    subscription: Subscription,
    given: Given,
}

fn names(channels: u8) -> Vec<ChannelName> {
    let bits = (0..CHANNELS).filter(|bit| channels & (1 << bit) != 0);
    bits.map(|bit| ChannelName::new(&format!("c{bit}")).unwrap()).collect()
}

fn limits() -> Limits {
    let much = 1 << 30;
    Limits { age: Duration::from_secs(3600), events: much, bytes: much, max_bytes: much, max_channels: 99 }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// Publishes, one after the other is counted. Gives the channels of each event.
fn publisher(hub: &Hub, mut rng: Rng) -> Vec<(u64, u8)> {
    let publish = async {
        let mut published = Vec::new();
        for _ in 0..EVENTS {
            // Most go to several channels, so that only the workers can count them.
            let channels = rng.u8(1..=ALL);
            let publication = publication(channels, "x");
            let receipt = hub.publish(publication, Timestamp::now()).unwrap();
            timeout(PATIENCE, receipt.delivered()).await.expect("nobody was woken").unwrap();
            published.push((receipt.id().unwrap().seq, channels));
        }
        published
    };
    runtime().block_on(publish)
}

fn publication(channels: u8, data: &'static str) -> Publication {
    let event = Event { name: None, data: data.into(), retry: None };
    Publication { channels: names(channels).into(), event, ttl: None, key: None, collapse: None }
}

/// A worker: its streams come and go until the last event. Gives what each of them had.
fn worker(hub: &Hub, number: usize, begin: &Barrier, mut rng: Rng) -> Vec<Given> {
    let work = async {
        // One is always there, so that every event wakes the worker.
        let mut streams = vec![open(hub, number, ALL, Position::Now)];
        let mut ended: Vec<Given> = Vec::new();
        let (mut batch, mut handed, mut last) = (Vec::new(), 0, 0);
        let mut is_over = false;
        begin.wait();
        while !is_over {
            match rng.u8(0..8) {
                0..2 => {
                    let said = EventId { epoch: hub.epoch(), seq: last }.to_string();
                    let from = if rng.bool() { Position::Now } else { Position::After(&said) };
                    streams.push(open(hub, number, rng.u8(1..=ALL), from));
                }
                2..4 if streams.len() > 1 => {
                    let Stream { mut given, .. } = streams.swap_remove(rng.usize(1..streams.len()));
                    given.upto = given.upto.max(handed);
                    last = given.events.last().copied().unwrap_or(given.from);
                    ended.push(given);
                }
                _ => {}
            }
            timeout(PATIENCE, hub.inbox(number).take(&mut batch)).await.expect("it was not woken");
            for work in batch.drain(..) {
                let Work::Deliver(delivery) = work else { unreachable!("nobody is kicked") };
                assert!(delivery.seq > handed, "{} after {handed}", delivery.seq);
                handed = delivery.seq;
                is_over |= delivery.frame.text().ends_with(b"data: last\n\n");
                deliver(delivery, &mut streams);
            }
        }
        let left = streams.into_iter().map(|Stream { given, .. }| Given { upto: u64::MAX, ..given });
        ended.into_iter().chain(left).collect()
    };
    runtime().block_on(work)
}

/// Opens a stream and reads what it missed.
fn open(hub: &Hub, worker: usize, channels: u8, from: Position<'_>) -> Stream {
    let now = Timestamp::now();
    let (subscription, start) = hub.subscribe(worker, None, &names(channels), from, now).unwrap();
    let (mut read, mut events) = (start.cursor.seq, Vec::new());
    while read < start.head {
        let after = EventId { seq: read, ..start.cursor };
        let page = subscription.page(after, start.head, now).unwrap();
        assert!(!page.gap);
        events.extend(page.records.iter().map(|record| record.seq));
        read = page.read;
    }
    Stream { subscription, given: Given { channels, from: start.cursor.seq, upto: start.head, events } }
}

fn deliver(delivery: Delivery, streams: &mut [Stream]) {
    let mut count = 0;
    for Stream { subscription, given } in streams {
        let is_for_it = subscription.channels().any(|channel| delivery.channels.contains(&channel));
        // What was registered before it has it from history.
        if is_for_it && delivery.seq > given.upto {
            given.events.push(delivery.seq);
            count += 1;
        }
    }
    delivery.counted(count);
}

fn everybody_has_everything(hub: &Hub, seed: u64) {
    let (mut rng, begin) = (Rng::with_seed(seed), Barrier::new(WORKERS + PUBLISHERS));
    let (published, given) = thread::scope(|scope| {
        let begin = &begin;
        let mut rngs = std::iter::repeat_with(|| rng.fork());
        let workers: Vec<_> = (0..WORKERS)
            .zip(&mut rngs)
            .map(|(number, rng)| scope.spawn(move || worker(hub, number, begin, rng)))
            .collect();
        let publishers = rngs.take(PUBLISHERS).map(|rng| {
            scope.spawn(move || {
                begin.wait();
                publisher(hub, rng)
            })
        });
        let publishers: Vec<_> = publishers.collect();
        let mut published: BTreeMap<u64, u8> =
            publishers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        published
            .insert(hub.publish(publication(ALL, "last"), Timestamp::now()).unwrap().id().unwrap().seq, ALL);
        let given: Vec<_> = workers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (published, given)
    });
    assert_eq!(published.len(), PUBLISHERS * EVENTS + 1);
    assert!(given.len() > 50, "only {} streams", given.len());
    for Given { channels, from, upto, events } in given {
        let past = published.range(from + 1..).filter(|(seq, of)| **seq <= upto && *of & channels != 0);
        let expected: Vec<_> = past.map(|(seq, _)| *seq).collect();
        assert!(events == expected, "seed {seed}, past {from} up to {upto}: {events:?}, not {expected:?}");
    }
}

#[test]
fn in_memory_no_event_is_missed_between_threads() {
    for seed in 0..3 {
        everybody_has_everything(&Hub::new(WORKERS, Memory::new(limits()), Epoch::from_bits(1)), seed);
    }
}

#[test]
fn on_disk_no_event_is_missed_between_threads() {
    let folder = tempfile::tempdir().unwrap();
    let (epoch, sync) = (Epoch::from_bits(1), SyncMode::Interval);
    let open = Disk::open(folder.path(), limits(), sync, epoch, Timestamp::now()).unwrap();
    let (hub, committer) = Hub::on_disk(WORKERS, open, sync);
    let committer = thread::spawn(move || committer.run());
    everybody_has_everything(&hub, 7);
    hub.close();
    committer.join().unwrap();
}
