//! `redis-stream`: a stream of Redis, read as a consumer group that all nodes share.
//!
//! At least once, and with the entry's id as the key, once. Invariants: an entry is acknowledged only after the hub has kept
//! it, or when it was put aside because it can be no publication; what a consumer leaves undone another one takes over; one
//! bad entry does not stop the rest.

mod entry;

use std::convert::Infallible;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::streams::StreamInfoConsumersReply;
use ::redis::{RedisResult, Value, cmd, pipe};
use tokio::time::Instant;

use super::feed::Feed;
use super::link::Link;

use entry::Entry;

/// How many entries are read at once.
const BATCH: usize = 100;
/// How long the server may wait for entries, in milliseconds: shorter than an answer may take.
const WAIT: u64 = 1000;
/// How long an entry may be undone before another consumer takes it over.
const UNDONE: Duration = Duration::from_secs(30);
/// How often it is looked for such entries.
const LOOK: Duration = Duration::from_secs(5);
/// A consumer that has nothing to do and was not seen for so long is gone.
const GONE: Duration = Duration::from_secs(600);
/// About how many entries are kept of those that can be no publication.
const MAX_REJECTED: usize = 1000;

/// One stream.
#[derive(Debug)]
pub(super) struct Group {
    link: Link,
    feed: Feed,
    stream: String,
    group: String,
    /// This node's name in the group.
    consumer: String,
}

impl Group {
    pub(super) fn new(link: Link, feed: Feed, (stream, group): (String, String), node: &str) -> Self {
        Self { link, feed, stream, group, consumer: node.to_owned() }
    }

    /// Reads until the end. What is undone then, another node takes over.
    pub(super) async fn run(self, ending: impl Future<Output = ()>) {
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
    async fn read_on(&self) -> RedisResult<Infallible> {
        let connected = self.link.connect(|_, _| {}).await?;
        let mut redis = connected.redis;
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(&self.stream).arg(&self.group).arg(0).arg("MKSTREAM");
        match create.exec_async(&mut redis).await {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
            _ => self.link.is_there(),
        }
        // What this node had been given when it lost its connection.
        loop {
            let own = self.read(&mut redis, "0").await?;
            if own.is_empty() {
                break;
            }
            self.take(&mut redis, own).await?;
        }
        let mut looked: Option<Instant> = None;
        loop {
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                self.take_over(&mut redis).await?;
                looked = Some(Instant::now());
            }
            let new = self.read(&mut redis, ">").await?;
            self.take(&mut redis, new).await?;
        }
    }

    async fn read(&self, redis: &mut MultiplexedConnection, from: &str) -> RedisResult<Vec<Entry>> {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(&self.group).arg(&self.consumer).arg("COUNT").arg(BATCH).arg("BLOCK").arg(WAIT);
        let answer: Value = read.arg("STREAMS").arg(&self.stream).arg(from).query_async(redis).await?;
        Ok(entry::read(answer))
    }

    /// Takes over what others have left undone, and drops who is gone.
    async fn take_over(&self, redis: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut from = "0-0".to_owned();
        loop {
            let mut claim = cmd("XAUTOCLAIM");
            claim.arg(&self.stream).arg(&self.group).arg(&self.consumer).arg(millis(UNDONE)).arg(&from);
            let (next, entries) = entry::claimed(claim.arg("COUNT").arg(BATCH).query_async(redis).await?);
            self.take(redis, entries).await?;
            if next.is_empty() || next == "0-0" {
                break;
            }
            from = next;
        }
        let mut ask = cmd("XINFO");
        let known: StreamInfoConsumersReply =
            ask.arg("CONSUMERS").arg(&self.stream).arg(&self.group).query_async(redis).await?;
        for consumer in known.consumers {
            let is_gone =
                consumer.pending == 0 && u128::try_from(consumer.idle).unwrap_or(0) > GONE.as_millis();
            if is_gone && consumer.name != self.consumer && consumer.name.starts_with(super::NODE) {
                let mut forget = cmd("XGROUP");
                forget.arg("DELCONSUMER").arg(&self.stream).arg(&self.group).arg(consumer.name);
                forget.exec_async(redis).await?;
            }
        }
        Ok(())
    }

    /// Publishes entries, and acknowledges each when it is kept or put aside.
    async fn take(&self, redis: &mut MultiplexedConnection, entries: Vec<Entry>) -> RedisResult<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut publications = Vec::new();
        let mut places = Vec::with_capacity(entries.len());
        for entry in &entries {
            // What is not JSON is refused as such.
            let json = entry.json().unwrap_or_default();
            // An entry that was taken out of the stream has nothing left to say.
            let publication = if entry.fields.is_empty() { None } else { self.feed.read(&json, None) };
            places.push(publication.map(|mut publication| {
                // With spaces, which a publisher's own key cannot have.
                let key = || format!("stream {} {}", self.stream, entry.id).into();
                publication.key.get_or_insert_with(key);
                publications.push(publication);
                publications.len() - 1
            }));
        }
        let taken = self.feed.publish(publications).await;
        let mut done = pipe();
        done.atomic();
        for (entry, place) in entries.iter().zip(places) {
            let is_taken = place.is_some_and(|place| taken[place].is_some());
            if !is_taken && !entry.fields.is_empty() {
                let aside = done.cmd("XADD").arg(format!("{}:rejected", self.stream));
                aside.arg("MAXLEN").arg("~").arg(MAX_REJECTED).arg("*");
                for (name, value) in &entry.fields {
                    aside.arg(name).arg(value);
                }
                aside.ignore();
            }
        }
        let ids: Vec<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
        done.cmd("XACK").arg(&self.stream).arg(&self.group).arg(ids).ignore();
        done.exec_async(redis).await
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
