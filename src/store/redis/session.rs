//! One connection to Redis, from its attachment to its end.
//!
//! Invariant: what was heard on the feed before a reply came on it is dealt with before that reply; so a reply that names
//! a head is behind all events up to it.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Cmd, PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::channels::{Asked, Fate, Unneeded};
use super::codec::{self, Heard};
use super::connection::Attached;
use super::lane::{IN_FLIGHT, Lane};
use super::link::Shared;
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
    pushes: mpsc::UnboundedReceiver<PushInfo>,
    /// Answers for other nodes that wait to be told together.
    answers: HashMap<NodeId, Vec<Answer>>,
    loads: usize,
    is_passing: bool,
    pulse: Interval,
    complained: Option<Instant>,
}

/// A command in flight.
enum Sent {
    Publish {
        ticket: Ticket,
        batch: usize,
    },
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
            self.flush().await;
            if let Err(end) = self.step().await {
                break end;
            }
        };
        let Self { commands, shared, .. } = self;
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
                None => return Err(End::Broken("the connection was closed".to_owned())),
            },
            (fed, reply) = self.feed.next() => {
                while let Ok(push) = self.pushes.try_recv() {
                    self.hear(push)?;
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

    async fn take(&mut self, order: Order) {
        let scripts = &self.shared.scripts;
        match order {
            Order::Publish { ticket, batch } => {
                let bounds = self.shared.bounds;
                let mut call = self.call(scripts.publish.call());
                call.arg(self.epoch.as_str()).arg(self.shared.me.to_string()).arg(ticket.0);
                call.arg(bounds.events).arg(bounds.bytes).arg(bounds.age_ms).arg(bounds.grain_ms);
                for entry in &batch {
                    codec::add_entry(&mut call, entry);
                }
                self.commands.send(Sent::Publish { ticket, batch: batch.len() }, call).await;
            }
            Order::Follow { channel } => self.shared.channels.follow(channel),
            Order::Leave { channel } => {
                for copy in self.shared.channels.leave(&channel) {
                    self.unneeded(copy);
                }
            }
            Order::Pass => self.shared.pass_wanted = true,
            Order::Mark { ref own, ref seqs, up_to, ticket } => {
                let mut call = self.call(scripts.mark.call());
                call.arg(self.epoch.as_str()).arg(self.shared.me.to_string()).arg(ticket.0);
                call.arg(self.shared.bounds.age_ms).arg(crate::store::MAX_APART);
                call.arg(own.as_str()).arg(up_to).arg(seqs);
                self.commands.send(Sent::Again(order), call).await;
            }
            Order::Kick { ticket, user, event, block_ms } => {
                let mut call = self.call(scripts.kick.call());
                call.arg(self.shared.me.to_string()).arg(ticket.0).arg(&*user);
                match block_ms {
                    Some(block) => call.arg(block),
                    None => call.arg(""),
                };
                call.arg(codec::farewell(event.as_ref()));
                self.commands.send(Sent::Kick { ticket }, call).await;
            }
            Order::Tell { to, answer } => self.answer(to, answer),
            Order::Counted { ref key, seq, streams } => {
                let mut call = self.call(scripts.key.call());
                call.arg(self.epoch.as_str()).arg(&**key).arg(seq).arg(streams).arg("");
                self.commands.send(Sent::Again(order), call).await;
            }
            Order::Remember { ref key, until } => {
                let mut call = self.call(scripts.key.call());
                call.arg(self.epoch.as_str()).arg(&**key).arg("").arg("").arg(until.0);
                self.commands.send(Sent::Again(order), call).await;
            }
        }
    }

    fn call(&self, mut call: Cmd) -> Cmd {
        call.arg(&self.shared.prefix);
        call
    }

    /// Sends what was gathered.
    async fn flush(&mut self) {
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

    /// Takes what is told on the feed.
    fn hear(&mut self, push: PushInfo) -> Result<(), End> {
        match push.kind {
            PushKind::Message => {}
            PushKind::Disconnection => return Err(End::Broken("the connection was closed".to_owned())),
            _ => return Ok(()),
        }
        let [Value::BulkString(channel), Value::BulkString(told)] = &push.data[..] else { return Ok(()) };
        let channel =
            std::str::from_utf8(channel).ok().and_then(|name| name.strip_prefix(&*self.shared.prefix));
        let heard = codec::heard(channel.and_then(|name| name.strip_prefix("ch:")), told);
        let Some(heard) = heard else {
            self.complain("something was told in Redis that is not understood", "is it of another version?");
            return Ok(());
        };
        match heard {
            Heard::Event(epoch, told) => {
                self.is_ours(epoch)?;
                self.shared.saw(told.record.seq);
                match self.shared.channels.heard(told) {
                    Fate::Told(told) => self.shared.tell(News::Event(told)),
                    Fate::Held => {}
                    Fate::Unneeded(copy) => self.unneeded(copy),
                }
            }
            Heard::Read { epoch, own, seqs, up_to, by } => {
                self.is_ours(epoch)?;
                // What is still to be loaded has it already, or is told of it by the load.
                if self.shared.channels.is_loaded(&own) {
                    self.shared.tell(News::Read { own, seqs, up_to, by });
                }
            }
            Heard::Kick { user, event, until, by } => {
                self.shared.tell(News::Kick { user, event, until, by });
            }
            Heard::Answers(answers) => self.shared.tell(News::Answers(answers)),
            Heard::Began(epoch) => self.is_ours(epoch)?,
        }
        Ok(())
    }

    fn is_ours(&self, epoch: Epoch) -> Result<(), End> {
        if epoch == self.epoch { Ok(()) } else { Err(End::Anew) }
    }

    /// Takes a reply on the feed.
    fn fed(&mut self, fed: Fed, reply: RedisResult<Value>) -> Result<(), End> {
        let reply = reply.and_then(Value::extract_error).map_err(end_of)?;
        let nonsense = || End::Broken("a reply that makes no sense".to_owned());
        match fed {
            Fed::Other => {}
            Fed::Pass => {
                self.is_passing = false;
                self.passed(codec::number(&reply).ok_or_else(nonsense)?);
            }
            Fed::Load(asked) => {
                self.loads -= 1;
                let (head, pieces) = codec::loaded(&reply, self.epoch).ok_or_else(nonsense)?;
                let (mut news, mut unneeded) = (Vec::new(), Vec::new());
                self.shared.channels.loaded(asked, head, pieces, &mut news, &mut unneeded);
                for news in news {
                    self.shared.tell(news);
                }
                for copy in unneeded {
                    self.unneeded(copy);
                }
                self.passed(head);
            }
        }
        Ok(())
    }

    /// Says that all up to a head has come; but after a break only when all that was followed is loaded.
    fn passed(&mut self, head: u64) {
        self.shared.saw(head);
        if self.shared.channels.are_level() {
            self.shared.tell(News::Passed { head });
        }
    }

    /// Takes the reply to a command.
    fn answered(&mut self, sent: Sent, reply: RedisResult<Value>) -> Result<(), End> {
        let error = match reply.and_then(Value::extract_error) {
            Ok(reply) => return self.done(sent, &reply),
            Err(error) => error,
        };
        if error.code().is_none() {
            // No answer: it may have been done.
            lost(self.shared, sent);
            return Err(end_of(error));
        }
        match sent {
            Sent::Publish { ticket, .. } => {
                self.shared.tell(News::Published { ticket, outcome: Err(NotStored::Away) });
            }
            Sent::Kick { ticket } => {
                self.shared.tell(News::Ordered { ticket, outcome: Err(NotStored::Away) });
            }
            Sent::Again(_) | Sent::Other => {}
        }
        match error.code() {
            Some("ANEW" | "NOSCRIPT" | "READONLY" | "MASTERDOWN" | "LOADING" | "NOAUTH") => {
                Err(end_of(error))
            }
            code => {
                let help = match code {
                    Some("OOM") => "its memory is full: give it more, or keep less history",
                    Some("NOPERM") => "the user lacks a right: docs/redis.md lists them",
                    Some("BUSY") => "a script of somebody else does not end",
                    Some("MISCONF") => "it cannot write to its disk",
                    Some("NOREPLICAS") => "it has too few replicas",
                    _ => "see the log of Redis",
                };
                self.complain(&error.to_string(), help);
                Ok(())
            }
        }
    }

    fn done(&mut self, sent: Sent, reply: &Value) -> Result<(), End> {
        match sent {
            Sent::Publish { ticket, batch } => {
                let outcome = codec::published(reply, batch);
                let is_known = outcome.is_some();
                self.shared
                    .tell(News::Published { ticket, outcome: outcome.unwrap_or(Err(NotStored::Unknown)) });
                if !is_known {
                    return Err(End::Broken("a reply that makes no sense".to_owned()));
                }
            }
            Sent::Kick { ticket } => {
                let told = codec::number(reply).and_then(|told| u32::try_from(told).ok());
                self.shared.tell(News::Ordered { ticket, outcome: told.ok_or(NotStored::Unknown) });
            }
            Sent::Again(_) | Sent::Other => {}
        }
        Ok(())
    }

    /// Says for a copy that nobody here needs what its publisher waits for.
    fn unneeded(&mut self, (to, ticket, index): Unneeded) {
        let answer = Answer { from: self.shared.me, ticket, index, copies: 1, streams: 0 };
        if to == self.shared.me {
            self.shared.tell(News::Answers(vec![answer]));
        } else {
            self.answer(to, answer);
        }
    }

    fn answer(&mut self, to: NodeId, answer: Answer) {
        self.answers.entry(to).or_default().push(answer);
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
        Sent::Publish { ticket, .. } => {
            shared.tell(News::Published { ticket, outcome: Err(NotStored::Unknown) });
        }
        Sent::Kick { ticket } => shared.tell(News::Ordered { ticket, outcome: Err(NotStored::Unknown) }),
        Sent::Again(order) => shared.put_by(order),
        Sent::Other => {}
    }
}

fn end_of(error: RedisError) -> End {
    match error.code() {
        Some("ANEW" | "NOSCRIPT") => End::Anew,
        _ => End::Broken(error.to_string()),
    }
}
