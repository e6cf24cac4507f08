//! A Redis that is made up, for tests of hubs that share one: it does what orders say, tells every node in order what it
//! is to hear, and breaks, forgets and goes back as it is told to.
//!
//! Nothing happens by itself: an order is done when [`Redis::work`] comes to it, and news are heard when [`Redis::tell`]
//! does, so a test can let each node be as late as it likes.

mod link;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Hub;
use crate::event::{ChannelName, Epoch, EventId, Timestamp};
use crate::store::redis::{Entry, News, NodeId, NotStored, Order, Stored, Ticket, Told};
use crate::store::{Limits, Mark, Record};

/// How far ids jump when it has come back.
const HOLE: u64 = 1000;

pub(crate) struct Redis {
    pub(crate) nodes: Vec<Link>,
    pub(crate) now: Timestamp,
    pub(crate) epoch: u32,
    kept: Kept,
    saved: Kept,
    events: usize,
    /// All that was ever given: epoch, number, channels, and whether it is of no use at once.
    pub(crate) given: Vec<(u32, u64, Vec<ChannelName>, bool)>,
}

#[derive(Clone, Default)]
struct Kept {
    seq: u64,
    logs: BTreeMap<ChannelName, Log>,
    marks: HashMap<ChannelName, Mark>,
    keys: HashMap<Box<str>, (u64, u64, Option<u32>)>,
    holes: Vec<Range<u64>>,
    blocks: Vec<(Box<str>, Timestamp)>,
}

#[derive(Clone, Default)]
struct Log {
    records: VecDeque<Record>,
    lost: u64,
    last: u64,
}

pub(crate) struct Link {
    pub(crate) hub: Hub,
    id: NodeId,
    orders: UnboundedReceiver<Order>,
    news: VecDeque<News>,
    pub(crate) is_attached: bool,
    /// Followed channels, each with the newest event of it that was told.
    follows: BTreeMap<ChannelName, u64>,
    loading: Vec<ChannelName>,
    owes_pass: bool,
    /// The newest id that it has heard of.
    seen: u64,
    /// So many of the news have been taken note of.
    noted: usize,
}

impl Redis {
    pub(crate) fn new(nodes: usize, workers: usize, limits: &Limits) -> Self {
        let nodes = (1..=nodes as u64).map(|id| {
            let (hub, orders) = Hub::on_redis(workers, limits.clone(), NodeId(id), false);
            let (news, follows) = (VecDeque::new(), BTreeMap::new());
            let (is_attached, owes_pass) = (false, false);
            Link {
                hub,
                id: NodeId(id),
                orders,
                news,
                is_attached,
                follows,
                loading: Vec::new(),
                owes_pass,
                seen: 0,
                noted: 0,
            }
        });
        Self {
            nodes: nodes.collect(),
            now: Timestamp::now(),
            epoch: 0,
            kept: Kept::default(),
            saved: Kept::default(),
            events: limits.events,
            given: Vec::new(),
        }
    }

    /// A node finds its way to it.
    pub(crate) fn attach(&mut self, node: usize) {
        let link = &mut self.nodes[node];
        if link.is_attached {
            return;
        }
        link.is_attached = true;
        link.loading = link.follows.keys().cloned().collect();
        link.owes_pass = true;
        link.news.push_back(News::Attached {
            epoch: Epoch::from_bits(self.epoch),
            head: self.kept.seq,
            holes: self.kept.holes.clone(),
            blocks: self.kept.blocks.clone(),
        });
    }

    /// A node's connection breaks. So many of the news on their way have come, and the answers behind them are lost.
    pub(crate) fn cut(&mut self, node: usize, come: usize) {
        let link = &mut self.nodes[node];
        if !std::mem::take(&mut link.is_attached) {
            return;
        }
        // What had come before an earlier break is not lost by this one.
        let come = come.max(link.noted).min(link.news.len());
        let lost: Vec<_> = link.news.drain(come..).collect();
        // What has come is told, and not told again.
        let come: Vec<_> = link.news.drain(..).collect();
        for (place, news) in come.into_iter().enumerate() {
            if place >= link.noted {
                link.note(&news);
            }
            link.news.push_back(news);
        }
        for news in lost {
            match news {
                News::Published { ticket, .. } => link.fail(ticket, NotStored::Unknown),
                News::Ordered { ticket, .. } => {
                    link.news.push_back(News::Ordered { ticket, outcome: Err(NotStored::Unknown) });
                }
                // An attachment that was never heard of, or what would be told anew.
                _ => {}
            }
        }
        link.loading.clear();
        link.owes_pass = false;
        link.news.push_back(News::Away);
        link.noted = link.news.len();
    }

    /// Keeps what there is for [`Redis::go_back`].
    pub(crate) fn save(&mut self) {
        self.saved = self.kept.clone();
    }

    /// Begins again from what was saved, or from nothing. If anybody has heard of what is gone, or all is, a new epoch
    /// begins. Gives the events that are gone and that nobody has heard of.
    pub(crate) fn go_back(&mut self, to_nothing: bool) -> Vec<u64> {
        (0..self.nodes.len()).for_each(|node| self.cut(node, usize::MAX));
        self.kept = if to_nothing { Kept::default() } else { self.saved.clone() };
        let seq = self.kept.seq;
        let is_heard_of = self.nodes.iter().any(|link| link.seen > seq);
        if to_nothing || is_heard_of {
            self.epoch += 1;
            self.kept = Kept::default();
            self.saved = Kept::default();
            for link in &mut self.nodes {
                link.seen = 0;
                link.follows.values_mut().for_each(|told| *told = 0);
            }
            return Vec::new();
        }
        let epoch = self.epoch;
        let gone = self.given.extract_if(.., |(of, number, ..)| *of == epoch && *number > seq);
        let gone = gone.map(|(_, number, ..)| number).collect();
        self.kept.holes.push(seq + 1..seq + HOLE);
        self.kept.seq = seq + HOLE;
        self.saved = self.kept.clone();
        gone
    }

    /// The ids that were passed over last.
    pub(crate) fn hole(&self) -> Option<Range<u64>> {
        self.kept.holes.last().cloned()
    }

    /// All of history is too old.
    pub(crate) fn expire(&mut self) {
        for log in self.kept.logs.values_mut() {
            log.records.clear();
            log.lost = log.last;
        }
    }

    /// Does what a node has ordered, and what it owes it since the last time.
    pub(crate) fn work(&mut self, node: usize) {
        if std::mem::take(&mut self.nodes[node].owes_pass) {
            self.load(node);
        }
        while let Ok(order) = self.nodes[node].orders.try_recv() {
            self.carry_out(node, order);
        }
    }

    /// A node hears so many news. Says whether there were any.
    pub(crate) fn tell(&mut self, node: usize, count: usize) -> bool {
        let now = self.now;
        let link = &mut self.nodes[node];
        let count = count.min(link.news.len());
        let news: Vec<_> = link.news.drain(..count).collect();
        for news in news {
            match link.noted {
                0 => link.note(&news),
                _ => link.noted -= 1,
            }
            link.hub.hear([news], now);
        }
        count > 0
    }

    /// Everything is done and heard.
    pub(crate) fn settle(&mut self) {
        for _ in 0..20 {
            for node in 0..self.nodes.len() {
                self.work(node);
                self.tell(node, usize::MAX);
            }
        }
    }

    fn load(&mut self, node: usize) {
        for channel in std::mem::take(&mut self.nodes[node].loading) {
            let log = self.kept.logs.get(&channel).cloned().unwrap_or_default();
            let link = &mut self.nodes[node];
            let Some(told) = link.told(&channel) else { continue };
            link.news.push_back(News::Loaded {
                head: self.kept.seq,
                records: log.records.into_iter().filter(|record| record.seq > told).collect(),
                lost: log.lost,
                last: log.last,
                mark: self.kept.marks.get(&channel).cloned(),
                channel,
            });
        }
        self.nodes[node].news.push_back(News::Passed { head: self.kept.seq });
    }

    fn carry_out(&mut self, node: usize, order: Order) {
        let by = self.nodes[node].id;
        let link = &mut self.nodes[node];
        let is_attached = link.is_attached;
        match order {
            Order::Follow { channel } => {
                link.follows.insert(channel.clone(), 0);
                if is_attached {
                    link.loading.push(channel);
                    link.owes_pass = true;
                }
            }
            Order::Leave { channel } => {
                link.follows.remove(&channel);
                link.loading.retain(|loading| *loading != channel);
            }
            Order::Publish { ticket, .. } if !is_attached => link.fail(ticket, NotStored::Away),
            Order::Kick { ticket, .. } if !is_attached => {
                link.news.push_back(News::Ordered { ticket, outcome: Err(NotStored::Away) });
            }
            _ if !is_attached => {}
            Order::Publish { ticket, batch } => self.publish(node, ticket, batch),
            Order::Pass => link.news.push_back(News::Passed { head: self.kept.seq }),
            Order::Mark { own, seqs, up_to, ticket } => {
                let mark = self.kept.marks.entry(own.clone()).or_default();
                mark.raise(up_to);
                seqs.iter().for_each(|seq| mark.add(*seq));
                for link in self.nodes.iter_mut().filter(|link| link.is_attached) {
                    if link.follows.contains_key(&own) {
                        let (own, seqs) = (own.clone(), seqs.clone());
                        link.news.push_back(News::Read { own, seqs, up_to, by: (by, ticket) });
                    }
                }
            }
            Order::Kick { ticket, user, event, block_ms } => {
                let until = block_ms.map(|ms| self.now.after(Duration::from_millis(ms)));
                self.kept.blocks.extend(until.map(|until| (user.clone(), until)));
                let mut nodes = 0;
                for link in self.nodes.iter_mut().filter(|link| link.is_attached) {
                    let (user, event) = (user.clone(), event.clone());
                    link.news.push_back(News::Kick { user, event, until, by: (by, ticket) });
                    nodes += 1;
                }
                self.nodes[node].news.push_back(News::Ordered { ticket, outcome: Ok(nodes) });
            }
            Order::Tell { to, answer } => {
                let to = self.nodes.iter_mut().find(|link| link.id == to && link.is_attached);
                if let Some(link) = to {
                    link.news.push_back(News::Answers(vec![answer]));
                }
            }
            Order::Counted { key, streams, .. } => {
                if let Some((.., counted)) = self.kept.keys.get_mut(&key) {
                    *counted = Some(streams);
                }
            }
            Order::Remember { .. } => {}
        }
    }

    fn publish(&mut self, node: usize, ticket: Ticket, batch: Vec<Entry>) {
        let reused = batch.iter().position(|entry| {
            let key = entry.key.as_ref();
            key.is_some_and(|(key, digest, _)| self.kept.keys.get(key).is_some_and(|(of, ..)| of != digest))
        });
        if let Some(index) = reused {
            return self.nodes[node].fail(ticket, NotStored::KeyReused { index });
        }
        let by = self.nodes[node].id;
        let mut outcome = Vec::new();
        for (index, entry) in (0..).zip(batch) {
            let before = entry.key.as_ref().and_then(|(key, ..)| self.kept.keys.get(key));
            if let Some((_, seq, streams)) = before {
                outcome.push(Stored::Before { seq: *seq, streams: *streams });
                continue;
            }
            outcome.push(self.publish_one(entry, (by, ticket, index)));
        }
        let link = &mut self.nodes[node];
        let published = News::Published { ticket, outcome: Ok(outcome) };
        // It comes by another connection than the events.
        let place = if ticket.0.is_multiple_of(2) { link.news.len() } else { link.noted };
        link.news.insert(place, published);
    }

    fn publish_one(&mut self, entry: Entry, by: (NodeId, Ticket, u32)) -> Stored {
        let Entry { channels, event, ttl_ms, collapse, key } = entry;
        self.kept.seq += 1;
        let seq = self.kept.seq;
        self.given.push((self.epoch, seq, channels.to_vec(), ttl_ms == Some(0)));
        let expires = ttl_ms.map(|ms| self.now.after(Duration::from_millis(ms)));
        let frame = event.frame(EventId { epoch: Epoch::from_bits(self.epoch), seq }).until(expires);
        let record = Record { seq, frame, at: self.now, expires, collapse };
        let mut befores: SmallVec<[u64; 2]> = SmallVec::new();
        for channel in &channels {
            let log = self.kept.logs.entry(channel.clone()).or_default();
            befores.push(log.last);
            log.last = seq;
            if let Some(key) = &record.collapse {
                log.records.retain(|record| record.collapse.as_ref() != Some(key));
            }
            log.records.push_back(record.clone());
            while log.records.len() > self.events {
                log.lost = log.records.pop_front().map_or(log.lost, |record| record.seq);
            }
        }
        self.kept.keys.extend(key.map(|(key, digest, _)| (key, (digest, seq, None))));
        let mut copies = 0;
        for link in self.nodes.iter_mut().filter(|link| link.is_attached) {
            for (channel, before) in channels.iter().zip(&befores) {
                // One that is still to be loaded will be, with this.
                if link.follows.contains_key(channel) && !link.loading.contains(channel) {
                    link.news.push_back(News::Event(Told {
                        record: record.clone(),
                        channel: channel.clone(),
                        before: *before,
                        channels: channels.clone(),
                        by,
                    }));
                    copies += 1;
                }
            }
        }
        Stored::New { seq, copies }
    }
}
