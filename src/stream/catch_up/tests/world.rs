//! The world that the model is tried in: a hub, a worker's streams, their clients, and all that was published.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http_body::Body as _;

use crate::config::StreamRoute;
use crate::event::{ChannelName, Epoch, Event, Timestamp};
use crate::hub::{Hub, Publication};
use crate::store::{Limits, Memory};
use crate::stream::{Grant, StreamBody, StreamSettings, Streams};

pub(super) const CHANNELS: u8 = 3;
pub(super) const CLIENTS: usize = 4;
/// More than two pages.
const HISTORY: usize = 150;
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

pub(super) struct Session {
    pub(super) body: Pin<Box<StreamBody>>,
    channels: u8,
    /// The id it came with.
    asked: Option<u64>,
    opened_with: Option<u64>,
    pub(super) said: Vec<Said>,
}

pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) streams: Streams,
    settings: Rc<StreamSettings>,
    /// By number: its channels, and how old it was.
    published: BTreeMap<u64, (u8, Old)>,
    /// All up to this one may have gone by their age.
    pub(super) expired: u64,
    pub(super) sessions: Vec<Option<Session>>,
    last: [u64; CLIENTS],
}

pub(super) fn names(bits: u8) -> Vec<ChannelName> {
    let channels = (0..CHANNELS).filter(|bit| bits & (1 << bit) != 0);
    channels.map(|bit| ChannelName::new(&format!("c{bit}")).unwrap()).collect()
}

impl World {
    pub(super) fn new() -> Self {
        let limits =
            Limits { age: AGE, events: HISTORY, bytes: 1 << 24, max_bytes: 1 << 26, max_channels: 99 };
        Self::over(Hub::new(1, Memory::new(limits), Epoch::from_bits(1)))
    }

    pub(super) fn over(hub: Hub) -> Self {
        let route = StreamRoute { backlog: 400, heartbeat: None, ..StreamRoute::new(vec![]) };
        Self {
            streams: Streams::new(hub.clone(), 0, std::sync::Arc::default(), None),
            settings: Rc::new(StreamSettings::new("/events".to_owned(), 0, &route)),
            hub,
            published: BTreeMap::new(),
            expired: 0,
            sessions: (0..CLIENTS).map(|_| None).collect(),
            last: [0; CLIENTS],
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.published.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    pub(super) fn publish(&mut self, bits: u8, old: Old) {
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
        let id = self.hub.publish(publication, Timestamp(at)).unwrap().id;
        self.published.insert(id.seq, (bits, old));
        if old == Old::Ancient {
            self.expired = id.seq;
        }
    }

    pub(super) fn open(&mut self, client: usize, channels: u8, from: &From) {
        let id = match from {
            From::Now => None,
            From::There => Some(self.last[client]),
            From::Id(share) => Some(self.head() * u64::from(*share) / 255),
            From::Nonsense => Some(self.head() + 1),
        };
        let grant = Grant {
            settings: self.settings.clone(),
            user: None,
            channels: names(channels),
            last_id: id.map(|seq| format!("{}-{seq}", self.hub.epoch())),
            expires: None,
            again: None,
            fields: None,
            permit: None,
            is_uncounted: false,
            client: String::new(),
            target: String::new(),
        };
        let body = Box::pin(StreamBody::respond(&self.streams, grant).into_body());
        self.check(client);
        self.sessions[client] =
            Some(Session { body, channels, asked: id, opened_with: None, said: Vec::new() });
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
            let id = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
            let seq = id.split_once('-').unwrap().1.parse().unwrap();
            if session.opened_with.is_none() {
                session.opened_with = Some(seq);
            } else if text.contains("event: reset") {
                session.said.push(Said::Reset(seq));
            } else {
                session.said.push(Said::Event(seq));
            }
            self.last[client] = seq;
        }
        true
    }

    /// Holds what a stream has said against what was published. It may have been cut off anywhere.
    pub(super) fn check(&mut self, client: usize) {
        let Some(session) = self.sessions[client].take() else { return };
        self.check_said(&session, false);
    }

    pub(super) fn check_said(&self, session: &Session, is_whole: bool) {
        let Some(mut cursor) = session.opened_with else {
            assert!(!is_whole && session.said.is_empty());
            return;
        };
        for (place, said) in session.said.iter().enumerate() {
            match *said {
                Said::Event(seq) => {
                    assert!(
                        self.of(session.channels, cursor).any(|(of, _)| of == seq),
                        "{seq}: {:?}",
                        session.said
                    );
                    self.nothing_missing(session, cursor, seq);
                    cursor = seq;
                }
                Said::Reset(head) => {
                    // The first is for the id it came with, and what it opened with is the head already.
                    let past = session.asked.filter(|_| place == 0).unwrap_or(cursor);
                    let is_nonsense = past > head;
                    assert!(
                        is_nonsense || self.may_have_gone(session.channels, past),
                        "{past}: {:?}",
                        session.said
                    );
                    assert!(head >= cursor);
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
            || (0..CHANNELS)
                .map(|bit| channels & (1 << bit))
                .any(|channel| self.of(channel, after).count() > HISTORY)
    }
}
