//! The hub's rules, tried without any socket.

mod disk;

use std::time::Duration;

use super::*;
use crate::event::Event;
use crate::store::Limits;

const NOW: Timestamp = Timestamp(1_000_000);

fn hub(workers: usize) -> Hub {
    let limits = Limits {
        age: Duration::from_secs(60),
        events: 10,
        bytes: 1 << 20,
        max_bytes: 1 << 20,
        max_channels: 100,
    };
    Hub::new(workers, Memory::new(limits), Epoch::from_bits(1))
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

fn subscribe(hub: &Hub, worker: usize, channels: &[&str], from: Position<'_>) -> Subscription {
    hub.subscribe(worker, None, &names(channels), from, NOW).unwrap().0
}

async fn taken(hub: &Hub, worker: usize) -> Vec<Delivery> {
    let mut batch = Vec::new();
    hub.inbox(worker).take(&mut batch).await;
    let delivery = |work| match work {
        Work::Deliver(delivery) => delivery,
        other => panic!("{other:?}"),
    };
    batch.into_iter().map(delivery).collect()
}

#[tokio::test]
async fn an_event_goes_to_the_workers_that_have_subscribers() {
    let hub = hub(3);
    let a = subscribe(&hub, 0, &["a"], Position::Now);
    let _b = subscribe(&hub, 2, &["a", "b"], Position::Now);
    let receipt = hub.publish(publication(&["a"]), NOW).unwrap();
    assert_eq!((receipt.id().unwrap().seq, receipt.delivered().await), (1, Ok(2)));
    let deliveries = taken(&hub, 0).await;
    assert_eq!(deliveries[0].channels[..], a.channels().collect::<Vec<_>>()[..]);
    assert_eq!(taken(&hub, 2).await.len(), 1);
    assert_eq!(hub.inbox(1).len(), 0);
    drop(a);
    assert_eq!(hub.publish(publication(&["a"]), NOW).unwrap().delivered().await, Ok(1));
    assert_eq!(
        hub.channel(&names(&["a"])[0]).unwrap(),
        ChannelInfo { streams: 1, events: 2, last_id: Some(EventId { epoch: hub.epoch(), seq: 2 }) }
    );
    assert_eq!(hub.channel(&names(&["c"])[0]), None);
}

#[tokio::test]
async fn overlapping_channels_are_counted_by_the_workers() {
    let hub = hub(2);
    let _one = subscribe(&hub, 0, &["a", "b"], Position::Now);
    let _two = subscribe(&hub, 1, &["b"], Position::Now);
    let receipt = hub.publish(publication(&["a", "b"]), NOW).unwrap();
    let (count, ()) = tokio::join!(receipt.delivered(), async {
        for worker in [0, 1] {
            for delivery in taken(&hub, worker).await {
                assert_eq!(delivery.channels.len(), 2 - worker);
                delivery.counted(1);
            }
        }
    });
    assert_eq!(count, Ok(2));
    // A worker that ends without counting does not keep the publisher waiting.
    let receipt = hub.publish(publication(&["a", "b"]), NOW).unwrap();
    drop((taken(&hub, 0).await, taken(&hub, 1).await));
    assert_eq!(receipt.delivered().await, Ok(0));
}

#[test]
fn a_subscriber_starts_where_it_left_or_is_told() {
    let hub = hub(1);
    for _ in 0..3 {
        hub.publish(publication(&["a"]), NOW).unwrap();
    }
    let epoch = hub.epoch();
    let other = Epoch::from_bits(2);
    for (said, cursor, replay, gap) in [
        (format!("{epoch}-1"), 1, vec![2, 3], None),
        (format!("{epoch}-3"), 3, vec![], None),
        (format!("{epoch}-4"), 3, vec![], Some(Gap::UnknownId)),
        (format!("{other}-1"), 3, vec![], Some(Gap::NewEpoch)),
        ("1642678901234".to_owned(), 3, vec![], Some(Gap::UnknownId)),
    ] {
        let (subscription, start) = resume(&hub, &said);
        let page = subscription.page(start.cursor, start.head, NOW).unwrap();
        let seqs: Vec<u64> = page.records.iter().map(|record| record.seq).collect();
        assert_eq!((start.cursor.seq, seqs, start.gap), (cursor, replay, gap), "{said}");
        assert_eq!((start.resumed, start.head, page.read, page.gap), (gap.is_none(), 3, 3, false), "{said}");
    }
    for _ in 0..10 {
        hub.publish(publication(&["a"]), NOW).unwrap();
    }
    let (late, start) = resume(&hub, &format!("{epoch}-2"));
    assert!(start.resumed && late.page(start.cursor, start.head, NOW).unwrap().gap);
    let start = start.behind(Gap::Expired);
    assert_eq!((start.cursor.seq, start.resumed, start.gap), (13, false, Some(Gap::Expired)));
    // What is published after it was registered is not read: that comes to the inbox.
    let (live, start) = resume(&hub, &format!("{epoch}-12"));
    hub.publish(publication(&["a"]), NOW).unwrap();
    assert_eq!(live.page(start.cursor, start.head, NOW).unwrap().records.len(), 1);
}

fn resume(hub: &Hub, last: &str) -> (Subscription, Start) {
    hub.subscribe(0, None, &names(&["a"]), Position::After(last), NOW).unwrap()
}

#[tokio::test]
async fn a_key_makes_a_publication_idempotent() {
    let hub = hub(1);
    let _stream = subscribe(&hub, 0, &["a"], Position::Now);
    let keyed = Publication { key: Some("k".into()), ..publication(&["a"]) };
    let first = hub.publish(keyed.clone(), NOW).unwrap();
    let again = hub.publish(keyed.clone(), NOW).unwrap();
    assert_eq!((again.id().unwrap(), again.delivered().await), (first.id().unwrap(), Ok(1)));
    assert_eq!(taken(&hub, 0).await.len(), 1);
    let other = Publication { key: Some("k".into()), ..publication(&["b"]) };
    assert_eq!(hub.publish(other.clone(), NOW).unwrap_err(), PublishError::KeyReused { index: 0 });
    let later = NOW.after(Duration::from_secs(300));
    assert_eq!(hub.publish(other, later).unwrap().id().unwrap().seq, 2);
}

#[tokio::test]
async fn a_key_that_stands_twice_in_a_batch_is_one_publication() {
    let hub = hub(1);
    let _stream = subscribe(&hub, 0, &["a"], Position::Now);
    let keyed = Publication { key: Some("k".into()), ..publication(&["a"]) };
    let receipts = hub.publish_all(vec![keyed.clone(), publication(&["a"]), keyed.clone()], NOW).unwrap();
    assert_eq!(receipts.iter().map(|receipt| receipt.id().unwrap().seq).collect::<Vec<_>>(), [1, 2, 1]);
    assert_eq!(receipts[2].delivered().await, Ok(1));
    assert_eq!(taken(&hub, 0).await.len(), 2);
    // For two publications it is no key at all.
    let other = Publication { key: Some("new".into()), ..publication(&["b"]) };
    let clash = Publication { key: Some("new".into()), ..publication(&["a"]) };
    let batch = vec![keyed, other, clash];
    assert_eq!(hub.publish_all(batch, NOW).unwrap_err(), PublishError::KeyReused { index: 2 });
    assert_eq!(hub.keys().remembered, 1);
}

#[test]
fn a_batch_that_has_no_room_for_its_keys_is_not_published() {
    let hub = hub(1).with_keys(Duration::from_secs(60), 2);
    let keyed = |key: &str| Publication { key: Some(key.into()), ..publication(&["a"]) };
    hub.publish(keyed("1"), NOW).unwrap();
    let later = NOW.after(Duration::from_secs(20));
    let refused = PublishError::TooManyKeys { wait: Duration::from_secs(40) };
    assert_eq!(hub.publish_all(vec![keyed("1"), keyed("2"), keyed("3")], later).unwrap_err(), refused);
    assert_eq!(hub.channel(&names(&["a"])[0]).unwrap().events, 1);
    // One that is known, one that is new twice, and one without fit.
    let batch = vec![keyed("1"), keyed("2"), keyed("2"), publication(&["a"])];
    assert_eq!(hub.publish_all(batch, later).unwrap().len(), 4);
    assert_eq!(hub.publish(keyed("3"), later).unwrap_err(), refused);
    assert_eq!(hub.publish(keyed("3"), later.after(Duration::from_secs(40))).unwrap().id().unwrap().seq, 4);
    assert_eq!(hub.keys(), KeyCounts { remembered: 2, refused: 3 });
}

#[test]
fn who_can_hand_in_the_same_for_longer_is_remembered_for_longer() {
    let hub = hub(1);
    let keyed = || vec![Publication { key: Some("k".into()), ..publication(&["a"]) }];
    let after = |seconds| NOW.after(Duration::from_secs(seconds));
    let publish = |now, until| hub.publish_remembered(keyed(), now, until).unwrap()[0].id().unwrap().seq;
    assert_eq!(publish(NOW, after(600)), 1);
    // Signed anew, and so good for longer.
    assert_eq!(publish(after(500), after(900)), 1);
    hub.sweep(after(899));
    assert_eq!(publish(after(899), after(900)), 1);
    assert_eq!(publish(after(900), after(900)), 2);
}

#[tokio::test]
async fn a_batch_is_published_whole_or_not_at_all() {
    let hub = hub(1);
    let keyed = Publication { key: Some("k".into()), ..publication(&["a"]) };
    hub.publish(keyed, NOW).unwrap();
    let clash = Publication { key: Some("k".into()), ..publication(&["b"]) };
    assert_eq!(
        hub.publish_all(vec![publication(&["a"]), clash], NOW).unwrap_err(),
        PublishError::KeyReused { index: 1 }
    );
    assert_eq!(hub.channel(&names(&["a"])[0]).unwrap().events, 1);
    let ids: Vec<u64> = hub
        .publish_all(vec![publication(&["a"]), publication(&["b"])], NOW)
        .unwrap()
        .iter()
        .map(|receipt| receipt.id().unwrap().seq)
        .collect();
    assert_eq!(ids, [2, 3]);
}

#[tokio::test]
async fn a_full_inbox_refuses_instead_of_losing() {
    let hub = hub(1);
    let _stream = subscribe(&hub, 0, &["a"], Position::Now);
    for _ in 0..INBOX_LIMIT {
        hub.publish(publication(&["a"]), NOW).unwrap();
    }
    assert_eq!(hub.publish(publication(&["a"]), NOW).unwrap_err(), PublishError::Overloaded);
    assert_eq!(taken(&hub, 0).await.len(), INBOX_LIMIT);
    assert!(hub.publish(publication(&["a"]), NOW).is_ok());
}

#[tokio::test]
async fn a_kick_goes_to_the_workers_that_have_streams_and_is_counted() {
    let hub = hub(3);
    let of = |worker, user| hub.subscribe(worker, Some(user), &names(&["a"]), Position::Now, NOW).unwrap().0;
    let _streams = [of(0, "42"), of(2, "42"), of(2, "43")];
    hub.publish(publication(&["a"]), NOW).unwrap();
    let ended = hub.disconnect("42", None, None, NOW).unwrap();
    assert_eq!(hub.inbox(1).len(), 0);
    for (worker, streams) in [(0, 1), (2, 1)] {
        let mut batch = Vec::new();
        hub.inbox(worker).take(&mut batch).await;
        // Behind what was published before it.
        let [Work::Deliver(_), Work::Kick(_)] = &batch[..] else { panic!("{batch:?}") };
        let Some(Work::Kick(kick)) = batch.pop() else { return };
        assert_eq!((&*kick.user, kick.blocked), ("42", false));
        kick.counted(streams);
    }
    assert_eq!(ended.count().await, Ok(2));
    // Nobody has any streams: nothing to wait for.
    drop(_streams);
    assert_eq!(hub.disconnect("42", None, None, NOW).unwrap().count().await, Ok(0));
}

#[test]
fn a_blocked_user_is_not_registered() {
    let hub = hub(1);
    let minute = Duration::from_secs(60);
    let open = |user, now| hub.subscribe(0, user, &names(&["a"]), Position::Now, now).map(drop);
    hub.disconnect("42", None, Some(minute), NOW).unwrap();
    assert!(hub.is_blocked("42", NOW) && !hub.is_blocked("43", NOW));
    assert_eq!(open(Some("42"), NOW), Err(Blocked));
    assert_eq!((open(Some("43"), NOW), open(None, NOW)), (Ok(()), Ok(())));
    // Ending the streams again lifts nothing.
    hub.disconnect("42", None, None, NOW).unwrap();
    assert_eq!(open(Some("42"), NOW), Err(Blocked));
    assert_eq!(open(Some("42"), NOW.after(minute)), Ok(()));
}
