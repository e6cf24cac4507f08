//! `redis-list`: lists of an app, one for each user, to which it appends; and the sets of what they have read.
//!
//! Every node reads the lists of the users who have streams on it, which it alone knows; a list of a user who is not there
//! waits where it is. Invariants: an entry is published under a key that is made of it, so that two nodes that have the same
//! store make one event of it; it is noted as published only after the hub has kept it; and what its user has read is
//! noted in the app's own set, by the id that is inside the entry.

mod books;
mod entry;
mod notices;

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Value, cmd, from_redis_value, pipe};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::config::{ReadSet, UserKey};
use crate::event::ChannelName;
use crate::hub::{Hub, Publication, Seen, Watch};
use crate::publish::Intake;

use super::feed::Feed;
use super::link::{Connected, Link};

use books::{Books, Noted};
use entry::{Digest, Looked, Place};
use notices::Notices;

/// How often all lists are looked at where the server tells of changes: it may have been told not to meanwhile.
const UNTOLD: Duration = Duration::from_secs(10);
/// How many lists are asked for at once.
const BATCH: usize = 128;
/// How long a mark waits for the node that has published the event to have noted that.
const LATE: Duration = Duration::from_secs(1);
/// The most marks that wait for a Redis.
const MAX_MARKS: usize = 65_536;

/// The lists of one source.
pub(super) struct Lists {
    link: Link,
    feed: Feed,
    hub: Hub,
    watch: Arc<Watch>,
    key: UserKey,
    every: Duration,
    configure: bool,
    books: Books,
    trial: String,
    /// The users with streams here, by their channels' names less the kind.
    users: HashMap<String, Place>,
    /// Events whose reading is still to be noted, and when it was first tried.
    marks: Vec<(String, u64, Option<Instant>)>,
}

/// How lists are read.
pub(super) struct Settings {
    pub(super) key: UserKey,
    pub(super) read: Option<ReadSet>,
    pub(super) every: Duration,
    pub(super) configure: bool,
}

/// A list that is looked at, and what of it is to be published.
struct Found {
    user: String,
    list: String,
    first: usize,
    is_whole: bool,
    entries: Vec<Vec<u8>>,
}

impl Lists {
    pub(super) fn new(
        link: Link,
        feed: Feed,
        (hub, watch): (Hub, Arc<Watch>),
        (prefix, node): (String, &str),
        settings: Settings,
    ) -> Self {
        let Settings { key, read, every, configure } = settings;
        let trial = format!("{prefix}source:trial:{node}");
        let books = Books { prefix, read };
        Self {
            link,
            feed,
            hub,
            watch,
            key,
            every,
            configure,
            books,
            trial,
            users: HashMap::new(),
            marks: Vec::new(),
        }
    }

    /// Reads until the end.
    pub(super) async fn run(mut self, ending: impl Future<Output = ()>) {
        let mut ending = std::pin::pin!(ending);
        loop {
            let lost = tokio::select! {
                Err(error) = self.read_on() => error,
                () = &mut ending => return,
            };
            tokio::select! {
                () = self.link.is_lost(&lost) => {}
                () = &mut ending => return,
            }
        }
    }

    /// Reads over one connection for as long as that lasts.
    async fn read_on(&mut self) -> RedisResult<Infallible> {
        let notices = Notices::new(self.key.clone(), self.link.database(), self.trial.clone());
        let notices = Arc::new(notices);
        let heard = notices.clone();
        let connected = self.link.connect(move |channel, _| heard.hear(channel)).await?;
        let mut redis = connected.redis.clone();
        if self.configure {
            Notices::configure(&mut redis).await?;
        }
        let is_told = notices.begin(&mut redis).await?;
        self.link.is_there();
        tracing::info!(
            lists = self.key.of("{user}"),
            is_told,
            "the lists of a source are read; whether Redis tells of changes or is asked, is_told says"
        );
        let mut ticks = interval(if is_told { UNTOLD } else { self.every });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.mark(&mut redis).await?;
            let due = self.next(&connected, &notices, &mut ticks, &mut redis).await?;
            for some in due.chunks(BATCH) {
                let mut again = self.look(&mut redis, some).await?;
                while !again.is_empty() {
                    again = self.look(&mut redis, &again).await?;
                }
            }
        }
    }

    /// Waits until there is something to do; gives the users whose lists are to be looked at.
    async fn next(
        &mut self,
        connected: &Connected,
        notices: &Notices,
        ticks: &mut tokio::time::Interval,
        redis: &mut MultiplexedConnection,
    ) -> RedisResult<Vec<String>> {
        let late = self.marks.iter().filter_map(|(.., tried)| *tried).min().map(|tried| tried + LATE);
        tokio::select! {
            seen = self.watch.next() => Ok(self.note(seen)),
            () = notices.notify.notified() => {
                let due = notices.take();
                if due.all {
                    return Ok(self.users.keys().cloned().collect());
                }
                Ok(due.users.into_iter().filter(|user| self.users.contains_key(user)).collect())
            }
            _ = ticks.tick() => {
                // A server that hangs is found out also where nobody is there to look for.
                cmd("PING").exec_async(redis).await?;
                Ok(self.users.keys().cloned().collect())
            }
            () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => Ok(Vec::new()),
            error = connected.gone() => Err(error),
        }
    }

    /// Takes note of users that have come, gone and read; gives those that have come.
    fn note(&mut self, seen: Seen) -> Vec<String> {
        let Seen { changed, read, lost } = seen;
        let there: HashSet<_> =
            self.hub.with_streams(changed.iter().cloned().collect()).into_iter().collect();
        let mut come = Vec::new();
        for channel in changed {
            let user = user_of(&channel);
            if !there.contains(&channel) {
                self.users.remove(user);
            } else if !self.users.contains_key(user) {
                self.users.insert(user.to_owned(), Place::default());
                come.push(user.to_owned());
            }
        }
        if self.books.read.is_some() {
            self.marks.extend(read.iter().map(|(channel, seq)| (user_of(channel).to_owned(), *seq, None)));
            let over = self.marks.len().saturating_sub(MAX_MARKS);
            self.marks.drain(..over);
            let lost = lost + u64::try_from(over).unwrap_or(u64::MAX);
            if lost > 0 {
                tracing::warn!(lost, "too much was read to note it in Redis; it may be sent again");
            }
        }
        come
    }

    /// Looks at lists and publishes what is new. Gives the users whose lists are to be looked at once more.
    async fn look(
        &mut self,
        redis: &mut MultiplexedConnection,
        users: &[String],
    ) -> RedisResult<Vec<String>> {
        let users: Vec<_> = users.iter().filter(|user| self.users.contains_key(*user)).collect();
        let mut ask = pipe();
        for user in &users {
            let (first, last) = self.users.get(*user).map(Place::range).unwrap_or_default();
            ask.cmd("LRANGE").arg(self.key.of(user)).arg(first).arg(last);
        }
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let answers: Vec<Value> = ask.ignore_errors().query_async(redis).await?;
        let mut again = Vec::new();
        let mut found = Vec::new();
        for (user, answer) in users.into_iter().zip(answers) {
            let list = self.key.of(user);
            let entries = match from_redis_value::<Vec<Vec<u8>>>(answer) {
                Ok(entries) => entries,
                // One that is no list, or that may not be read, must not keep the others from being read.
                Err(error) => {
                    self.feed.unreadable(&list, &error.into());
                    continue;
                }
            };
            let Some(place) = self.users.get_mut(user) else { continue };
            let length = match entries.len() {
                // It is longer than what was asked for, or just as long.
                entry::MOST => cmd("LLEN").arg(&list).query_async(redis).await?,
                length => length,
            };
            match place.look(entries, length) {
                Looked::Empty => self.books.forget(redis, (&list, self.feed.epoch())).await?,
                Looked::Other => {
                    *place = Place::default();
                    again.push(user.clone());
                }
                Looked::On(_, entries) if entries.is_empty() => {}
                Looked::On(first, entries) => {
                    if entries.len() >= entry::MOST {
                        again.push(user.clone());
                    }
                    found.push(Found { user: user.clone(), list, first, is_whole: false, entries });
                }
                Looked::Whole(first, entries) => {
                    found.push(Found { user: user.clone(), list, first, is_whole: true, entries });
                }
            }
        }
        for found in found {
            self.publish(redis, found).await?;
        }
        Ok(again)
    }

    /// Publishes what is new of a list, and notes it.
    async fn publish(&mut self, redis: &mut MultiplexedConnection, found: Found) -> RedisResult<()> {
        let Found { user, list, first, is_whole, entries } = found;
        let epoch = self.feed.epoch();
        let mut named: Vec<(Digest, Option<String>)> = Vec::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate() {
            let id = self.books.read.as_ref().map_or(&[][..], |read| &read.id);
            let id = std::str::from_utf8(entry)
                .ok()
                .filter(|_| !id.is_empty())
                .and_then(|json| Intake::find(json, id));
            named.push((entry::name(entry, id.is_some(), first + at), id));
        }
        let fresh = match is_whole {
            true => self.books.fresh(redis, (&user, &list, epoch), &named).await?,
            false => vec![true; named.len()],
        };
        let mut publications: Vec<Publication> = Vec::new();
        let mut noted = Vec::new();
        for ((entry, (name, id)), _) in entries.iter().zip(named).zip(fresh).filter(|(_, fresh)| *fresh) {
            let Some(mut publication) = self.feed.read(entry, Some(&user)) else {
                noted.push((Noted { name, seq: 0, id: None }, None));
                continue;
            };
            // With spaces, which a publisher's own key cannot have.
            publication.key = Some(format!("list {list} {name}").into());
            noted.push((Noted { name, seq: 0, id }, Some(publications.len())));
            publications.push(publication);
        }
        let taken = self.feed.publish(publications).await;
        for (noted, place) in &mut noted {
            noted.seq = place.and_then(|place| taken[place]).map_or(0, |id| id.seq);
        }
        let noted: Vec<_> = noted.into_iter().map(|(noted, _)| noted).collect();
        if !noted.is_empty() {
            self.books.publish(redis, (&list, epoch), &noted).await?;
        }
        if let (Some(place), Some(last)) = (self.users.get_mut(&user), entries.last()) {
            place.up_to(first + entries.len() - 1, last);
        }
        Ok(())
    }

    /// Notes in the app's sets what was read.
    async fn mark(&mut self, redis: &mut MultiplexedConnection) -> RedisResult<()> {
        let now = Instant::now();
        let is_due = |tried: &Option<Instant>| tried.is_none_or(|tried| tried + LATE <= now);
        let mut by_user: HashMap<&str, Vec<u64>> = HashMap::new();
        for (user, seq, _) in self.marks.iter().filter(|(.., tried)| is_due(tried)) {
            by_user.entry(user).or_default().push(*seq);
        }
        if by_user.is_empty() {
            return Ok(());
        }
        let users: Vec<_> =
            by_user.into_iter().map(|(user, seqs)| (user.to_owned(), self.key.of(user), seqs)).collect();
        let mut unknown = HashSet::new();
        for some in users.chunks(BATCH) {
            let answers = self.books.read(redis, self.feed.epoch(), some).await?;
            for ((user, list, _), answer) in some.iter().zip(answers) {
                let seqs = answer.unwrap_or_else(|error| {
                    self.feed.unreadable(list, &error);
                    Vec::new()
                });
                unknown.extend(seqs.into_iter().map(|seq| (user.clone(), seq)));
            }
        }
        // What is not known may have been published by another node a moment ago; it is asked for once more. It may also
        // be no entry of a list at all.
        self.marks.retain_mut(|(user, seq, tried)| match tried {
            Some(at) => *at + LATE > now,
            None => {
                *tried = Some(now);
                unknown.contains(&(user.clone(), *seq))
            }
        });
        Ok(())
    }
}

fn user_of(channel: &ChannelName) -> &str {
    channel.as_str().split_once(':').map_or("", |(_, user)| user)
}
