//! Against a server that is made up: commands and what is told come in one order on one connection, whenever they like;
//! only that what is told may be taken in before a reply that came before it.

use std::collections::{HashMap, HashSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::event::{Frame, Timestamp};

/// So few events are in a piece, so that loads come in several.
const PIECE: usize = 2;

enum ToServer {
    Subscribe(Vec<ChannelName>),
    Unsubscribe(Vec<ChannelName>),
    Load(Vec<(Asked, u64)>),
}

enum ToNode {
    Event(Told),
    Loaded(Vec<Asked>, u64, Vec<Piece>),
}

/// Redis, the connection to it, and what the hub was told of each channel since it followed it.
#[derive(Default)]
struct World {
    channels: Channels,
    logs: HashMap<ChannelName, Vec<u64>>,
    head: u64,
    subscribed: HashSet<ChannelName>,
    up: VecDeque<ToServer>,
    down: VecDeque<ToNode>,
    told: HashMap<ChannelName, Vec<u64>>,
    loaded: HashSet<ChannelName>,
    copies: usize,
    answered: usize,
}

fn name(number: usize) -> ChannelName {
    ChannelName::new(&format!("c{number}")).unwrap()
}

fn record(seq: u64) -> Record {
    Record { seq, frame: Frame::new(b""), at: Timestamp(0), expires: None, collapse: None }
}

impl World {
    /// With room to hold so many events.
    fn new(held: usize) -> Self {
        Self { channels: Channels::new(held * size_of::<Told>()), ..Self::default() }
    }

    fn publish(&mut self, channel: usize) {
        let channel = name(channel);
        self.head += 1;
        let log = self.logs.entry(channel.clone()).or_default();
        let before = log.last().copied().unwrap_or(0);
        log.push(self.head);
        if self.subscribed.contains(&channel) {
            self.copies += 1;
            let by = (NodeId(0), Ticket(self.head), 0);
            let channels = [channel.clone()].into_iter().collect();
            self.down.push_back(ToNode::Event(Told {
                record: record(self.head),
                channel,
                before,
                channels,
                by,
            }));
        }
    }

    /// The server does one command.
    fn serve(&mut self) {
        match self.up.pop_front() {
            Some(ToServer::Subscribe(join)) => self.subscribed.extend(join),
            Some(ToServer::Unsubscribe(part)) => self.subscribed.retain(|channel| !part.contains(channel)),
            Some(ToServer::Load(loads)) => {
                let mut pieces = Vec::new();
                for (asked, since) in &loads {
                    let log = self.logs.get(&asked.channel).cloned().unwrap_or_default();
                    let past: Vec<_> = log.into_iter().filter(|seq| seq > since).collect();
                    let records: Vec<_> = past.iter().take(PIECE).map(|seq| record(*seq)).collect();
                    let is_last = records.len() == past.len();
                    pieces.push(Piece { is_last, lost: 0, last: 0, records, mark: None });
                    if !is_last {
                        // Enough for one call: the others are not read.
                        break;
                    }
                }
                let asked = loads.into_iter().map(|(asked, _)| asked).collect();
                self.down.push_back(ToNode::Loaded(asked, self.head, pieces));
            }
            None => {}
        }
    }

    /// The node takes one thing, and asks for what it needs.
    fn take(&mut self) {
        let next = self.down.pop_front();
        self.take_in(next);
    }

    /// The node takes the next event before the replies that came before it.
    fn overtake(&mut self) {
        let event = self.down.iter().position(|down| matches!(down, ToNode::Event(_)));
        let next = event.and_then(|at| self.down.remove(at));
        self.take_in(next);
    }

    fn take_in(&mut self, next: Option<ToNode>) {
        let (mut news, mut unneeded) = (Vec::new(), Vec::new());
        match next {
            Some(ToNode::Event(told)) => match self.channels.heard(told) {
                Fate::Told(told) => news.push(News::Event(told)),
                Fate::Held => {}
                Fate::Unneeded(copy) => unneeded.push(copy),
            },
            Some(ToNode::Loaded(asked, head, pieces)) => {
                self.channels.loaded(asked, head, pieces, &mut news, &mut unneeded);
            }
            None => {}
        }
        self.answered += unneeded.len();
        for news in news {
            match news {
                News::Event(told) => {
                    self.answered += 1;
                    assert!(self.loaded.contains(&told.channel), "told before it was loaded");
                    self.told.entry(told.channel).or_default().push(told.record.seq);
                }
                News::Loaded { channel, records, .. } => {
                    self.loaded.insert(channel.clone());
                    self.told.entry(channel).or_default().extend(records.iter().map(|record| record.seq));
                }
                other => panic!("{other:?}"),
            }
        }
        self.ask();
    }

    fn ask(&mut self) {
        loop {
            let (join, part) = self.channels.take_changes();
            if join.is_empty() && part.is_empty() {
                break;
            }
            self.up.push_back(ToServer::Unsubscribe(part));
            self.up.push_back(ToServer::Subscribe(join));
        }
        let loads = self.channels.take_loads();
        if !loads.is_empty() {
            self.up.push_back(ToServer::Load(loads));
        }
    }

    fn follow(&mut self, channel: usize) {
        self.channels.follow(name(channel));
        self.ask();
    }

    fn leave(&mut self, channel: usize) {
        let channel = name(channel);
        self.answered += self.channels.leave(&channel).len();
        self.told.remove(&channel);
        self.loaded.remove(&channel);
        self.ask();
    }

    fn break_off(&mut self) {
        let lost = self.down.drain(..).filter(|down| matches!(down, ToNode::Event(_))).count();
        self.copies -= lost;
        self.up.clear();
        self.subscribed.clear();
        self.loaded.clear();
        self.channels.begin(false);
        self.ask();
    }

    fn settle(&mut self) {
        while !self.up.is_empty() || !self.down.is_empty() {
            self.serve();
            self.take();
        }
    }
}

fn op() -> impl Strategy<Value = (u8, usize)> {
    (
        prop_oneof![6 => Just(0u8), 1 => Just(1), 1 => Just(2), 5 => Just(3), 5 => Just(4), 2 => Just(5), 1 => Just(6)],
        0..3usize,
    )
}

proptest! {
    #[test]
    fn all_events_of_a_followed_channel_are_told_once_and_in_order(
        ops in prop::collection::vec(op(), 1..200),
        held in prop_oneof![0..4usize, Just(1000)],
    ) {
        let mut world = World::new(held);
        let mut has_broken = false;
        for (kind, channel) in ops {
            match kind {
                0 => world.publish(channel),
                1 => world.follow(channel),
                2 => world.leave(channel),
                3 => world.serve(),
                4 => world.take(),
                5 => world.overtake(),
                _ => {
                    world.break_off();
                    has_broken = true;
                }
            }
        }
        world.settle();
        prop_assert!(world.channels.are_level());
        for (channel, log) in &world.logs {
            if world.channels.is_loaded(channel) {
                prop_assert_eq!(world.told.get(channel), Some(log));
            } else {
                prop_assert!(!world.told.contains_key(channel));
            }
        }
        // No publisher waits for a copy that came here.
        if !has_broken {
            prop_assert_eq!(world.copies, world.answered);
        }
    }
}

#[test]
fn a_channel_is_only_level_when_it_is_loaded_after_a_break() {
    let mut world = World::new(0);
    world.follow(0);
    world.publish(0);
    world.settle();
    world.break_off();
    assert!(!world.channels.are_level() && !world.channels.is_loaded(&name(0)));
    world.leave(0);
    assert!(world.channels.are_level());
}
