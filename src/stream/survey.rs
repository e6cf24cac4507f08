//! What an operator asks of a worker's streams, and does to one: answered between deliveries, in turns.
//!
//! Invariants: the worker looks at a bounded number of streams before others have their turn, keeps of what it finds no
//! more than was asked for, and holds no stream while it waits; a stream is named by its place and its serial, so that
//! what is ended is the one that was seen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::table::Entry;
use super::{End, Streams};

/// So many places are looked at before other tasks get their turn: a tenth of a millisecond or so.
const LOOKS_A_TURN: usize = 250;

/// So many channels of a stream are told, and looked at.
const MOST_CHANNELS: usize = 8;

/// What a worker is asked.
#[derive(Debug)]
pub enum Question {
    /// For its streams.
    Find(Search, oneshot::Sender<Found>),
    /// To end one, if it is still open. Says whether it was.
    End {
        /// Its place.
        key: u32,
        /// Its serial.
        serial: u32,
        /// Where the answer goes.
        done: oneshot::Sender<bool>,
    },
}

/// Which streams are looked for.
#[derive(Debug, Clone)]
pub struct Search {
    /// What the user, the address, the route or one of the channels holds, in small letters; empty finds all.
    pub text: String,
    /// Which come first.
    pub order: Order,
    /// How many are told at most.
    pub most: usize,
    /// When it was asked: what ages are measured by, on all workers alike.
    pub at: Instant,
}

/// What streams are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Those that were opened last come first.
    Newest,
    /// Those that were opened first.
    Oldest,
    /// Those that have the most bytes waiting.
    Backlog,
    /// Those that were given the most events.
    Events,
}

/// What a worker has found.
#[derive(Debug)]
pub struct Found {
    /// How many streams are meant by the search.
    pub count: usize,
    /// The first of them, in order.
    pub streams: Vec<Seen>,
}

/// A stream as it was seen.
#[derive(Debug)]
pub struct Seen {
    /// Its rank: the higher, the sooner it comes.
    pub rank: u64,
    /// Its place in the worker's table.
    pub key: u32,
    /// Its serial.
    pub serial: u32,
    /// Whose it is, if anybody's.
    pub user: Option<Box<str>>,
    /// The first of its channels.
    pub channels: Vec<String>,
    /// How many it has besides.
    pub more_channels: usize,
    /// The path of its route, with its hosts if it has some.
    pub route: String,
    /// The client's address.
    pub client: Box<str>,
    /// For how long it has been open.
    pub age: Duration,
    /// How many bytes wait for it.
    pub backlog: usize,
    /// How many events it was given.
    pub events: u64,
    /// The last of them, or where it began.
    pub last_id: String,
    /// How it reaches its client.
    pub protocol: &'static str,
}

impl Streams {
    /// Answers questions, one after another, for as long as somebody may ask.
    pub async fn keep_answering(&self, mut questions: mpsc::Receiver<Question>) {
        while let Some(question) = questions.recv().await {
            match question {
                Question::Find(search, mut told) => {
                    let found = tokio::select! {
                        found = self.find(&search) => found,
                        // Nobody waits for it any more.
                        () = told.closed() => continue,
                    };
                    _ = told.send(found);
                }
                Question::End { key, serial, done } => _ = done.send(self.end_one(key, serial)),
            }
        }
    }

    fn end_one(&self, key: u32, serial: u32) -> bool {
        let subscriber = {
            let table = self.0.table.borrow();
            let entry = table.streams.get(key as usize);
            entry.filter(|entry| entry.subscriber.serial == serial).map(|entry| entry.subscriber.clone())
        };
        subscriber.is_some_and(|subscriber| self.end_saying(&subscriber, End::Operator, None))
    }

    async fn find(&self, search: &Search) -> Found {
        let mut best = BinaryHeap::new();
        let (mut count, mut next) = (0, 0);
        loop {
            {
                let streams = &self.0.table.borrow().streams;
                let until = streams.capacity().min(next + LOOKS_A_TURN);
                for key in next..until {
                    let Some(entry) = streams.get(key).filter(|entry| search.means(entry)) else { continue };
                    count += 1;
                    // Of equal ones the one that comes first in the table does so here.
                    best.push(Reverse((search.rank(entry), Reverse(entry.subscriber.key.get()))));
                    if best.len() > search.most {
                        best.pop();
                    }
                }
                next = until;
                if until == streams.capacity() {
                    break;
                }
            }
            yield_now().await;
        }
        let best = best.into_sorted_vec();
        let mut found = Vec::with_capacity(best.len());
        for part in best.chunks(LOOKS_A_TURN) {
            found.extend(part.iter().filter_map(|Reverse((rank, Reverse(key)))| {
                let table = self.0.table.borrow();
                // Another may have taken the place of one that ended meanwhile.
                let entry = table.streams.get(*key as usize).filter(|entry| search.means(entry))?;
                Some(seen(entry, *rank))
            }));
            yield_now().await;
        }
        Found { count, streams: found }
    }
}

impl Search {
    fn means(&self, entry: &Entry) -> bool {
        let Entry { subscriber, subscription, .. } = entry;
        let holds = |text: &str| holds(text, &self.text);
        self.text.is_empty()
            || subscriber.user.as_deref().is_some_and(holds)
            || holds(&subscriber.client)
            || holds(&subscriber.settings.name)
            || subscription.names().take(MOST_CHANNELS).any(|name| holds(name.as_str()))
    }

    fn rank(&self, entry: &Entry) -> u64 {
        let subscriber = &entry.subscriber;
        let age = || self.at.saturating_duration_since(subscriber.opened).as_micros();
        let age = || u64::try_from(age()).unwrap_or(u64::MAX);
        match self.order {
            Order::Newest => u64::MAX - age(),
            Order::Oldest => age(),
            Order::Backlog => subscriber.held() as u64,
            Order::Events => subscriber.delivered.get(),
        }
    }
}

/// Whether a text holds another one, which is in small letters. Names and addresses are ASCII.
fn holds(text: &str, wanted: &str) -> bool {
    wanted.is_empty()
        || text.as_bytes().windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted.as_bytes()))
}

fn seen(entry: &Entry, rank: u64) -> Seen {
    let Entry { subscriber, subscription, .. } = entry;
    let names = subscription.names();
    Seen {
        rank,
        key: subscriber.key.get(),
        serial: subscriber.serial,
        user: subscriber.user.clone(),
        more_channels: names.len().saturating_sub(MOST_CHANNELS),
        channels: names.take(MOST_CHANNELS).map(ToString::to_string).collect(),
        route: subscriber.settings.name.trim_end().to_owned(),
        client: subscriber.client.clone(),
        age: subscriber.opened.elapsed(),
        backlog: subscriber.held(),
        events: subscriber.delivered.get(),
        last_id: subscriber.cursor().to_string(),
        protocol: subscriber.protocol(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_whatever_its_letters() {
        for (text, wanted, is_there) in [
            ("user:Ana", "ana", true),
            ("user:Ana", "user:ana", true),
            ("10.0.0.1", "0.0.", true),
            ("ana", "anna", false),
            ("", "a", false),
        ] {
            assert_eq!(holds(text, wanted), is_there, "{text} {wanted}");
        }
    }
}
