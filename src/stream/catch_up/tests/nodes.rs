//! The same model where many nodes share a Redis: whatever of it breaks, comes late, goes back or is forgotten, and
//! whichever node a client comes to.

use super::world::{self, place};
use super::*;
use crate::event::{ChannelName, Event, Timestamp};
use crate::hub::made_up::Redis;
use crate::hub::{Held, NotReady, Publication};
use crate::store::Limits;
use crate::stream::Streams;
use std::future::Future;

const NODES: usize = 3;

#[derive(Debug, Clone)]
enum Act {
    /// On a node, to channels by bits, so many of them.
    Publish(usize, u8, usize, bool),
    /// By a client, on a node.
    Open(usize, usize, u8, From),
    Leave(usize),
    Read(usize, usize),
    Deliver(usize),
    CatchUp(usize),
    /// Redis does what a node has ordered.
    Work(usize),
    /// A node hears so many news.
    Tell(usize, usize),
    /// A connection breaks, when so many of the news on their way have come.
    Cut(usize, usize),
    Attach(usize),
    Save,
    GoBack,
    Flush,
    Expire,
}

fn act() -> impl Strategy<Value = Act> {
    let channels = 1..1u8 << CHANNELS;
    let from = prop_oneof![
        1 => Just(From::Now),
        5 => Just(From::There),
        3 => any::<u8>().prop_map(From::Id),
        1 => Just(From::Nonsense),
    ];
    prop_oneof![
        6 => (0..NODES, channels.clone(), 1..60usize, prop::bool::weighted(0.1))
            .prop_map(|(node, to, count, over)| Act::Publish(node, to, count, over)),
        6 => (0..CLIENTS, 0..NODES, channels, from)
            .prop_map(|(client, node, to, from)| Act::Open(client, node, to, from)),
        1 => (0..CLIENTS).prop_map(Act::Leave),
        8 => (0..CLIENTS, 1..100usize).prop_map(|(client, pieces)| Act::Read(client, pieces)),
        5 => (0..NODES).prop_map(Act::Deliver),
        4 => (0..NODES).prop_map(Act::CatchUp),
        9 => (0..NODES).prop_map(Act::Work),
        9 => (0..NODES, 1..40usize).prop_map(|(node, count)| Act::Tell(node, count)),
        2 => (0..NODES, 0..30usize).prop_map(|(node, come)| Act::Cut(node, come)),
        4 => (0..NODES).prop_map(Act::Attach),
        1 => Just(Act::Save),
        1 => Just(Act::GoBack),
        1 => Just(Act::Expire),
        1 => prop_oneof![4 => Just(Act::Save), 1 => Just(Act::Flush)],
    ]
}

/// A client that waits for its channels.
struct Opening {
    client: usize,
    node: usize,
    channels: u8,
    id: Option<u64>,
    held: Pin<Box<dyn Future<Output = Result<Held, NotReady>>>>,
}

struct Deployment {
    redis: Redis,
    streams: Vec<Streams>,
    world: World,
    opening: Vec<Opening>,
    /// How many of the events that were given the world knows.
    known: usize,
}

impl Deployment {
    fn new() -> Self {
        let limits = Limits {
            age: world::AGE,
            events: world::HISTORY,
            bytes: 1 << 24,
            max_bytes: 1 << 26,
            max_channels: 99,
        };
        let mut redis = Redis::new(NODES, 1, &limits);
        (0..NODES).for_each(|node| redis.attach(node));
        redis.settle();
        let hubs = redis.nodes.iter().map(|link| link.hub.clone());
        let streams: Vec<_> = hubs
            .map(|hub| {
                Streams::new(
                    hub,
                    0,
                    std::sync::Arc::default(),
                    std::rc::Rc::new(crate::access_log::WorkerLog::off()),
                )
            })
            .collect();
        let world = World::over(redis.nodes[0].hub.clone());
        Self { redis, streams, world, opening: Vec::new(), known: 0 }
    }

    fn publish(&mut self, node: usize, bits: u8, count: usize, over: bool) {
        let publication = Publication {
            channels: names(bits).into(),
            event: Event { name: None, data: "x".into(), retry: None },
            ttl: over.then_some(Duration::ZERO),
            key: None,
            collapse: None,
        };
        // One that is away refuses.
        let _ = self.redis.nodes[node].hub.publish_all(vec![publication; count], Timestamp::now());
    }

    fn open(&mut self, client: usize, node: usize, channels: u8, from: &From) {
        let id = self.world.id_of(client, from);
        let (hub, names) = (self.redis.nodes[node].hub.clone(), names(channels));
        let said = id.map(|place| world::said(place).to_string());
        let held = Box::pin(async move { hub.prepare(&names, said.as_deref()).await });
        self.opening.retain(|opening| opening.client != client);
        self.opening.push(Opening { client, node, channels, id, held });
    }

    /// Opens the streams whose channels are ready, and takes note of what was given.
    fn look(&mut self) {
        let bits = |channels: &[ChannelName]| {
            let all = names(!0);
            (0..CHANNELS).filter(|bit| channels.contains(&all[usize::from(*bit)])).map(|bit| 1 << bit).sum()
        };
        for (epoch, seq, channels, over) in &self.redis.given[self.known..] {
            let old = if *over { Old::Over } else { Old::New };
            self.world.published.insert(place(*epoch, *seq), (bits(channels), old));
        }
        self.known = self.redis.given.len();
        for mut opening in std::mem::take(&mut self.opening) {
            match opening.held.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => self.opening.push(opening),
                Poll::Ready(held) => {
                    let Opening { client, node, channels, id, .. } = opening;
                    self.world.streams = self.streams[node].clone();
                    self.world.open_at(client, channels, id, held.unwrap());
                }
            }
        }
    }

    fn go_back(&mut self, to_nothing: bool) {
        let gone = self.redis.go_back(to_nothing);
        for seq in &gone {
            self.world.published.remove(&place(self.world.epoch, *seq));
        }
        if self.world.epoch == self.redis.epoch {
            let from = self.redis.hole().unwrap();
            let epoch = self.world.epoch;
            self.world.holes.push(place(epoch, from.start)..place(epoch, from.end));
        }
        self.world.epoch = self.redis.epoch;
        self.known = self.redis.given.len();
    }

    fn expire(&mut self) {
        self.redis.expire();
        let later = Timestamp::now().after(2 * world::AGE);
        for node in 0..NODES {
            self.redis.nodes[node].hub.sweep(later);
        }
        self.world.expired = self.world.head();
    }
}

fn everybody_gets_everything(acts: Vec<Act>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _within = runtime.enter();
    let mut all = Deployment::new();
    let streams = all.streams.clone();
    let mut delivering: Vec<_> = streams.iter().map(|streams| Box::pin(streams.deliver())).collect();
    let mut catching_up: Vec<_> =
        streams.iter().map(|streams| Box::pin(streams.keep_catching_up())).collect();
    for act in acts {
        match act {
            Act::Publish(node, to, count, over) => all.publish(node, to, count, over),
            Act::Open(client, node, channels, from) => all.open(client, node, channels, &from),
            Act::Leave(client) => all.world.check(client),
            Act::Read(client, pieces) => _ = all.world.read(client, pieces),
            Act::Deliver(node) => turn(delivering[node].as_mut()),
            Act::CatchUp(node) => turn(catching_up[node].as_mut()),
            Act::Work(node) => all.redis.work(node),
            Act::Tell(node, count) => _ = all.redis.tell(node, count),
            Act::Cut(node, come) => all.redis.cut(node, come),
            Act::Attach(node) => all.redis.attach(node),
            Act::Save => all.redis.save(),
            Act::GoBack => all.go_back(false),
            Act::Flush => all.go_back(true),
            Act::Expire => all.expire(),
        }
        all.look();
    }
    (0..NODES).for_each(|node| all.redis.attach(node));
    loop {
        all.redis.settle();
        all.look();
        for node in 0..NODES {
            (0..500).for_each(|_| turn(delivering[node].as_mut()));
            (0..50).for_each(|_| turn(catching_up[node].as_mut()));
        }
        let reads: Vec<_> = (0..CLIENTS).map(|client| all.world.read(client, PAGE_EVENTS)).collect();
        if !reads.contains(&true) && all.opening.is_empty() {
            break;
        }
    }
    for session in all.world.sessions.iter().flatten() {
        let is_open =
            streams.iter().any(|of| of.all().iter().any(|open| Rc::ptr_eq(open, &session.body.subscriber)));
        all.world.check_said(session, is_open);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn over_many_nodes_everybody_gets_them_too(acts in prop::collection::vec(act(), 1..150)) {
        everybody_gets_everything(acts);
    }
}
