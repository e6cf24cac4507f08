//! One connection to Redis, from its attachment to its end.
//!
//! Invariant: what was heard on the feed before a reply came on it is dealt with before that reply; so a reply that names
//! a head is behind all events up to it.

mod bundle;
mod feed;
mod orders;

use std::collections::HashMap;
use std::time::Duration;

use redis::{PushInfo, RedisError};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use self::bundle::{Bundle, ON_THE_WAY};
use super::channels::Asked;
use super::codec;
use super::connection::Attached;
use super::lane::{IN_FLIGHT, Lane};
use super::link::Shared;
use super::queue::Receiver;
use super::{Answer, News, NodeId, NotStored, Order, Ticket};
use crate::event::{ChannelName, Epoch};

/// So many loads are in flight, each of about [`LOAD_BYTES`] or [`LOAD_EVENTS`] at most.
const LOADS: usize = 4;
const LOAD_EVENTS: usize = 1000;
const LOAD_BYTES: usize = 1 << 20;
/// So many orders are taken in one go.
const AT_ONCE: usize = 256;
/// How often a connection on which nothing is awaited is tried.
const PING: Duration = Duration::from_secs(1);
/// How long what was ordered last may take when the process ends.
const FINISH: Duration = Duration::from_secs(2);
/// How often the same complaint is made.
const COMPLAIN: Duration = Duration::from_secs(10);

/// How a session ended.
pub(super) enum End {
    /// Nobody gives orders any more.
    Done,
    /// Redis is there, and has begun anew: it is to be joined again at once.
    Anew,
    /// The connection is gone.
    Broken(String),
}

/// A connection that is in use.
pub(super) struct Session<'l> {
    shared: &'l mut Shared,
    epoch: Epoch,
    commands: Lane<Sent>,
    feed: Lane<Fed>,
    pushes: Receiver<PushInfo>,
    /// Publications that wait to be sent together, and how many calls of such are on their way.
    bundle: Bundle,
    publishing: usize,
    /// Answers for other nodes that wait to be told together.
    answers: HashMap<NodeId, Vec<Answer>>,
    loads: usize,
    is_passing: bool,
    pulse: Interval,
    complained: Option<Instant>,
}

/// A command in flight.
enum Sent {
    /// Batches, each with its size, in order.
    Publish(Vec<(Ticket, usize)>),
    Kick {
        ticket: Ticket,
    },
    /// A mark and the like, which may be done twice.
    Again(Order),
    Other,
}

/// A command in flight on the feed.
enum Fed {
    Load(Vec<Asked>),
    Pass,
    Other,
}

impl<'l> Session<'l> {
    /// Says that Redis is there.
    pub(super) fn begin(shared: &'l mut Shared, attached: Attached) -> Self {
        let Attached { commands, feed, pushes, joined, .. } = attached;
        shared.join(joined.epoch, joined.head, &joined.holes);
        let holes = codec::ranges(&joined.holes).unwrap_or_default();
        let (epoch, head) = (joined.epoch, joined.head);
        shared.tell(News::Attached { epoch, head, holes, blocks: joined.blocks });
        // Where nothing is followed, there is no load whose end would be told.
        shared.pass_wanted |= shared.channels.are_level();
        let mut pulse = interval(PING);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pulse.reset();
        Self {
            shared,
            epoch,
            commands: Lane::new(commands),
            feed: Lane::new(feed),
            pushes,
            bundle: Bundle::default(),
            publishing: 0,
            answers: HashMap::new(),
            loads: 0,
            is_passing: false,
            pulse,
            complained: None,
        }
    }

    /// Does what is ordered and tells what happens, until the connection breaks.
    pub(super) async fn run(mut self) -> End {
        for order in self.shared.take_waiting() {
            self.take(order).await;
        }
        let end = loop {
            if self.shared.is_behind {
                break End::Broken("the hub does not keep up with the news".to_owned());
            }
            self.flush().await;
            if let Err(end) = self.step().await {
                break end;
            }
        };
        if matches!(end, End::Done) {
            // What was read meanwhile, and the like. Without an answer in time nobody knows, as after any break.
            let _ = timeout(FINISH, self.finish()).await;
        }
        let Self { commands, shared, mut bundle, .. } = self;
        for order in bundle.unsent() {
            shared.put_by(order);
        }
        for sent in commands.give_up() {
            lost(shared, sent);
        }
        end
    }

    async fn step(&mut self) -> Result<(), End> {
        let has_room = self.commands.len() < IN_FLIGHT && self.feed.len() < IN_FLIGHT;
        tokio::select! {
            push = self.pushes.recv() => match push {
                Some(push) => self.hear(push)?,
                None => return Err(self.cut()),
            },
            (fed, reply) = self.feed.next() => {
                while let Some(push) = self.pushes.try_recv() {
                    self.hear(push)?;
                }
                if self.pushes.has_ended() {
                    return Err(self.cut());
                }
                self.fed(fed, reply)?;
            }
            (sent, reply) = self.commands.next() => self.answered(sent, reply)?,
            order = self.shared.orders.recv(), if has_room => {
                let Some(order) = order else { return Err(End::Done) };
                self.take(order).await;
                for _ in 1..AT_ONCE {
                    let Ok(order) = self.shared.orders.try_recv() else { break };
                    self.take(order).await;
                }
            }
            _ = self.pulse.tick() => self.ping().await,
        }
        Ok(())
    }

    /// Why nothing more is heard.
    fn cut(&self) -> End {
        End::Broken(match self.pushes.has_ended() {
            true => "more is told than can be taken in".to_owned(),
            false => "the connection was closed".to_owned(),
        })
    }

    /// Waits until all that was ordered is done.
    async fn finish(&mut self) {
        self.flush().await;
        while self.commands.len() > 0 {
            let (sent, reply) = self.commands.next().await;
            if self.answered(sent, reply).is_err() {
                return;
            }
            self.flush().await;
        }
    }

    /// Sends what was gathered.
    async fn flush(&mut self) {
        if self.publishing < ON_THE_WAY {
            self.publish().await;
        }
        for (to, answers) in std::mem::take(&mut self.answers) {
            let mut tell = redis::cmd("PUBLISH");
            tell.arg(format!("{}node:{to}", self.shared.prefix)).arg(codec::answers(&answers));
            self.commands.send(Sent::Other, tell).await;
        }
        while self.feed.len() < IN_FLIGHT {
            let (join, part) = self.shared.channels.take_changes();
            if join.is_empty() && part.is_empty() {
                break;
            }
            if !part.is_empty() {
                let names = self.names(&part);
                self.feed.unsubscribe(Fed::Other, names).await;
            }
            if !join.is_empty() {
                let names = self.names(&join);
                self.feed.subscribe(Fed::Other, names).await;
            }
        }
        while self.loads < LOADS && self.feed.len() < IN_FLIGHT {
            let loads = self.shared.channels.take_loads();
            if loads.is_empty() {
                break;
            }
            let mut call = self.call(self.shared.scripts.load.call());
            call.arg(self.epoch.as_str()).arg(self.shared.bounds.age_ms).arg(LOAD_EVENTS).arg(LOAD_BYTES);
            for (asked, since) in &loads {
                call.arg(asked.channel.as_str()).arg(since);
            }
            self.loads += 1;
            self.feed.send(Fed::Load(loads.into_iter().map(|(asked, _)| asked).collect()), call).await;
        }
        if self.shared.pass_wanted && !self.is_passing {
            self.shared.pass_wanted = false;
            self.pass().await;
        }
    }

    async fn pass(&mut self) {
        let mut call = self.call(self.shared.scripts.pass.call());
        call.arg(self.epoch.as_str()).arg(self.shared.bounds.head_ms);
        self.is_passing = true;
        self.feed.send(Fed::Pass, call).await;
    }

    fn names(&self, channels: &[ChannelName]) -> Vec<Vec<u8>> {
        channels.iter().map(|channel| format!("{}ch:{channel}", self.shared.prefix).into_bytes()).collect()
    }

    /// Tries what is idle: a server that stopped without a word is found out, and one that lost all it had.
    async fn ping(&mut self) {
        if self.feed.len() == 0 {
            self.pass().await;
        }
        if self.commands.len() == 0 {
            self.commands.send(Sent::Other, redis::cmd("PING")).await;
        }
    }

    /// Writes into the log, but not all the time.
    fn complain(&mut self, what: &str, help: &str) {
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAIN) {
            self.complained = Some(Instant::now());
            tracing::error!(what, help, "Redis");
        }
    }
}

/// Answers what was in flight when the connection broke.
fn lost(shared: &mut Shared, sent: Sent) {
    match sent {
        Sent::Publish(batches) => refuse(shared, &batches, NotStored::Unknown),
        Sent::Kick { ticket } => shared.tell(News::Ordered { ticket, outcome: Err(NotStored::Unknown) }),
        Sent::Again(order) => shared.put_by(order),
        Sent::Other => {}
    }
}

fn refuse(shared: &mut Shared, batches: &[(Ticket, usize)], why: NotStored) {
    for (ticket, _) in batches {
        shared.tell(News::Published { ticket: *ticket, outcome: Err(why) });
    }
}

fn end_of(error: RedisError) -> End {
    match error.code() {
        Some("ANEW" | "NOSCRIPT") => End::Anew,
        _ => End::Broken(error.to_string()),
    }
}
