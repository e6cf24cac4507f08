//! What a node does without a Redis. With one: tests/apps/test_redis_link.py.

use std::path::PathBuf;

use super::*;
use crate::config::RedisPlace;
use crate::event::{ChannelName, Event};
use crate::store::redis::{Entry, Ticket};

/// A link to where no Redis is.
fn link(retry_for: Duration) -> (mpsc::UnboundedSender<Order>, mpsc::Receiver<News>) {
    let redis = Redis {
        place: RedisPlace::Unix(PathBuf::from("/nonexistent/redis.sock")),
        database: 0,
        username: None,
        password: None,
        ca: None,
        prefix: "p:".to_owned(),
        retry_for,
    };
    let limits =
        Limits { age: Duration::from_secs(60), events: 10, bytes: 1000, max_bytes: 1000, max_channels: 10 };
    let (orders, given) = mpsc::unbounded_channel();
    let (link, news) = Link::new(&redis, &limits, NodeId(1), given).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(link.run());
    });
    (orders, news)
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
        assert_eq!(refused(news.blocking_recv()), Some(Ticket(ticket)));
    }
    let kick = Order::Kick { ticket: Ticket(4), user: "42".into(), event: None, block_ms: None };
    orders.send(kick).unwrap();
    assert_eq!(refused(news.blocking_recv()), Some(Ticket(4)));
    drop(orders);
    assert!(news.blocking_recv().is_none(), "the link ends with those who give it orders");
}

#[test]
fn a_publication_that_may_wait_is_refused_when_its_time_is_over() {
    let wait = Duration::from_millis(80);
    let (orders, mut news) = link(wait);
    let began = std::time::Instant::now();
    orders.send(publication(1)).unwrap();
    assert_eq!(refused(news.blocking_recv()), Some(Ticket(1)));
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
