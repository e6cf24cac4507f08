//! The link of a node to Redis: keeps a connection, over every break, and answers orders also while there is none.
//!
//! Invariants: every publication and kick is answered once, and what was never sent is never answered as if it might have
//! been; all news go through one queue, in the order of things.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::channels::Channels;
use super::connection::{Attached, ConnectError, Connector, Known, ServerInfo};
use super::queue::{self, NotSent, Receiver};
use super::scripts::Scripts;
use super::session::{End, Session};
use super::{News, NodeId, NotStored, Order};
use crate::config::Redis;
use crate::event::Epoch;
use crate::store::Limits;

/// The first pause after a failed try to connect, and the longest one: Redis is used within a second of its return.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(800));
/// A connection that held this long was a good one, so the next try begins at once again.
const GOOD: Duration = Duration::from_secs(5);
/// At most this long after a break the first try is made: not all nodes at the same moment.
const SCATTER: Duration = Duration::from_millis(20);
/// So many orders wait for Redis to come back. More publications are refused, and of marks the oldest are forgotten: what
/// they spoke of is told again.
const WAITING: usize = 10_000;
/// So many bytes of news wait for the hub at most. A hub that is further behind is told that Redis is away, and reads what
/// it missed.
const NEWS: u32 = 16 << 20;
/// So many bytes of events wait for the loads of their channels at most.
const HELD: usize = 16 << 20;
/// The head of a deployment outlives its events by so much, if no node is there.
const HEAD_SPARE: Duration = Duration::from_secs(3600);
/// How exact times need to be, as a part of the age of events.
const GRAINS: u64 = 1000;

/// A node's link to Redis.
pub struct Link {
    pub(super) connector: Option<Connector>,
    pub(super) shared: Shared,
}

/// What outlives a connection.
pub(super) struct Shared {
    pub(super) scripts: Arc<Scripts>,
    pub(super) prefix: String,
    pub(super) bounds: Bounds,
    pub(super) me: NodeId,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    news: queue::Sender<News>,
    /// What waits behind news for which there was no room: only what somebody waits for.
    unsaid: Vec<News>,
    /// Whether there was no room for news.
    pub(super) is_behind: bool,
    pub(super) channels: Channels,
    pub(super) known: Known,
    pub(super) epoch: Option<Epoch>,
    /// Whether somebody waits to hear of the head.
    pub(super) pass_wanted: bool,
    retry_for: Duration,
    /// What waits for Redis to come back, each until when.
    waiting: VecDeque<(Instant, Order)>,
}

/// What the scripts need to know of how much history is kept, in milliseconds and bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) age_ms: u64,
    pub(super) grain_ms: u64,
    pub(super) head_ms: u64,
}

impl Bounds {
    fn new(limits: &Limits) -> Self {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let age_ms = ms(limits.age);
        Self {
            events: limits.events as u64,
            bytes: limits.bytes as u64,
            age_ms,
            grain_ms: (age_ms / GRAINS).max(1000),
            head_ms: ms(limits.age + HEAD_SPARE),
        }
    }
}

impl Link {
    /// A link that is not connected yet and takes these orders, and where it says what happened. It ends when nobody can
    /// give orders any more.
    pub fn new(
        redis: &Redis,
        limits: &Limits,
        me: NodeId,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Result<(Self, Receiver<News>), ConnectError> {
        let (news, news_out) = queue::bounded(NEWS, News::weight);
        let shared = Shared {
            scripts: Arc::new(Scripts::new()),
            prefix: redis.prefix.clone(),
            bounds: Bounds::new(limits),
            me,
            orders,
            news,
            unsaid: Vec::new(),
            is_behind: false,
            channels: Channels::new(HELD),
            known: Known::default(),
            epoch: None,
            pass_wanted: false,
            retry_for: redis.retry_for,
            waiting: VecDeque::new(),
        };
        Ok((Self { connector: Some(Connector::new(redis)?), shared }, news_out))
    }

    /// Connects and looks whether this Redis will do, without joining a deployment there.
    pub async fn examine(redis: &Redis) -> Result<ServerInfo, ConnectError> {
        Connector::new(redis)?.examine(&Scripts::new()).await
    }

    /// Runs until nobody can give orders any more, and what was ordered is done or has had its time.
    pub async fn run(mut self) {
        let Some(mut connector) = self.connector.take() else { return };
        let shared = &mut self.shared;
        let mut pause = Duration::ZERO;
        let mut said = false;
        let mut warned = false;
        loop {
            let until = Instant::now() + pause + scattered(SCATTER);
            if !shared.wait(sleep_until(until)).await {
                return;
            }
            let attached = match shared.attach(&mut connector).await {
                None => return,
                Some(Ok(attached)) => attached,
                Some(Err(error)) => {
                    if !said {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::error!(
                            why = %error, cause = cause.unwrap_or_default(),
                            "there is no Redis: publishers are told 503 until there is"
                        );
                        said = true;
                    }
                    pause = longer(pause);
                    continue;
                }
            };
            let since = Instant::now();
            if said {
                tracing::info!("Redis is there again");
                said = false;
            }
            if !warned && attached.server.when_full != "noeviction" {
                warned = true;
                tracing::warn!(
                    policy = attached.server.when_full,
                    "this Redis drops keys when its memory is full, and with them history: set maxmemory-policy to \
                     noeviction"
                );
            }
            let end = Session::begin(shared, attached).run().await;
            if !shared.say_away().await {
                return;
            }
            match end {
                End::Done => return,
                End::Anew => pause = Duration::ZERO,
                End::Broken(why) => {
                    tracing::warn!(why, "Redis is away");
                    pause = if since.elapsed() > GOOD { Duration::ZERO } else { longer(pause) };
                }
            }
        }
    }
}

impl Shared {
    /// Says what happened. The hub may be gone already, at the end.
    pub(super) fn tell(&mut self, news: News) {
        if !self.is_behind {
            match self.news.try_send(news) {
                Ok(()) | Err(NotSent::Closed) => {}
                Err(NotSent::Full(news)) => {
                    self.is_behind = true;
                    self.tell(news);
                }
            }
            return;
        }
        match news {
            News::Published { .. } | News::Ordered { .. } => self.unsaid.push(news),
            // They are to be loaded again.
            News::Event(told) => self.channels.untold(&told.channel, told.record.seq),
            News::Loaded { channel, records, .. } => {
                records.first().iter().for_each(|first| self.channels.untold(&channel, first.seq));
            }
            _ => {}
        }
    }

    /// Says that Redis is away, behind all that is still to be said. Whether there is still somebody who hears it.
    async fn say_away(&mut self) -> bool {
        for news in std::mem::take(&mut self.unsaid).into_iter().chain([News::Away]) {
            if !self.news.send(news).await {
                return false;
            }
        }
        self.is_behind = false;
        true
    }

    /// Takes a publication or a mark that could not be sent, to be sent when Redis is back.
    pub(super) fn put_by(&mut self, order: Order) {
        match order {
            Order::Follow { channel } => self.channels.follow(channel),
            Order::Leave { channel } => {
                // What was held has no publisher any more that could be told.
                self.channels.leave(&channel);
            }
            Order::Pass => self.pass_wanted = true,
            Order::Publish { ticket, .. } if self.retry_for.is_zero() || self.waiting.len() >= WAITING => {
                self.tell(News::Published { ticket, outcome: Err(NotStored::Away) });
            }
            Order::Publish { .. } => self.waiting.push_back((Instant::now() + self.retry_for, order)),
            Order::Kick { ticket, .. } => {
                self.tell(News::Ordered { ticket, outcome: Err(NotStored::Away) });
            }
            Order::Mark { .. } | Order::Counted { .. } | Order::Remember { .. } => {
                if self.waiting.len() >= WAITING {
                    self.forget_a_mark();
                }
                self.waiting.push_back((Instant::now(), order));
            }
            Order::Tell { .. } => {}
        }
    }

    /// What has waited, in order.
    pub(super) fn take_waiting(&mut self) -> impl Iterator<Item = Order> + use<> {
        std::mem::take(&mut self.waiting).into_iter().map(|(_, order)| order)
    }

    /// Joins another epoch or the same one: what is known now.
    pub(super) fn join(&mut self, epoch: Epoch, head: u64, holes: &str) {
        let is_new = self.epoch != Some(epoch);
        if is_new && self.epoch.is_some() {
            tracing::warn!(%epoch, "history in Redis has begun anew: subscribers are told of a gap");
        }
        if is_new {
            // They speak of ids that are not there any more.
            self.waiting.retain(|(_, order)| matches!(order, Order::Publish { .. } | Order::Remember { .. }));
            self.known.seen = 0;
        }
        self.channels.begin(is_new);
        self.epoch = Some(epoch);
        self.known.epoch = epoch.to_string();
        self.known.holes = holes.to_owned();
        self.saw(head);
    }

    /// Takes note of an id of this epoch.
    pub(super) fn saw(&mut self, seq: u64) {
        self.known.seen = self.known.seen.max(seq);
    }

    /// Connects, and takes orders meanwhile. None if there is nobody any more.
    async fn attach(&mut self, connector: &mut Connector) -> Option<Result<Attached, ConnectError>> {
        let scripts = self.scripts.clone();
        let own = ["all".to_owned(), format!("node:{}", self.me)];
        let own = own.map(|name| format!("{}{name}", self.prefix).into_bytes());
        let known = self.known.clone();
        let fresh = Epoch::from_bits(fastrand::u32(..)).to_string();
        let attaching = connector.attach(&scripts, &own, &known, &fresh, self.bounds.head_ms);
        let mut attaching = std::pin::pin!(attaching);
        loop {
            tokio::select! {
                attached = &mut attaching => return Some(attached),
                is_on = self.wait_for_order() => if !is_on { return None },
            }
        }
    }

    /// Takes orders until then. Says whether there is still somebody who gives them.
    async fn wait(&mut self, until: impl Future<Output = ()>) -> bool {
        let mut until = std::pin::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return true,
                is_on = self.wait_for_order() => if !is_on { return false },
            }
        }
    }

    /// Takes an order, or ends the waiting of a publication.
    async fn wait_for_order(&mut self) -> bool {
        let due = self
            .waiting
            .iter()
            .find(|(_, order)| matches!(order, Order::Publish { .. }))
            .map(|(due, _)| *due);
        let expiry = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = self.orders.recv() => match order {
                Some(order) => self.put_by(order),
                None => return false,
            },
            () = expiry => self.refuse_overdue(),
        }
        true
    }

    fn refuse_overdue(&mut self) {
        let now = Instant::now();
        let mut refused = Vec::new();
        self.waiting.retain(|(due, order)| match order {
            Order::Publish { ticket, .. } if *due <= now => {
                refused.push(*ticket);
                false
            }
            _ => true,
        });
        for ticket in refused {
            self.tell(News::Published { ticket, outcome: Err(NotStored::Away) });
        }
    }

    fn forget_a_mark(&mut self) {
        if let Some(oldest) =
            self.waiting.iter().position(|(_, order)| !matches!(order, Order::Publish { .. }))
        {
            self.waiting.remove(oldest);
        }
    }
}

/// The pause after a failure.
fn longer(pause: Duration) -> Duration {
    let pause = (2 * pause).clamp(PAUSES.0, PAUSES.1);
    pause / 2 + scattered(pause / 2)
}

fn scattered(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests;
