//! A hub that is one node of many: history is in Redis, ids come from there, and what is published on one node is heard by
//! all that follow its channels.
//!
//! The hub gives orders and hears news (`store::redis`); it never waits for Redis under its lock, and reads history from its
//! own memory. Invariants: an event that is heard is put into the logs of its channels and into the inboxes in one step under
//! the lock, so behind a channel that is ready everything is as on one node; `head` never goes back within an epoch, and
//! nothing is handed out that is not above it.

mod census;
mod follow;
mod gathering;
mod mending;
mod publishing;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use smallvec::SmallVec;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::event::{ChannelName, Epoch, EventId, Timestamp};
use crate::store::redis::{Answer, News, NodeId, Order, Ticket, Told};
use crate::store::{Limits, Mirror, Record, Store};

pub use follow::{Held, NotReady, READY_WITHIN};

pub(super) use census::{Census, Report};

use follow::{Follow, Standing};
use gathering::{Gathering, Load};
use publishing::{Asked, Ended};

use super::inbox::{GapNotice, Work};
use super::unread::Wish;
use super::{Gap, Hub, INBOX_LIMIT, State};

/// Workers that are to be woken.
pub(super) type Wake = SmallVec<[usize; 8]>;

/// What a node knows beside what every hub does.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    orders: mpsc::UnboundedSender<Order>,
    tickets: u64,
    /// Whether Redis is there.
    pub(super) is_attached: bool,
    /// Whether it has been there.
    has_epoch: bool,
    /// Whether publications are taken while it is not: the link keeps them for a while.
    waits: bool,
    follows: HashMap<ChannelName, Follow>,
    /// Channels that nobody holds, and since when, the first to go in front; and some that are held again.
    idle: VecDeque<(Instant, ChannelName)>,
    /// Those that are loaded and not ready.
    unready: Vec<ChannelName>,
    gathering: Option<Gathering>,
    /// Who waits for a head to be passed.
    passing: Vec<oneshot::Sender<()>>,
    asked: HashMap<Ticket, Asked>,
    /// The same tickets, with those that are over, in the order in which they were given.
    asked_at: VecDeque<(Instant, Ticket)>,
    /// Publications without an answer, and their bytes.
    in_flight: usize,
    bytes: usize,
    kicks: HashMap<Ticket, Ended>,
    pub(super) wishes: HashMap<Ticket, Wish>,
    /// What was written to streams and is to be marked; empty when the lock is released.
    pub(super) written: Vec<(ChannelName, Vec<u64>)>,
}

impl Node {
    pub(super) fn order(&self, order: Order) {
        // Without a link Redis is never there, which is seen by that.
        let _ = self.orders.send(order);
    }

    /// Gives no more orders.
    pub(super) fn close(&mut self) {
        self.orders = mpsc::unbounded_channel().0;
        self.is_attached = false;
        self.waits = false;
    }

    /// A number for an order. 0 is never given.
    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Whether it follows a channel.
    pub(super) fn follows(&self, channel: &ChannelName) -> bool {
        self.follows.contains_key(channel)
    }

    /// Whether what is published now can be expected to be kept.
    pub(super) fn is_well(&self) -> bool {
        self.is_attached || self.waits
    }

    /// How many publications have no answer yet.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Who is to be told of one copy of an event or of a kick.
    fn report(&self, (to, ticket, index): (NodeId, Ticket, u32)) -> Option<Report> {
        if to == self.id {
            return self.census(ticket, index).map(Report::Here);
        }
        let answer = Answer { from: self.id, ticket, index, copies: 1, streams: 0 };
        Some(Report::Elsewhere { to, answer, orders: self.orders.downgrade() })
    }
}

impl Hub {
    /// A hub of one node of a deployment, with the orders that it gives. `waits` says that the one who takes them keeps
    /// publications for a while when Redis is away; else they are refused.
    pub fn on_redis(
        workers: usize,
        limits: Limits,
        id: NodeId,
        waits: bool,
    ) -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (orders, given) = mpsc::unbounded_channel();
        let mirror = Mirror::new(limits);
        let marks = mirror.marks();
        let node = Node {
            id,
            orders,
            tickets: 0,
            is_attached: false,
            has_epoch: false,
            waits,
            follows: HashMap::new(),
            idle: VecDeque::new(),
            unready: Vec::new(),
            gathering: None,
            passing: Vec::new(),
            asked: HashMap::new(),
            asked_at: VecDeque::new(),
            in_flight: 0,
            bytes: 0,
            kicks: HashMap::new(),
            wishes: HashMap::new(),
            written: Vec::new(),
        };
        // No stream is opened before Redis has said which epoch it is.
        let (epoch, node) = (Epoch::from_bits(0), Some(Box::new(node)));
        (Self::over(workers, Store::Mirror(mirror), marks, epoch, 0, node), given)
    }

    /// Takes in what has happened.
    pub fn hear(&self, news: impl IntoIterator<Item = News>, now: Timestamp) {
        let mut wake = Wake::new();
        for news in news {
            let state = &mut *self.lock();
            self.hear_one(state, news, now, &mut wake);
        }
        self.wake(&wake);
    }

    fn hear_one(&self, state: &mut State, news: News, now: Timestamp, wake: &mut Wake) {
        let Some(node) = &mut state.node else { return };
        match news {
            News::Attached { epoch, head, holes, blocks } => {
                state.holes = holes;
                state.blocks.set(blocks);
                self.attached(state, epoch, head, wake);
            }
            News::Away => {
                node.is_attached = false;
                // Nobody says any more what becomes of them.
                node.wishes.clear();
            }
            News::Loaded { channel, head, records, lost, last, mark } => {
                let load = Load { channel, head, lost, last, mark };
                self.loaded(state, load, records);
            }
            News::Passed { head } => self.passed(state, head, now, wake),
            News::Event(told) => match &mut node.gathering {
                Some(gathering) => gathering.add(told.record, &told.channels, Some(told.by)),
                None => self.told(state, told, wake),
            },
            News::Answers(answers) => {
                for Answer { ticket, index, copies, streams, .. } in answers {
                    if let Some(census) = node.census(ticket, index) {
                        census.answer(copies, streams as usize);
                    }
                }
            }
            News::Published { ticket, outcome } => state.published(ticket, outcome),
            News::Ordered { ticket, outcome } => node.ordered(ticket, outcome),
            News::Read { .. } | News::Kick { .. } => {
                if let News::Kick { user, until: Some(until), .. } = &news {
                    // At once, whatever is still to be handed out.
                    state.blocks.set([(user.clone(), *until)]);
                }
                let kept = match &mut node.gathering {
                    Some(gathering) => gathering.later(news).filter(|news| matches!(news, News::Kick { .. })),
                    None => Some(news),
                };
                if let Some(news) = kept {
                    self.heard_later(state, news, now, wake);
                }
            }
        }
    }

    /// Takes in what stands behind the events that were told before it.
    fn heard_later(&self, state: &mut State, news: News, now: Timestamp, wake: &mut Wake) {
        match news {
            News::Read { own, seqs, up_to, by } => self.read(state, &own, (&seqs, up_to), by, now, wake),
            News::Kick { user, event, until, by: (to, ticket) } => {
                let report = state.node.as_ref().and_then(|node| node.report((to, ticket, 0)));
                wake.extend(self.kick_heard(state, user, event, until.is_some(), report));
            }
            _ => {}
        }
    }

    fn loaded(&self, state: &mut State, load: Load, mut records: Vec<Record>) {
        let State { node: Some(node), store: Store::Mirror(mirror), marks, head, .. } = state else { return };
        let Some(follow) = node.follows.get_mut(&load.channel) else { return };
        if let Some(gathering) = &mut node.gathering {
            if follow.standing != Standing::Ready {
                // What is not above the head is handed to no stream, so it is history at once. And the channel has a log
                // that can be told to have lost what is too much to be gathered.
                mirror.begin(&load.channel, load.lost, load.last);
                let above = records.partition_point(|record| record.seq <= *head);
                let gathered = records.split_off(above);
                for record in std::mem::replace(&mut records, gathered) {
                    mirror.append(std::slice::from_ref(&load.channel), &record.into());
                }
            }
            gathering.load(load, records);
            if gathering.is_loaded() {
                node.order(Order::Pass);
            }
            return;
        }
        let Load { channel, head: loaded, lost, last, mark } = load;
        mirror.begin(&channel, lost, last);
        for record in records {
            mirror.append(std::slice::from_ref(&channel), &record.into());
        }
        if let Some(mark) = &mark {
            marks.absorb(&channel, mark);
        }
        if follow.standing != Standing::Ready {
            follow.standing = Standing::Loaded(loaded.max(*head));
            node.unready.push(channel);
        }
        if mirror.is_full() {
            state.drop_idle();
        }
    }

    fn passed(&self, state: &mut State, head: u64, now: Timestamp, wake: &mut Wake) {
        let Some(node) = &mut state.node else { return };
        if let Some(gathering) = &node.gathering {
            if !gathering.is_whole(head) {
                if gathering.is_loaded() {
                    node.order(Order::Pass);
                }
                return;
            }
            self.catch_up(state, now, wake);
        }
        state.head = state.head.max(head);
        let Some(node) = &mut state.node else { return };
        let Node { follows, unready, passing, .. } = &mut **node;
        unready.retain(|channel| {
            let Some(follow) = follows.get_mut(channel) else { return false };
            let Standing::Loaded(needs) = follow.standing else { return false };
            if needs <= head {
                follow.is_ready();
            }
            needs > head
        });
        for passing in passing.drain(..) {
            // Nobody may wait any more.
            let _ = passing.send(());
        }
        if !node.unready.is_empty() {
            node.order(Order::Pass);
        }
    }

    fn told(&self, state: &mut State, told: Told, wake: &mut Wake) {
        let Told { record, channel, before, channels, by } = told;
        self.check(state, &channel, before, record.seq, wake);
        let State { node: Some(node), store: Store::Mirror(mirror), interest, head, recent, .. } = state
        else {
            return;
        };
        let (record, report) = (std::sync::Arc::new(record), node.report(by));
        mirror.append(&channels, &record);
        if record.seq > *head {
            *head = record.seq;
            recent.note(&record, &channels);
            // Of when it was published, other machines' clocks say something else.
            let at = (record.seq, Instant::now());
            self.hand_out(interest, &channels, at, &record.frame, report, wake);
        } else if let Some(report) = report {
            // Another copy, or it was told before.
            report.say(0);
        }
    }

    /// Looks whether a channel had an event before this one that was not told. That never is, as long as the link and
    /// Redis do what they promise; if it ever is, its subscribers are told.
    fn check(&self, state: &mut State, channel: &ChannelName, before: u64, seq: u64, wake: &mut Wake) {
        let State { node: Some(node), store: Store::Mirror(mirror), head, .. } = state else { return };
        let is_known = node.follows.get(channel).is_none_or(|follow| follow.standing == Standing::Asked);
        if is_known || mirror.before(channel, seq).is_none_or(|newest| newest >= before) {
            return;
        }
        tracing::error!(
            before,
            "an event was not told by Redis: the channel's subscribers are told of a gap"
        );
        mirror.lose(channel, before);
        let heard = *head;
        self.tell_gap(state, Some(channel), heard, heard.max(before), wake);
    }

    /// Tells the streams of a channel, or all, that something up to `upto` is missing, of what was not heard.
    fn tell_gap(&self, state: &State, of: Option<&ChannelName>, heard: u64, upto: u64, wake: &mut Wake) {
        let (at, life) = (EventId { epoch: state.epoch, seq: upto }, state.life);
        let gap = Gap::Expired;
        let Some(of) = of else {
            return self.tell_all(GapNotice { channel: None, at, heard, life, gap }, wake);
        };
        for (worker, channels) in state.interest.targets(std::slice::from_ref(of)).workers {
            for channel in channels {
                let notice = GapNotice { channel: Some(channel), at, heard, life, gap };
                self.0.inboxes[worker].push(Work::Gap(Box::new(notice)));
            }
            wake.push(worker);
        }
    }

    /// Whether the workers are not too far behind to be handed more. What comes from other nodes is to wait meanwhile, as
    /// publications here are refused. A worker without streams is not counted: it may have ended.
    pub fn keeps_up(&self) -> bool {
        let state = self.lock();
        let mut inboxes = self.0.inboxes.iter().zip(&state.streams);
        state.queue.is_closed || !inboxes.any(|(inbox, streams)| *streams > 0 && inbox.len() > INBOX_LIMIT)
    }

    fn tell_all(&self, notice: GapNotice, wake: &mut Wake) {
        for (worker, inbox) in self.0.inboxes.iter().enumerate() {
            inbox.push(Work::Gap(Box::new(notice.clone())));
            wake.push(worker);
        }
    }
}
