//! The same for streams that start with what is unread. A tab gets the events of its user's channel in order and once;
//! of those that were published before it was opened only such as no tab had; none is lost that nobody had.

use std::collections::BTreeSet;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http_body::Body as _;
use proptest::prelude::*;

use super::turn;
use crate::config::{ReadWhen, Replay, StreamRoute};
use crate::event::{ChannelName, Epoch, Event, Timestamp};
use crate::hub::{Held, Hub, Publication};
use crate::store::{Limits, Memory};
use crate::stream::{Grant, StreamBody, StreamSettings, Streams};

const TABS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// So many, to the user's channel or the other one.
    Publish(bool, usize),
    Open(usize),
    Leave(usize),
    Deliver,
    CatchUp,
    Read(usize, usize),
}

struct Tab {
    body: Pin<Box<StreamBody>>,
    /// The head when it was opened.
    from: u64,
    /// What was not marked then.
    unread: BTreeSet<u64>,
    opened_with: Option<u64>,
    got: Vec<u64>,
}

struct World {
    hub: Hub,
    streams: Streams,
    settings: Rc<StreamSettings>,
    own: BTreeSet<u64>,
    other: BTreeSet<u64>,
    /// What some tab has read.
    had: BTreeSet<u64>,
    tabs: [Option<Tab>; TABS],
}

impl World {
    fn new() -> Self {
        let limits = Limits {
            age: super::world::AGE,
            events: 100_000,
            bytes: 1 << 30,
            max_bytes: 1 << 30,
            max_channels: 99,
        };
        let hub = Hub::new(1, Memory::new(limits), Epoch::from_bits(1));
        let route = StreamRoute {
            replay: Replay::Unread(ReadWhen::Delivered),
            heartbeat: None,
            backlog: 1 << 20,
            ..StreamRoute::new(vec![0])
        };
        Self {
            streams: Streams::new(
                hub.clone(),
                0,
                std::sync::Arc::default(),
                std::rc::Rc::new(crate::access_log::WorkerLog::off()),
            ),
            settings: Rc::new(StreamSettings::new("/events".to_owned(), &route)),
            hub,
            own: BTreeSet::new(),
            other: BTreeSet::new(),
            had: BTreeSet::new(),
            tabs: [const { None }; TABS],
        }
    }

    fn publish(&mut self, is_own: bool) {
        let channel = ChannelName::new(if is_own { "user:u" } else { "all" }).unwrap();
        let event = Event { name: None, data: "x".into(), retry: None };
        let publication = Publication {
            channels: [channel].into_iter().collect(),
            event,
            ttl: None,
            key: None,
            collapse: None,
        };
        let seq = self.hub.publish(publication, Timestamp::now()).unwrap().id().unwrap().seq;
        let kind = if is_own { &mut self.own } else { &mut self.other };
        kind.insert(seq);
    }

    fn head(&self) -> u64 {
        self.own.last().max(self.other.last()).copied().unwrap_or_default()
    }

    fn open(&mut self, tab: usize) {
        let grant = Grant {
            settings: self.settings.clone(),
            user: Some("u".to_owned()),
            channels: vec![ChannelName::new("user:u").unwrap(), ChannelName::new("all").unwrap()],
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
        };
        self.leave(tab);
        let body = Box::pin(StreamBody::respond(&self.streams, grant).into_body());
        let unread = self.unread();
        let marked: BTreeSet<_> = self.own.difference(&unread).copied().collect();
        assert!(marked.is_subset(&self.had), "{marked:?} was marked, and {:?} written", self.had);
        self.tabs[tab] = Some(Tab { body, from: self.head(), unread, opened_with: None, got: Vec::new() });
    }

    /// What the hub says is unread.
    fn unread(&self) -> BTreeSet<u64> {
        let unread = pin!(self.hub.unread("u", None, (usize::MAX, usize::MAX), Timestamp::now()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let unread = runtime.block_on(unread).unwrap();
        unread.records.iter().map(|record| record.seq).collect()
    }

    fn leave(&mut self, tab: usize) {
        let Some(tab) = self.tabs[tab].take() else { return };
        self.check(&tab, false);
    }

    /// Reads up to so many pieces. Says whether there was anything.
    fn read(&mut self, number: usize, pieces: usize) -> bool {
        let Some(tab) = &mut self.tabs[number] else { return false };
        for piece in 0..pieces {
            let Poll::Ready(frame) = tab.body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()))
            else {
                return piece > 0;
            };
            let text = frame.unwrap().unwrap().into_data().unwrap();
            let text = std::str::from_utf8(&text).unwrap();
            assert!(!text.contains("reset"), "{text}");
            let id = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
            let seq: u64 = id.split_once('-').unwrap().1.parse().unwrap();
            if tab.opened_with.is_none() {
                tab.opened_with = Some(seq);
            } else if text.contains("data: ") {
                tab.got.push(seq);
                self.had.insert(seq);
            } else {
                // Left at the head, behind all that was unread and before all that is live.
                assert!(seq == tab.from && tab.got.last().is_none_or(|last| *last < seq));
            }
        }
        true
    }

    /// Holds what a tab got against what there is. It may have been cut off anywhere.
    fn check(&self, tab: &Tab, is_whole: bool) {
        assert!(tab.got.is_sorted_by(|a, b| a < b), "{:?}", tab.got);
        let (Some(first), Some(start)) = (tab.got.first(), tab.opened_with) else {
            return assert!(!is_whole || self.live(tab).next().is_none());
        };
        assert!(start < *first);
        let (before, live): (Vec<u64>, Vec<u64>) = tab.got.iter().partition(|seq| **seq <= tab.from);
        assert!(before.iter().all(|seq| tab.unread.contains(seq)), "{before:?} of {:?}", tab.unread);
        let expected: Vec<u64> = self.live(tab).collect();
        assert!(expected.starts_with(&live) && (!is_whole || live == expected), "{live:?} {expected:?}");
        // One that comes back with the id that it opened with has missed nothing.
        assert!(!tab.unread.iter().any(|seq| *seq <= start && !self.had.contains(seq)));
    }

    fn live(&self, tab: &Tab) -> impl Iterator<Item = u64> {
        let all = self.own.union(&self.other).copied().collect::<BTreeSet<_>>();
        let from = tab.from;
        all.into_iter().filter(move |seq| *seq > from)
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), 1..90usize).prop_map(|(own, count)| Step::Publish(own, count)),
        5 => (0..TABS).prop_map(Step::Open),
        1 => (0..TABS).prop_map(Step::Leave),
        4 => Just(Step::Deliver),
        6 => Just(Step::CatchUp),
        8 => (0..TABS, 1..100usize).prop_map(|(tab, pieces)| Step::Read(tab, pieces)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_unread_comes_once_and_what_is_live_behind_it(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _within = runtime.enter();
        let mut world = World::new();
        let streams = world.streams.clone();
        let mut delivering = pin!(streams.deliver());
        let mut catching_up = pin!(streams.keep_catching_up());
        for step in steps {
            match step {
                Step::Publish(own, count) => (0..count).for_each(|_| world.publish(own)),
                Step::Open(tab) => world.open(tab),
                Step::Leave(tab) => world.leave(tab),
                Step::Deliver => turn(delivering.as_mut()),
                Step::CatchUp => turn(catching_up.as_mut()),
                Step::Read(tab, pieces) => _ = world.read(tab, pieces),
            }
        }
        // One who comes last and stays gets all that nobody had.
        world.open(0);
        loop {
            (0..500).for_each(|_| turn(delivering.as_mut()));
            (0..50).for_each(|_| turn(catching_up.as_mut()));
            let reads: Vec<_> = (0..TABS).map(|tab| world.read(tab, 64)).collect();
            if !reads.contains(&true) {
                break;
            }
        }
        for tab in world.tabs.iter().flatten() {
            world.check(tab, true);
        }
        let lost: Vec<_> = world.own.difference(&world.had).collect();
        prop_assert!(lost.is_empty(), "{lost:?}");
        prop_assert_eq!(world.unread(), BTreeSet::new());
    }
}
