//! `redis-pubsub`: what an app publishes to a channel of Redis.
//!
//! Redis keeps nothing of a channel, so this is at most once. Invariants: of several nodes, that one publishes a message
//! which held the lease when the message came to it; who does not hold it listens all the same, so that nothing is missed
//! between taking the lease and subscribing; messages wait in a queue with a bound, and what is over it is counted.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::redis::{RedisResult, cmd};
use tokio::sync::{Notify, mpsc};
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::feed::Feed;
use super::lease::Lease;
use super::link::{Connected, Link};

/// How many messages may wait for the hub, and how many bytes of them.
const QUEUE: (usize, usize) = (16_384, 32 << 20);
/// How many messages are handed to the hub at once.
const BATCH: usize = 256;
/// How long a source may take to hand in the rest and to give its lease up.
const LEAVING: Duration = Duration::from_secs(2);

/// One channel, or all whose names match a pattern.
#[derive(Debug)]
pub(super) struct Channel {
    link: Link,
    feed: Feed,
    name: String,
    lease: Lease,
}

/// What waits between the connection and the hub.
#[derive(Debug)]
struct Queue {
    messages: mpsc::Sender<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

impl Channel {
    pub(super) fn new(
        link: Link,
        feed: Feed,
        prefix: &str,
        name: String,
        (node, term): (&str, Duration),
    ) -> Self {
        let lease = Lease::new(format!("{prefix}source:lease:{name}"), node, term);
        Self { link, feed, name, lease }
    }

    /// Reads until the end.
    pub(super) async fn run(self, ending: impl Future<Output = ()>) {
        let (messages, waiting) = mpsc::channel(QUEUE.0);
        let queue = Arc::new(Queue { messages, bytes: Arc::default(), dropped: Arc::default() });
        let (bytes, dropped) = (queue.bytes.clone(), queue.dropped.clone());
        let mut publishing = std::pin::pin!(self.publish(waiting, bytes, dropped));
        tokio::select! {
            () = self.listen(queue, ending) => {}
            () = &mut publishing => {}
        }
        // The queue's other end went with the connection.
        let _ = timeout(LEAVING, publishing).await;
    }

    /// Keeps a connection, until the end.
    async fn listen(&self, queue: Arc<Queue>, ending: impl Future<Output = ()>) {
        let mut ending = std::pin::pin!(ending);
        loop {
            let mut connected = None;
            let lost = tokio::select! {
                Err(error) = self.hear(&queue, &mut connected) => error,
                () = &mut ending => {
                    if let Some(connected) = &mut connected {
                        let Connected { redis, .. } = connected;
                        let _ = timeout(LEAVING, self.lease.leave(redis)).await;
                    }
                    return;
                }
            };
            drop(connected);
            tokio::select! {
                () = self.link.is_lost(&lost) => {}
                () = &mut ending => return,
            }
        }
    }

    /// Listens on one connection for as long as that lasts.
    async fn hear(&self, queue: &Arc<Queue>, connection: &mut Option<Connected>) -> RedisResult<Infallible> {
        let (held, lease) = (self.lease.held(), self.lease.key.clone());
        let free = Arc::new(Notify::new());
        let (queue, is_free) = (queue.clone(), free.clone());
        let connected = self.link.connect(move |channel, body| {
            if channel == lease.as_bytes() {
                is_free.notify_one();
            } else if held.at(Instant::now()) {
                queue.put(body);
            }
        });
        let connected = connection.insert(connected.await?);
        let mut redis = connected.redis.clone();
        cmd("SUBSCRIBE").arg(&self.lease.key).exec_async(&mut redis).await?;
        if self.name.contains('*') {
            cmd("PSUBSCRIBE").arg(pattern(&self.name)).exec_async(&mut redis).await?;
        } else {
            cmd("SUBSCRIBE").arg(&self.name).exec_async(&mut redis).await?;
        }
        let mut ticks = interval(self.lease.every());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = free.notified() => {}
                error = connected.gone() => return Err(error),
            }
            // It also tells a server that hangs, since it must answer.
            self.lease.ask(&mut redis).await?;
            self.link.is_there();
        }
    }

    /// Hands on what comes, until nothing can come any more.
    async fn publish(
        &self,
        mut waiting: mpsc::Receiver<Vec<u8>>,
        bytes: Arc<AtomicUsize>,
        dropped: Arc<AtomicU64>,
    ) {
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            let taken = batch.iter().map(Vec::len).sum();
            bytes.fetch_sub(taken, Ordering::Relaxed);
            let publications = batch.drain(..).filter_map(|body| self.feed.read(&body, None)).collect();
            self.feed.publish(publications).await;
            let lost = dropped.swap(0, Ordering::Relaxed);
            if lost > 0 {
                self.feed.dropped(lost);
            }
            yield_now().await;
        }
    }
}

impl Queue {
    fn put(&self, body: Vec<u8>) {
        let length = body.len();
        let held = self.bytes.fetch_add(length, Ordering::Relaxed);
        if held + length > QUEUE.1 || self.messages.try_send(body).is_err() {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A name with `*` as Redis has it, to which also `?` and brackets would mean something.
fn pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_star_is_a_pattern() {
        assert_eq!(pattern("news.*"), "news.*");
        assert_eq!(pattern(r"a[1]?\*"), r"a\[1\]\?\\*");
    }

    #[test]
    fn what_is_over_a_bound_is_counted() {
        let (messages, mut waiting) = mpsc::channel(2);
        let queue = Queue { messages, bytes: Arc::default(), dropped: Arc::default() };
        for _ in 0..3 {
            queue.put(b"abc".to_vec());
        }
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 1);
        assert_eq!(queue.bytes.load(Ordering::Relaxed), 6);
        waiting.try_recv().unwrap();
        queue.put(vec![0; QUEUE.1]);
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 2);
        assert_eq!(queue.bytes.load(Ordering::Relaxed), 6);
    }
}
