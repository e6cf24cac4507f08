//! What is known of events where black-box tests do not come: before the disk has them, for many, and on a node of many.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::event::{Epoch, Event};
use crate::hub::Publication;
use crate::hub::made_up::Redis;
use crate::store::{Disk, Limits, Memory, SyncMode};

const LIMITS: Limits =
    Limits { age: Duration::from_secs(60), events: 9, bytes: 9999, max_bytes: 99_999, max_channels: 99 };

const NOW: Timestamp = Timestamp(1_000_000);

fn own(user: u32) -> ChannelName {
    ChannelName::of_user(&user.to_string()).unwrap()
}

fn publication(channels: impl IntoIterator<Item = ChannelName>) -> Publication {
    let event = Event { name: None, data: "x".into(), retry: None };
    Publication { channels: channels.into_iter().collect(), event, ttl: None, key: None, collapse: None }
}

async fn trace(hub: &Hub, seq: u64, user: u32) -> Trace {
    let id = EventId { epoch: hub.epoch(), seq };
    hub.trace(id, &user.to_string(), &[], NOW).await.unwrap()
}

#[tokio::test]
async fn of_many_channels_the_users_own_is_found_all_the_same() {
    let hub = Hub::new(1, Memory::new(LIMITS), Epoch::from_bits(1));
    hub.publish(publication((1..=50).map(own)), NOW).unwrap();
    let named = trace(&hub, 1, 3).await;
    assert_eq!((named.standing, named.channels.len(), named.unnamed), (Standing::Kept, 8, 42));
    let unnamed = trace(&hub, 1, 44).await;
    assert_eq!((unnamed.standing, unnamed.unnamed, unnamed.unread), (Standing::Kept, 41, Some(true)));
    assert!(unnamed.channels.contains(&own(44)) && !unnamed.knows_channels);
    let of_others = trace(&hub, 1, 99).await;
    assert!(!of_others.channels.contains(&own(99)) && !of_others.knows_channels);
    assert_eq!((of_others.standing, of_others.unread), (Standing::Kept, None));
}

#[tokio::test]
async fn an_id_stands_for_nothing_until_the_disk_has_it_or_if_it_never_does() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Disk::open(folder.path(), LIMITS, SyncMode::Always, Epoch::from_bits(1), NOW).unwrap();
    let (hub, committer) = Hub::on_disk(1, open(), SyncMode::Always);
    let receipts = [1, 2].map(|user| hub.publish(publication([own(user)]), NOW).unwrap());
    assert_eq!(trace(&hub, 2, 2).await.standing, Standing::Writing);
    let newest = EventId { epoch: hub.epoch(), seq: 0 };
    assert_eq!(trace(&hub, 3, 2).await.standing, Standing::Later { newest });
    let running = std::thread::spawn(move || committer.run());
    for receipt in receipts {
        receipt.acknowledged().await.unwrap();
    }
    assert_eq!(trace(&hub, 2, 2).await.standing, Standing::Kept);
    hub.close();
    running.join().unwrap();
    drop(hub);

    // Of before this process only the store knows, and it knows of channels that are asked for.
    let (hub, _committer) = Hub::on_disk(1, open(), SyncMode::Always);
    let found = trace(&hub, 2, 2).await;
    assert_eq!((found.standing, found.is_ours, found.at), (Standing::Kept, false, Some(NOW)));
    assert_eq!(trace(&hub, 2, 1).await.standing, Standing::Unknown);
    // An id that was given to what the store could not keep is that of no event.
    let _receipt = hub.publish(publication([own(1)]), NOW).unwrap();
    hub.stop_keeping();
    assert_eq!(trace(&hub, 3, 1).await.standing, Standing::NeverKept);
}

#[test]
fn a_node_knows_what_it_has_heard_of_and_what_redis_has_of_the_user() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _within = runtime.enter();
    let mut redis = Redis::new(2, 1, &LIMITS);
    (0..2).for_each(|node| redis.attach(node));
    redis.settle();
    let now = redis.now;
    for user in [1, 2] {
        let _receipt = redis.nodes[0].hub.publish(publication([own(user)]), now).unwrap();
        redis.settle();
    }
    let hub = redis.nodes[1].hub.clone();
    let mut ask = |seq: u64, user: u32| {
        let id = EventId { epoch: hub.epoch(), seq };
        let user = user.to_string();
        let mut tracing = pin!(hub.trace(id, &user, &[], now));
        for _ in 0..100 {
            if let Poll::Ready(trace) = tracing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return trace.unwrap();
            }
            redis.settle();
        }
        panic!("nothing comes of it");
    };
    let found = ask(1, 1);
    assert_eq!((found.standing, found.unread), (Standing::Kept, Some(true)));
    // For somebody else, and this node does not follow them.
    assert_eq!(ask(2, 1).standing, Standing::Unknown);
    assert!(matches!(ask(3, 1).standing, Standing::Later { .. }));
}
