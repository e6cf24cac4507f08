//! A model of what subscribers must get, against the hub, the store and the streams as they are: only the sockets are
//! missing. Whatever is published, read slowly, cut off, resumed or forgotten, and in whatever order the tasks of the
//! worker get their turns: everybody gets the events of their channels past their id, in order and once, or a reset
//! stands where history had gone.

mod disk;
mod nodes;
mod unread;
mod world;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::event::Event;
use crate::hub::Publication;
use crate::store::PAGE_EVENTS;

use world::{CHANNELS, CLIENTS, From, Old, Said, Store, World, names};

#[derive(Debug, Clone)]
enum Step {
    /// To channels, by bits; so many of them; and how old they are.
    Publish(u8, usize, Old),
    /// By a client, to channels, from an id.
    Open(usize, u8, From),
    Deliver,
    CatchUp,
    /// By a client, so many pieces.
    Read(usize, usize),
    Evict(usize),
    Leave(usize),
    /// All of history goes.
    Expire,
    /// The process ends and begins again: in memory with a new epoch, on disk with all there was.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let channels = 1..1u8 << CHANNELS;
    let old = prop_oneof![40 => Just(Old::New), 2 => Just(Old::Over), 1 => Just(Old::Ancient)];
    let from = prop_oneof![
        1 => Just(From::Now),
        4 => Just(From::There),
        4 => any::<u8>().prop_map(From::Id),
        1 => Just(From::Nonsense),
    ];
    prop_oneof![
        6 => (channels.clone(), 1..90usize, old).prop_map(|(to, count, old)| Step::Publish(to, count, old)),
        5 => (0..CLIENTS, channels, from).prop_map(|(client, to, from)| Step::Open(client, to, from)),
        4 => Just(Step::Deliver),
        6 => Just(Step::CatchUp),
        8 => (0..CLIENTS, 1..100usize).prop_map(|(client, pieces)| Step::Read(client, pieces)),
        1 => (0..CLIENTS).prop_map(Step::Evict),
        1 => (0..CLIENTS).prop_map(Step::Leave),
        1 => Just(Step::Expire),
        1 => Just(Step::Restart),
    ]
}

fn turn(task: Pin<&mut impl Future<Output = ()>>) {
    assert!(task.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn everybody_gets_everything(store: Store, steps: Vec<Step>) -> World {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _within = runtime.enter();
    let mut world = World::new(store);
    let lives: Vec<_> = steps.split(|step| matches!(step, Step::Restart)).collect();
    for (life, steps) in lives.iter().enumerate() {
        live(&mut world, steps, life + 1 == lives.len());
        if life + 1 < lives.len() {
            world.restart();
        }
    }
    world
}

/// What happens between two restarts. Those who are there after the last get time to read everything.
fn live(world: &mut World, steps: &[Step], is_last: bool) {
    let streams = world.streams.clone();
    let mut delivering = std::pin::pin!(streams.deliver());
    let mut catching_up = std::pin::pin!(streams.keep_catching_up());
    for step in steps {
        match step {
            Step::Publish(channels, count, old) => {
                // Most are new: a burst that is old would be no burst.
                let count = if *old == Old::New { *count } else { 1 };
                world.publish_many(*channels, count, *old);
            }
            Step::Open(client, channels, from) => world.open(*client, *channels, from),
            Step::Deliver => turn(delivering.as_mut()),
            Step::CatchUp => turn(catching_up.as_mut()),
            Step::Read(client, pieces) => _ = world.read(*client, *pieces),
            Step::Evict(client) => {
                if let Some(session) = &mut world.sessions[*client] {
                    streams.end(&session.body.subscriber, End::Evicted);
                    world.check(*client);
                }
            }
            Step::Leave(client) => world.check(*client),
            Step::Expire => world.expire(),
            Step::Restart => unreachable!("no life goes on over it"),
        }
    }
    if !is_last {
        return;
    }
    loop {
        // More turns than all that was published can take.
        (0..500).for_each(|_| turn(delivering.as_mut()));
        (0..50).for_each(|_| turn(catching_up.as_mut()));
        let reads: Vec<_> = (0..CLIENTS).map(|client| world.read(client, PAGE_EVENTS)).collect();
        if !reads.contains(&true) {
            break;
        }
    }
    for session in world.sessions.iter().flatten() {
        let is_open = streams.all().iter().any(|open| Rc::ptr_eq(open, &session.body.subscriber));
        world.check_said(session, is_open);
    }
}

#[test]
fn a_stream_is_live_once_it_has_read_what_was_handed_out() {
    let world = everybody_gets_everything(
        Store::Memory,
        vec![
            Step::Publish(1, 140, Old::New),
            // All of it is history, two pages and a bit.
            Step::Open(0, 1, From::Id(0)),
            // Not handed out yet, so it is none.
            Step::Publish(3, 5, Old::New),
            Step::Open(1, 2, From::Now),
            Step::Read(0, 1000),
            Step::Deliver,
            Step::CatchUp,
            Step::Read(0, 1000),
            Step::CatchUp,
            Step::Read(0, 1000),
            Step::Publish(1, 7, Old::New),
        ],
    );
    let counters = &world.streams.0.counters;
    assert_eq!((counters.replayed.get(), counters.resets.get()), (140 + 5, 0));
    assert_eq!(counters.deliveries.get(), 7);
}

#[test]
fn history_that_goes_under_a_reader_is_told() {
    let world = everybody_gets_everything(
        Store::Memory,
        vec![
            Step::Publish(1, 100, Old::New),
            Step::Open(0, 1, From::Id(0)),
            Step::Read(0, 10),
            Step::Publish(1, 120, Old::New),
            Step::Deliver,
        ],
    );
    let said = &world.sessions[0].as_ref().unwrap().said;
    let first: Vec<_> = (1..=64).map(Said::Event).chain([Said::Reset(220)]).collect();
    assert_eq!(*said, first);
    assert_eq!(world.streams.0.counters.resets.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_who_does_not_take_its_page_is_cut_off() {
    let mut world = World::new(Store::Memory);
    (0..100).for_each(|_| world.publish(1, Old::New));
    let streams = world.streams.clone();
    world.open(0, 1, &From::Id(0));
    world.open(1, 1, &From::Id(0));
    world.open(2, 1, &From::Id(200));
    tokio::time::advance(PAGE_STALL / 2).await;
    // A page that is taken is followed by another, and by as much time. One page is all that the third has to read.
    assert!(world.read(1, 100));
    turn(std::pin::pin!(streams.keep_catching_up()));
    tokio::time::advance(PAGE_STALL / 2).await;
    streams.end_stalled();
    assert_eq!((streams.0.counters.evicted.get(), streams.all().len()), (1, 2));
    tokio::time::advance(PAGE_STALL).await;
    streams.end_stalled();
    assert_eq!(streams.0.counters.evicted.get(), 1, "it has all it missed: what waits is bounded otherwise");
}

#[test]
fn an_event_is_counted_for_those_who_will_read_it_once_each() {
    let mut world = World::new(Store::Memory);
    (0..100).for_each(|_| world.publish(1, Old::New));
    let streams = world.streams.clone();
    // Registered behind it, and not handed out before: it does not count them.
    world.publish(3, Old::New);
    world.open(0, 3, &From::Id(0));
    let both = Publication {
        channels: names(3).into(),
        event: Event { name: None, data: "x".into(), retry: None },
        ttl: None,
        key: None,
        collapse: None,
    };
    let receipt = world.hub.publish(both, Timestamp::now()).unwrap();
    turn(std::pin::pin!(streams.deliver()));
    let mut count = std::pin::pin!(receipt.delivered());
    let counted = count.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(counted, Poll::Ready(Ok(1)));
    assert_eq!(streams.0.counters.deliveries.get(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn everybody_gets_the_events_past_their_id_or_is_told(steps in prop::collection::vec(step(), 1..80)) {
        everybody_gets_everything(Store::Memory, steps);
    }
}

proptest! {
    // Each opens a store and syncs it, some of them a few times.
    #![proptest_config(ProptestConfig { cases: 5, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn on_disk_everybody_gets_them_too(steps in prop::collection::vec(step(), 1..80)) {
        everybody_gets_everything(Store::Disk, steps);
    }
}
