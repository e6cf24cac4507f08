//! The world that the model is tried in: a hub, a worker's streams, their clients, and all that was published.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http_body::Body as _;
use tempfile::TempDir;

use crate::config::StreamRoute;
use crate::event::{ChannelName, Epoch, Event, EventId, Timestamp};
use crate::hub::{Held, Hub, Position, Publication};
use crate::store::{Disk, Limits, Memory, SyncMode};
use crate::stream::{Grant, StreamBody, StreamSettings, Streams};

pub(super) const CHANNELS: u8 = 3;
pub(super) const CLIENTS: usize = 4;
/// More than two pages.
pub(super) const HISTORY: usize = 150;
pub(super) const AGE: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    New,
    /// Its `ttl` is over.
    Over,
    /// It is too old for history.
    Ancient,
}

#[derive(Debug, Clone)]
pub(super) enum From {
    Now,
    /// Where the client was.
    There,
    /// A share of all ids there are.
    Id(u8),
    Nonsense,
}

/// What a stream said, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Event(u64),
    Reset(u64),
}

/// Where history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Memory,
    Disk,
}

pub(super) struct Session {
    pub(super) body: Pin<Box<StreamBody>>,
    channels: u8,
    /// The id it came with.
    asked: Option<u64>,
    /// The id it opened with, if it did and had one.
    opened: Option<Option<u64>>,
    pub(super) said: Vec<Said>,
}

/// Ids are places here, which order the events of all epochs.
pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) streams: Streams,
    settings: Rc<StreamSettings>,
    /// By place: its channels, and how old it was.
    pub(super) published: BTreeMap<u64, (u8, Old)>,
    /// All up to this one may have gone by their age.
    pub(super) expired: u64,
    pub(super) sessions: Vec<Option<Session>>,
    last: [u64; CLIENTS],
    pub(super) epoch: u32,
    /// Ids that were never given.
    pub(super) holes: Vec<std::ops::Range<u64>>,
    folder: Option<TempDir>,
    committer: Option<JoinHandle<()>>,
}

pub(super) fn names(bits: u8) -> Vec<ChannelName> {
    let channels = (0..CHANNELS).filter(|bit| bits & (1 << bit) != 0);
    channels.map(|bit| ChannelName::new(&format!("c{bit}")).unwrap()).collect()
}

impl World {
    pub(super) fn new(store: Store) -> Self {
        let folder = (store == Store::Disk).then(|| tempfile::tempdir().unwrap());
        let (hub, committer) = open(folder.as_ref(), 0);
        let mut world = Self::over(hub);
        (world.folder, world.committer) = (folder, committer);
        world
    }

    pub(super) fn over(hub: Hub) -> Self {
        let route = StreamRoute { backlog: 400, heartbeat: None, ..StreamRoute::new(vec![]) };
        Self {
            streams: Streams::new(
                hub.clone(),
                0,
                Arc::default(),
                std::rc::Rc::new(crate::access_log::WorkerLog::off()),
            ),
            settings: Rc::new(StreamSettings::new("/events".to_owned(), &route)),
            hub,
            published: BTreeMap::new(),
            expired: 0,
            sessions: (0..CLIENTS).map(|_| None).collect(),
            last: [0; CLIENTS],
            epoch: 0,
            holes: Vec::new(),
            folder: None,
            committer: None,
        }
    }

    /// The process ends and begins again. Nobody else may hold the streams.
    pub(super) fn restart(&mut self) {
        (0..CLIENTS).for_each(|client| self.check(client));
        self.stop();
        if self.folder.is_none() {
            self.epoch += 1;
        } else {
            // The store is free again when the last hold on it is gone.
            let (hub, _) = open(None, 0);
            (self.streams, self.hub) = (
                Streams::new(
                    hub.clone(),
                    0,
                    Arc::default(),
                    std::rc::Rc::new(crate::access_log::WorkerLog::off()),
                ),
                hub,
            );
        }
        (self.hub, self.committer) = open(self.folder.as_ref(), self.epoch);
        self.streams = Streams::new(
            self.hub.clone(),
            0,
            Arc::default(),
            std::rc::Rc::new(crate::access_log::WorkerLog::off()),
        );
    }

    fn stop(&mut self) {
        self.hub.close();
        if let Some(committer) = self.committer.take() {
            committer.join().unwrap();
        }
    }

    /// All of history goes.
    pub(super) fn expire(&mut self) {
        self.hub.sweep(Timestamp::now().after(2 * AGE));
        if self.folder.is_some() {
            let is_kept =
                |hub: &Hub| names(!0).iter().any(|name| hub.channel(name).is_some_and(|of| of.events > 0));
            until(|| !is_kept(&self.hub));
            self.hub.sweep(Timestamp::now());
        }
        self.expired = self.head();
    }

    pub(super) fn head(&self) -> u64 {
        let first = place(self.epoch, 0);
        self.published.range(first..).next_back().map_or(first, |(place, _)| *place)
    }

    pub(super) fn publish(&mut self, bits: u8, old: Old) {
        self.publish_many(bits, 1, old);
    }

    pub(super) fn publish_many(&mut self, bits: u8, count: usize, old: Old) {
        let publication = Publication {
            channels: names(bits).into(),
            event: Event { name: None, data: "x".into(), retry: None },
            ttl: (old == Old::Over).then_some(Duration::from_secs(1)),
            key: None,
            collapse: None,
        };
        let now = Timestamp::now().0;
        let at = match old {
            Old::New => now,
            Old::Over => now - 2000,
            Old::Ancient => now - 2 * 1000 * AGE.as_secs(),
        };
        let receipts = self.hub.publish_all(vec![publication; count], Timestamp(at)).unwrap();
        for id in receipts.iter().map(|receipt| receipt.id().unwrap()) {
            // On disk it is kept and handed out a moment later.
            until(|| {
                self.hub.subscribe(0, None, &[], Position::Now, Timestamp::now()).unwrap().1.head >= id.seq
            });
            let place = place(self.epoch, id.seq);
            self.published.insert(place, (bits, old));
            if old == Old::Ancient {
                self.expired = place;
            }
        }
    }

    pub(super) fn open(&mut self, client: usize, channels: u8, from: &From) {
        let id = self.id_of(client, from);
        self.open_at(client, channels, id, Held::default());
    }

    /// The id that a client comes with.
    pub(super) fn id_of(&self, client: usize, from: &From) -> Option<u64> {
        match from {
            From::Now => None,
            From::There => Some(self.last[client]),
            From::Id(share) => {
                let places = std::iter::once(0).chain(self.published.keys().copied());
                places.clone().nth(self.published.len() * usize::from(*share) / 255)
            }
            From::Nonsense => Some(self.head() + 1),
        }
    }

    pub(super) fn open_at(&mut self, client: usize, channels: u8, id: Option<u64>, held: Held) {
        let grant = Grant {
            settings: self.settings.clone(),
            user: None,
            channels: names(channels),
            last_id: id.map(|place| said(place).to_string()),
            expires: None,
            again: None,
            voucher: None,
            fields: None,
            permit: None,
            held,
            span: None,
            is_uncounted: false,
            client: String::new(),
            target: String::new(),
        };
        let body = Box::pin(StreamBody::respond(&self.streams, grant).into_body());
        self.check(client);
        self.sessions[client] = Some(Session { body, channels, asked: id, opened: None, said: Vec::new() });
    }

    /// Reads up to so many pieces. Says whether there was anything.
    pub(super) fn read(&mut self, client: usize, pieces: usize) -> bool {
        let Some(session) = &mut self.sessions[client] else { return false };
        for piece in 0..pieces {
            let mut cx = Context::from_waker(Waker::noop());
            let text = match session.body.as_mut().poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap(),
                Poll::Ready(_) => unreachable!("nobody waits for the last words to leave"),
                Poll::Pending => return piece > 0,
            };
            let text = std::str::from_utf8(&text).unwrap();
            let id = text.lines().find_map(|line| line.strip_prefix("id: "));
            let id = id.map(|id| placed(id.parse().unwrap()));
            if session.opened.is_none() {
                session.opened = Some(id);
            } else if text.contains("event: reset") {
                session.said.push(Said::Reset(id.unwrap()));
            } else {
                session.said.push(Said::Event(id.unwrap()));
            }
            self.last[client] = id.unwrap_or(self.last[client]);
        }
        true
    }

    /// Holds what a stream has said against what was published. It may have been cut off anywhere.
    pub(super) fn check(&mut self, client: usize) {
        let Some(session) = self.sessions[client].take() else { return };
        self.check_said(&session, false);
    }

    pub(super) fn check_said(&self, session: &Session, is_whole: bool) {
        let Some(opened) = session.opened else {
            assert!(!is_whole && session.said.is_empty());
            return;
        };
        let mut cursor = match (opened, session.asked) {
            (Some(opened), asked) => {
                let asked = asked.unwrap_or(opened);
                assert!(opened >= asked, "it was moved back");
                // It is moved on past what is not its own, and past nothing else.
                self.nothing_missing(session, asked, opened + 1);
                opened
            }
            (None, asked) => {
                // It is moved by what it is told, and not before.
                let is_told = matches!(session.said.first(), Some(Said::Reset(_)));
                assert!(is_told || !is_whole && session.said.is_empty());
                asked.unwrap()
            }
        };
        for said in &session.said {
            match *said {
                Said::Event(seq) => {
                    // And nothing whose time was over when it was handed in.
                    assert!(
                        self.of(session.channels, cursor).any(|(of, old)| of == seq && old != Old::Over),
                        "{seq}: {:?}",
                        session.said
                    );
                    self.nothing_missing(session, cursor, seq);
                    cursor = seq;
                }
                Said::Reset(head) => {
                    let is_nonsense = cursor > head;
                    assert!(
                        is_nonsense || self.may_have_gone(session.channels, cursor),
                        "{cursor}: {:?}",
                        session.said
                    );
                    cursor = head;
                }
            }
        }
        if is_whole {
            self.nothing_missing(session, cursor, u64::MAX);
        }
    }

    pub(super) fn nothing_missing(&self, session: &Session, after: u64, before: u64) {
        let missed = self.of(session.channels, after).find(|(seq, old)| *seq < before && *old != Old::Over);
        assert_eq!(missed, None, "past {after}: {:?}", session.said);
    }

    pub(super) fn of(&self, channels: u8, after: u64) -> impl Iterator<Item = (u64, Old)> {
        let past = self.published.range(after + 1..);
        past.filter(move |(_, (of, _))| of & channels != 0).map(|(seq, (_, old))| (*seq, *old))
    }

    pub(super) fn may_have_gone(&self, channels: u8, after: u64) -> bool {
        after < self.expired
            || after < place(self.epoch, 0)
            || self.holes.iter().any(|hole| hole.contains(&after))
            || (0..CHANNELS)
                .map(|bit| channels & (1 << bit))
                .any(|channel| self.of(channel, after).count() > HISTORY)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

fn open(folder: Option<&TempDir>, epoch: u32) -> (Hub, Option<JoinHandle<()>>) {
    let limits = Limits { age: AGE, events: HISTORY, bytes: 1 << 24, max_bytes: 1 << 26, max_channels: 99 };
    let epoch = Epoch::from_bits(epoch);
    let Some(folder) = folder else { return (Hub::new(1, Memory::new(limits), epoch), None) };
    let open = Disk::open(folder.path(), limits, SyncMode::Interval, epoch, Timestamp::now()).unwrap();
    assert!(!open.is_new_epoch);
    let (hub, committer) = Hub::on_disk(1, open, SyncMode::Interval);
    (hub, Some(std::thread::spawn(move || committer.run())))
}

pub(super) fn place(epoch: u32, seq: u64) -> u64 {
    u64::from(epoch) << 32 | seq
}

fn placed(id: EventId) -> u64 {
    place((0..).find(|bits| Epoch::from_bits(*bits) == id.epoch).unwrap(), id.seq)
}

pub(super) fn said(place: u64) -> EventId {
    EventId { epoch: Epoch::from_bits((place >> 32) as u32), seq: place & u64::from(u32::MAX) }
}

/// Another thread does it, and soon.
fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
}
