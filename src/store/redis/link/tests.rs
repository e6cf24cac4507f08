//! What a node does without a Redis. With one: tests/apps/test_redis_nodes.py and test_redis_faults.py.

use std::path::PathBuf;

use super::*;
use crate::config::{RedisPlace, RedisServer};
use crate::event::{ChannelName, Event, Frame, Timestamp};
use crate::store::Record;
use crate::store::redis::channels::Fate;
use crate::store::redis::codec::Piece;
use crate::store::redis::{Entry, Ticket, Told};

/// A link to where no Redis is, which does not run.
fn idle(retry_for: Duration) -> (Link, mpsc::UnboundedSender<Order>, Receiver<News>) {
    let redis = Redis {
        server: RedisServer {
            place: RedisPlace::Unix(PathBuf::from("/nonexistent/redis.sock")),
            database: 0,
            username: None,
            password: None,
            ca: None,
        },
        prefix: "p:".to_owned(),
        retry_for,
    };
    let limits =
        Limits { age: Duration::from_secs(60), events: 10, bytes: 1000, max_bytes: 1000, max_channels: 10 };
    let (orders, given) = mpsc::unbounded_channel();
    let (link, news) = Link::new(&redis, &limits, NodeId(1), given).unwrap();
    (link, orders, news)
}

/// The same, running.
fn link(retry_for: Duration) -> (mpsc::UnboundedSender<Order>, Receiver<News>) {
    let (link, orders, news) = idle(retry_for);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(link.run());
    });
    (orders, news)
}

fn told<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(what)
}

fn publication(ticket: u64) -> Order {
    let event = Event { name: None, data: "x".into(), retry: None };
    let channels = [ChannelName::new("a").unwrap()].into_iter().collect();
    let entry = Entry { channels, event, ttl_ms: None, collapse: None, key: None };
    Order::Publish { ticket: Ticket(ticket), batch: vec![entry] }
}

fn refused(news: Option<News>) -> Option<Ticket> {
    match news {
        Some(News::Published { ticket, outcome: Err(NotStored::Away) }) => Some(ticket),
        Some(News::Ordered { ticket, outcome: Err(NotStored::Away) }) => Some(ticket),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_redis_publications_and_kicks_are_refused_at_once() {
    let (orders, mut news) = link(Duration::ZERO);
    for ticket in 1..=3 {
        orders.send(publication(ticket)).unwrap();
        assert_eq!(refused(told(news.recv())), Some(Ticket(ticket)));
    }
    let kick = Order::Kick { ticket: Ticket(4), user: "42".into(), event: None, block_ms: None };
    orders.send(kick).unwrap();
    assert_eq!(refused(told(news.recv())), Some(Ticket(4)));
    drop(orders);
    assert!(told(news.recv()).is_none(), "the link ends with those who give it orders");
}

#[test]
fn a_publication_that_may_wait_is_refused_when_its_time_is_over() {
    let wait = Duration::from_millis(80);
    let (orders, mut news) = link(wait);
    let began = std::time::Instant::now();
    orders.send(publication(1)).unwrap();
    assert_eq!(refused(told(news.recv())), Some(Ticket(1)));
    assert!(began.elapsed() >= wait);
}

#[test]
fn pauses_grow_to_a_bound_and_differ() {
    let mut pause = Duration::ZERO;
    let pauses: Vec<_> = (0..12).map(|_| (pause = longer(pause), pause).1).collect();
    assert!(pauses[0] >= PAUSES.0 / 2 && pauses[0] <= PAUSES.0);
    assert!(pauses.iter().all(|pause| *pause <= PAUSES.1));
    assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn what_the_hub_had_no_room_for_is_loaded_again() {
    let (mut link, _orders, news) = idle(Duration::ZERO);
    let shared = &mut link.shared;
    let [a, b] = ["a", "b"].map(|name| ChannelName::new(name).unwrap());
    let record =
        |seq| Record { seq, frame: Frame::new(b""), at: Timestamp(0), expires: None, collapse: None };
    let load = |shared: &mut Shared, head, seqs: &[u64]| {
        let mut loads = shared.channels.take_loads();
        loads.sort_by(|(one, _), (other, _)| one.channel.cmp(&other.channel));
        let (asked, since): (Vec<_>, Vec<_>) = loads.into_iter().unzip();
        let pieces = asked.iter().map(|_| Piece {
            is_last: true,
            lost: 0,
            last: 0,
            records: seqs.iter().map(|seq| record(*seq)).collect(),
            mark: None,
        });
        let (pieces, mut told) = (pieces.collect(), Vec::new());
        shared.channels.loaded(asked, head, pieces, &mut told, &mut Vec::new());
        told.into_iter().for_each(|news| shared.tell(news));
        since
    };
    shared.channels.follow(a.clone());
    shared.channels.follow(b);
    assert_eq!(load(shared, 5, &[4, 5]), [0, 0]);
    while !shared.is_behind {
        shared.tell(News::Passed { head: 5 });
    }
    for seq in [7, 9] {
        let channels = [a.clone()].into_iter().collect();
        let by = (NodeId(1), Ticket(1), 0);
        let told = Told { record: record(seq), channel: a.clone(), before: 0, channels, by };
        let Fate::Told(told) = shared.channels.heard(told) else { panic!() };
        shared.tell(News::Event(told));
    }
    shared.channels.begin(false);
    // And now there is no room for what was loaded.
    assert_eq!(load(shared, 10, &[7, 9]), [6, 5]);
    shared.channels.begin(false);
    assert_eq!(load(shared, 10, &[7, 9]), [6, 6]);
    drop(news);
}
