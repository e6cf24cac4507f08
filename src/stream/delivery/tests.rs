//! Deliveries to thousands of readers who do not read.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::*;
use crate::access_log::WorkerLog;
use crate::config::StreamRoute;
use crate::event::{ChannelName, Epoch, Event, Timestamp};
use crate::hub::{Held, Hub, Publication};
use crate::store::{Limits, Memory};
use crate::stream::{Grant, StreamBody, StreamSettings};

const READERS: usize = 10_000;

/// How long a delivery to all of them may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn grant(settings: &Rc<StreamSettings>, channel: &ChannelName) -> Grant {
    Grant {
        settings: settings.clone(),
        user: None,
        channels: vec![channel.clone()],
        last_id: None,
        expires: None,
        again: None,
        voucher: None,
        fields: None,
        permit: None,
        held: Held::default(),
        span: None,
        is_uncounted: false,
        client: String::new(),
        target: String::new(),
    }
}

/// A hub with one worker, ten thousand readers of one channel, and a route whose backlog holds so many bytes.
fn readers(backlog: usize) -> (Hub, Streams, Vec<StreamBody>) {
    let limits = Limits { age: Duration::MAX, events: 9, bytes: 9999, max_bytes: 9999, max_channels: 9 };
    let hub = Hub::new(1, Memory::new(limits), Epoch::from_bits(1));
    let streams = Streams::new(hub.clone(), 0, std::sync::Arc::default(), Rc::new(WorkerLog::off()));
    let route = StreamRoute { backlog, ..StreamRoute::new(Vec::new()) };
    let settings = Rc::new(StreamSettings::new("/events".to_owned(), &route));
    let channel = ChannelName::new("all").unwrap();
    let bodies = (0..READERS).map(|_| StreamBody::respond(&streams, grant(&settings, &channel)).into_body());
    let bodies = bodies.collect();
    (hub, streams, bodies)
}

fn publish(hub: &Hub, data: &str) {
    let event = Event { name: None, data: data.to_owned().into(), retry: None };
    let channels = [ChannelName::new("all").unwrap()].into_iter().collect();
    let publication = Publication { channels, event, ttl: None, key: None, collapse: None };
    hub.publish(publication, Timestamp(1)).unwrap();
}

/// Delivers all that was published, however many turns that takes.
async fn deliver(streams: &Streams, is_done: impl Fn() -> bool) {
    let delivering = async {
        LocalSet::new().run_until(streams.deliver()).await;
    };
    let waiting = async {
        while !is_done() {
            yield_now().await;
        }
    };
    tokio::select! {
        () = delivering => {}
        waited = timeout(PATIENCE, waiting) => waited.unwrap(),
    }
}

#[tokio::test]
async fn ten_thousand_slow_readers_hold_one_copy_of_each_event() {
    let (hub, streams, mut bodies) = readers(64 * 1024);
    for data in ["first", "second"] {
        publish(&hub, data);
    }
    let deliveries = || streams.0.counters.deliveries.get();
    deliver(&streams, || deliveries() == 2 * READERS as u64).await;
    let mut held = Vec::new();
    for body in &mut bodies {
        let mut pieces = Vec::new();
        for _ in 0..3 {
            pieces.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        assert!(pieces[1].ends_with(b"data: first\n\n") && pieces[2].ends_with(b"data: second\n\n"));
        held.push([pieces[1].as_ptr(), pieces[2].as_ptr()]);
    }
    assert!(held.iter().all(|places| *places == held[0]), "an event was copied for a reader");
}

#[tokio::test]
async fn many_small_events_are_as_bounded_as_few_large_ones() {
    let (hub, streams, bodies) = readers(1024);
    let evicted = || streams.0.counters.evicted.get();
    // Each is some 25 bytes, and its place in the backlog 32 more.
    for _ in 0..25 {
        publish(&hub, "");
    }
    deliver(&streams, || evicted() == READERS as u64).await;
    let ended = |body: &StreamBody| !body.subscriber.is_behind();
    assert!(bodies.iter().all(ended), "an evicted reader still holds what it was not sent");
    assert_eq!(streams.0.counters.streams.get(), 0);
}
