//! Several hubs over one made-up Redis.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::super::made_up::Redis;
use super::super::{MarkError, NotKept, Position, Publication, PublishError, Read, Subscription, Unread};
use super::*;
use crate::event::{Event, Frame};
use crate::store::redis::Stored;

fn redis(nodes: usize) -> Redis {
    let age = Duration::from_secs(3600);
    let limits = Limits { age, events: 100, bytes: 1 << 20, max_bytes: 1 << 20, max_channels: 100 };
    let mut redis = Redis::new(nodes, 1, &limits);
    (0..nodes).for_each(|node| redis.attach(node));
    redis.settle();
    redis
}

fn names(channels: &[&str]) -> Vec<ChannelName> {
    channels.iter().map(|name| ChannelName::new(name).unwrap()).collect()
}

fn publication(channels: &[&str], key: Option<&str>) -> Publication {
    Publication {
        channels: names(channels).into(),
        event: Event { name: None, data: "x".into(), retry: None },
        ttl: None,
        key: key.map(Into::into),
        collapse: None,
    }
}

/// What a future comes to while Redis works and the workers count one stream for all that they are handed.
fn wait<T>(redis: &mut Redis, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..100 {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
        redis.settle();
        for link in &redis.nodes {
            taken(&link.hub);
        }
    }
    panic!("nothing comes of it");
}

/// Takes what is in the inbox of a node's worker, and counts it.
fn taken(hub: &Hub) -> Vec<String> {
    let mut batch = Vec::new();
    let _ = pin!(hub.inbox(0).take(&mut batch)).poll(&mut Context::from_waker(Waker::noop()));
    let said = batch.into_iter().map(|work| match work {
        Work::Deliver(delivery) => {
            let said = delivery.seq.to_string();
            delivery.counted(1);
            said
        }
        Work::Kick(kick) => {
            let said = format!("kick {}", kick.user);
            kick.counted(1);
            said
        }
        Work::Read(notice) => String::from_utf8(notice.frame.text().to_vec()).unwrap(),
        Work::Gap(notice) => format!("{} {}", notice.gap, notice.at.seq),
        Work::Look(look) => look.user.into(),
    });
    said.collect()
}

fn subscribe(redis: &mut Redis, node: usize, channels: &[&str]) -> Subscription {
    let hub = redis.nodes[node].hub.clone();
    let names = names(channels);
    let _held = wait(redis, hub.prepare(&names, None)).unwrap();
    taken(&hub);
    hub.subscribe(0, Some("7"), &names, Position::Now, redis.now).unwrap().0
}

fn publish(redis: &mut Redis, node: usize, of: Publication) -> Result<(u64, usize), NotKept> {
    let receipt = redis.nodes[node].hub.publish(of, redis.now).unwrap();
    wait(redis, async move { receipt.acknowledged().await.map(|(id, streams)| (id.seq, streams)) })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
fn a_publisher_is_told_of_the_streams_of_all_nodes() {
    let runtime = runtime();
    let _within = runtime.enter();
    let mut redis = redis(3);
    let _a = subscribe(&mut redis, 0, &["a"]);
    // Two channels, one stream, which its worker counts once.
    let _b = subscribe(&mut redis, 1, &["a", "b"]);
    assert_eq!(publish(&mut redis, 2, publication(&["a", "b"], None)), Ok((1, 2)));
    assert_eq!(publish(&mut redis, 0, publication(&["b"], None)), Ok((2, 1)));
    assert_eq!(publish(&mut redis, 0, publication(&["c"], None)), Ok((3, 0)));
    redis.nodes[0].hub.publish_all(vec![publication(&["b"], None); 2], redis.now).unwrap();
    redis.settle();
    assert_eq!(taken(&redis.nodes[1].hub), ["4", "5"]);
}

#[test]
fn a_key_is_one_for_all_nodes() {
    let runtime = runtime();
    let _within = runtime.enter();
    let mut redis = redis(2);
    let _a = subscribe(&mut redis, 0, &["a"]);
    let first = publish(&mut redis, 0, publication(&["a"], Some("k")));
    assert_eq!(first, Ok((1, 1)));
    assert_eq!(publish(&mut redis, 1, publication(&["a"], Some("k"))), first);
    let other = publish(&mut redis, 1, publication(&["b"], Some("k")));
    assert_eq!(other, Err(NotKept::KeyReused { index: 0 }));
    // The place is the publisher's, and the twin before it is not handed to Redis.
    let twin = publication(&["a"], Some("l"));
    let batch = vec![twin.clone(), twin, publication(&["b"], Some("k"))];
    let receipts = redis.nodes[0].hub.publish_all(batch, redis.now).unwrap();
    let told = wait(&mut redis, async move { receipts[1].acknowledged().await });
    assert_eq!(told.unwrap_err(), NotKept::KeyReused { index: 2 });
    assert_eq!(redis.given.len(), 1, "nothing of the batch was published");
}

#[test]
fn without_redis_publishers_are_refused_and_streams_stay() {
    let runtime = runtime();
    let _within = runtime.enter();
    let mut redis = redis(2);
    let _a = subscribe(&mut redis, 0, &["a"]);
    let hub = redis.nodes[0].hub.clone();
    let lost = hub.publish(publication(&["a"], None), redis.now).unwrap();
    redis.work(0);
    redis.cut(0, 0);
    redis.settle();
    assert!(!hub.is_well());
    let told = wait(&mut redis, async move { lost.acknowledged().await });
    assert_eq!(told.unwrap_err(), NotKept::Unknown, "it was kept, and nobody could say so");
    assert_eq!(hub.publish(publication(&["a"], None), redis.now).unwrap_err(), PublishError::NotKept);
    // A channel that is ready needs no Redis; one that is not, does.
    assert!(wait(&mut redis, hub.prepare(&names(&["a"]), None)).is_ok());
    let new = names(&["new"]);
    let mut new = pin!(hub.prepare(&new, None));
    assert!(new.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(publish(&mut redis, 1, publication(&["a"], None)), Ok((2, 0)));
    assert_eq!(taken(&hub), [""; 0]);
    redis.attach(0);
    redis.settle();
    assert_eq!(taken(&hub), ["1", "2"]);
    assert!(hub.is_well() && new.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn an_id_that_another_node_has_given_is_good_here() {
    let runtime = runtime();
    let _within = runtime.enter();
    let mut redis = redis(2);
    let _a = subscribe(&mut redis, 0, &["a"]);
    assert_eq!(publish(&mut redis, 1, publication(&["b"], None)), Ok((1, 0)));
    let hub = redis.nodes[0].hub.clone();
    for (seq, gap) in [(1, None), (2, Some(Gap::UnknownId))] {
        let id = EventId { epoch: hub.epoch(), seq }.to_string();
        let _held = wait(&mut redis, hub.prepare(&names(&["a"]), Some(&id))).unwrap();
        let opened = hub.subscribe(0, None, &names(&["a"]), Position::After(&id), redis.now);
        assert_eq!(opened.unwrap().1.gap, gap, "{seq}");
    }
}

#[test]
fn an_epoch_that_another_node_knows_first_is_waited_for() {
    let runtime = runtime();
    let _within = runtime.enter();
    let mut redis = redis(2);
    let _a = subscribe(&mut redis, 0, &["a"]);
    publish(&mut redis, 1, publication(&["a"], None)).unwrap();
    let hub = redis.nodes[0].hub.clone();
    let old = EventId { epoch: hub.epoch(), seq: 1 }.to_string();
    redis.go_back(true);
    redis.settle();
    redis.attach(1);
    redis.settle();
    assert_eq!(publish(&mut redis, 1, publication(&["a"], None)), Ok((1, 0)));
    let new = EventId { epoch: redis.nodes[1].hub.epoch(), seq: 1 }.to_string();
    let a = names(&["a"]);
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut opening = pin!(hub.prepare(&a, Some(&new)));
        assert!(opening.as_mut().poll(&mut context).is_pending(), "it may be older or newer");
        assert!(wait(&mut redis, hub.prepare(&a, Some(&old))).is_ok());
        redis.attach(0);
        redis.settle();
        assert!(opening.as_mut().poll(&mut context).is_ready());
    }
    for (id, gap) in [(&new, None), (&old, Some(Gap::NewEpoch))] {
        let _held = wait(&mut redis, hub.prepare(&a, Some(id))).unwrap();
        let opened = hub.subscribe(0, None, &a, Position::After(id), redis.now);
        assert_eq!(opened.unwrap().1.gap, gap, "{id}");
    }
}

#[test]
fn a_user_is_ended_and_kept_out_on_all_nodes() {
    let runtime = runtime();
    let _within = runtime.enter();
    let mut redis = redis(3);
    let _a = subscribe(&mut redis, 0, &["a"]);
    let _b = subscribe(&mut redis, 1, &["a"]);
    let hub = redis.nodes[2].hub.clone();
    let block = Some(Duration::from_secs(60));
    let ended = hub.disconnect("7", None, block, redis.now).unwrap();
    assert_eq!(wait(&mut redis, async move { ended.count().await }), Ok(2));
    assert!(redis.nodes.iter().all(|link| link.hub.is_blocked("7", redis.now)));
    redis.cut(2, 0);
    redis.settle();
    assert_eq!(hub.disconnect("7", None, None, redis.now).unwrap_err(), super::super::DisconnectError::Away);
}

#[test]
fn what_is_read_on_one_node_is_read_on_all() {
    let runtime = runtime();
    let _within = runtime.enter();
    let mut redis = redis(3);
    let now = redis.now;
    let _a = subscribe(&mut redis, 0, &["user:7"]);
    for _ in 0..3 {
        publish(&mut redis, 1, publication(&["user:7"], None)).unwrap();
    }
    let hubs: Vec<_> = redis.nodes.iter().map(|link| link.hub.clone()).collect();
    let id = |seq| EventId { epoch: hubs[0].epoch(), seq };
    // Of a node without the user.
    let left = wait(&mut redis, hubs[2].mark_read("7", &Read::Events(vec![id(2), id(9)]), now)).unwrap();
    assert_eq!(left, 2);
    let unread = |redis: &mut Redis, node: usize| {
        let Unread { count, records, .. } =
            wait(redis, hubs[node].unread("7", None, (10, 1000), now)).unwrap();
        (count, records.iter().map(|record| record.seq).collect::<Vec<_>>())
    };
    for node in 0..3 {
        assert_eq!(unread(&mut redis, node), (2, vec![1, 3]));
    }
    let told = |hub: &Hub| taken(hub).concat();
    hubs[0].mark_delivered(std::iter::once((&names(&["user:7"])[0], 1)), now);
    redis.settle();
    assert_eq!(told(&hubs[0]), "", "of what was written nobody is told");
    assert_eq!(unread(&mut redis, 1), (1, vec![3]));
    let upto = Read::UpTo(id(3));
    let mut marking = pin!(hubs[1].mark_read("7", &upto, now));
    assert!(marking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    redis.settle();
    let said = told(&hubs[0]);
    assert!(
        said.contains(&format!("\"read\":[\"{}\"],\"read_up_to\":\"{}\",\"unread\":0", id(3), id(3))),
        "{said}"
    );
    redis.cut(1, 0);
    redis.settle();
    publish(&mut redis, 0, publication(&["user:7"], None)).unwrap();
    let wish = Read::UpTo(id(4));
    let refused = wait(&mut redis, hubs[1].mark_read("7", &wish, now));
    assert!(matches!(refused, Ok(0) | Err(MarkError::NotKept)), "{refused:?}");
}

#[test]
fn what_was_not_told_is_found_out() {
    let runtime = runtime();
    let _within = runtime.enter();
    let mut redis = redis(1);
    let _a = subscribe(&mut redis, 0, &["a"]);
    let hub = redis.nodes[0].hub.clone();
    let told = |seq, before| {
        let id = EventId { epoch: hub.epoch(), seq };
        let frame = Event { name: None, data: "x".into(), retry: None }.frame(id);
        let record = Record { seq, frame, at: redis.now, expires: None, collapse: None };
        let (channel, channels) = (names(&["a"]).remove(0), names(&["a"]).into());
        News::Event(Told { record, channel, before, channels, by: (NodeId(99), Ticket(1), 0) })
    };
    hub.hear([told(1, 0), told(4, 1), told(6, 5)], redis.now);
    assert_eq!(taken(&hub), ["1", "4", "expired 5", "6"]);
}

fn alone(bytes: usize) -> (Hub, mpsc::UnboundedReceiver<Order>) {
    let age = Duration::from_secs(3600);
    let limits = Limits { age, events: 100, bytes, max_bytes: bytes, max_channels: 100 };
    Hub::on_redis(1, limits, NodeId(1), false)
}

fn attached(head: u64) -> News {
    News::Attached { epoch: Epoch::from_bits(7), head, holes: Vec::new(), blocks: Vec::new() }
}

/// Polls a future once, and gives it up.
fn begun<T>(future: impl Future<Output = T>) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn a_closed_hub_gives_no_orders_whatever_is_still_counted() {
    let runtime = runtime();
    let _within = runtime.enter();
    let now = Timestamp::now();
    let (hub, mut orders) = alone(1 << 20);
    hub.hear([attached(0)], now);
    let receipt = hub.publish(publication(&["a"], Some("k")), now).unwrap();
    let Ok(Order::Publish { ticket, .. }) = orders.try_recv() else { panic!() };
    let outcome = Ok(vec![Stored::New { seq: 1, copies: 2 }]);
    hub.hear([News::Published { ticket, outcome }], now);
    hub.disconnect("7", None, None, now).unwrap();
    hub.close();
    while orders.try_recv().is_ok() {}
    assert_eq!(orders.try_recv().unwrap_err(), mpsc::error::TryRecvError::Disconnected);
    drop(receipt);
}

/// What a client that comes back with no event at all is given of a channel that was asked for before Redis was there: its
/// first event, and whether it is told of a gap. `head` is the newest when Redis was there.
fn given_of_much(head: u64) -> (Option<u64>, bool) {
    const EVENTS: u64 = 70;
    let now = Timestamp::now();
    let (hub, _orders) = alone(1 << 28);
    let a = names(&["a"]);
    begun(hub.prepare(&a, None));
    hub.hear([attached(head)], now);
    let data = vec![b'x'; 1 << 20];
    let record = |seq| Record { seq, frame: Frame::new(&data), at: now, expires: None, collapse: None };
    let records = (1..=EVENTS).map(record).collect();
    let channel = a[0].clone();
    hub.hear([News::Loaded { channel, head: EVENTS, records, lost: 0, last: EVENTS, mark: None }], now);
    hub.hear([News::Passed { head: EVENTS }], now);
    let id = EventId { epoch: hub.epoch(), seq: 0 }.to_string();
    let (subscription, start) = hub.subscribe(0, None, &a, Position::After(&id), now).unwrap();
    let page = subscription.page(start.cursor, start.head, now).unwrap();
    (page.records.first().map(|first| first.seq), page.gap)
}

#[test]
fn too_much_to_be_gathered_is_no_silent_gap() {
    let runtime = runtime();
    let _within = runtime.enter();
    assert_eq!(given_of_much(0), (None, true));
    // History that no stream is to be told of need not be gathered.
    assert_eq!(given_of_much(70), (Some(1), false));
}

#[test]
fn those_who_gave_up_do_not_pile_up() {
    let runtime = runtime();
    let _within = runtime.enter();
    let (hub, _orders) = alone(1 << 20);
    let (a, b) = (names(&["a"]), names(&["b"]));
    for _ in 0..1000 {
        begun(hub.prepare(&a, None));
    }
    hub.hear([attached(0)], Timestamp::now());
    let forged = EventId { epoch: hub.epoch(), seq: 1000 }.to_string();
    begun(hub.prepare(&b, None));
    let channel = b[0].clone();
    let records = Vec::new();
    hub.hear([News::Loaded { channel, head: 0, records, lost: 0, last: 0, mark: None }], Timestamp::now());
    hub.lock().node.as_mut().unwrap().follows.get_mut(&b[0]).unwrap().is_ready();
    for _ in 0..1000 {
        begun(hub.prepare(&b, Some(&forged)));
    }
    let state = hub.lock();
    let node = state.node.as_ref().unwrap();
    assert!(node.follows[&a[0]].waiting.len() < 10 && (1..10).contains(&node.passing.len()));
}

#[test]
fn a_worker_far_behind_makes_the_node_wait() {
    let runtime = runtime();
    let _within = runtime.enter();
    let mut redis = redis(1);
    let _a = subscribe(&mut redis, 0, &["a"]);
    let hub = redis.nodes[0].hub.clone();
    let kicks = |count: usize| {
        let by = (NodeId(99), Ticket(1));
        (0..count).map(move |_| News::Kick { user: "8".into(), event: None, until: None, by })
    };
    hub.hear(kicks(INBOX_LIMIT), redis.now);
    assert!(hub.keeps_up());
    hub.hear(kicks(1), redis.now);
    assert!(!hub.keeps_up());
    taken(&hub);
    assert!(hub.keeps_up());
}

#[test]
fn a_batch_that_would_hold_redis_up_is_refused() {
    let runtime = runtime();
    let _within = runtime.enter();
    let redis = redis(1);
    let hub = redis.nodes[0].hub.clone();
    let channels: Vec<_> = (0..1000).map(|number| format!("c{number}")).collect();
    let channels: Vec<_> = channels.iter().map(String::as_str).collect();
    let batch = |count| vec![publication(&channels, None); count];
    assert_eq!(hub.publish_all(batch(66), redis.now).unwrap_err(), PublishError::TooLarge);
    assert!(hub.publish_all(batch(65), redis.now).is_ok());
}
