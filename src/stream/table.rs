//! All open streams of a worker.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use slab::Slab;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::backlog::Backlog;
use super::settings::protocol_event;
use super::subscriber::{Form, Handed, Logged, Parts};
use super::timers::{Timer, Timers};
use super::{End, Grant, Subscriber};
use crate::access_log::WorkerLog;
use crate::event::{Frame, Timestamp};
use crate::hub::{ChannelId, Delivery, Hub, Position, Subscription};
use crate::metrics::Counters;

/// So many streams are written to before other tasks of the worker get their turn. At five microseconds a write this
/// is how long a proxied request may wait behind a fan-out: a sixth of a millisecond.
const DELIVERIES_A_TURN: usize = 32;

/// `max_age` is shortened by up to this share at random, so that streams opened together do not end together.
const JITTER: f64 = 0.2;

/// The streams of one worker. A cheap handle.
#[derive(Debug, Clone)]
pub struct Streams(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    hub: Hub,
    worker: usize,
    counters: Arc<Counters>,
    log: Option<Rc<WorkerLog>>,
    table: RefCell<Table>,
    serial: Cell<u32>,
    /// Told when the soonest timer has become sooner.
    sooner: Notify,
    /// Told when the last stream has gone.
    empty: Notify,
}

#[derive(Debug, Default)]
struct Table {
    streams: Slab<Entry>,
    channels: HashMap<ChannelId, SmallVec<[Rc<Subscriber>; 1]>>,
    timers: Timers,
}

#[derive(Debug)]
struct Entry {
    subscriber: Rc<Subscriber>,
    /// Dropped with the entry, which leaves the hub.
    _subscription: Subscription,
}

impl Streams {
    /// An empty table for a worker.
    pub fn new(hub: Hub, worker: usize, counters: Arc<Counters>, log: Option<Rc<WorkerLog>>) -> Self {
        Self(Rc::new(Shared {
            hub,
            worker,
            counters,
            log,
            table: RefCell::default(),
            serial: Cell::new(0),
            sooner: Notify::new(),
            empty: Notify::new(),
        }))
    }

    /// Registers a stream and makes its first bytes.
    pub(super) fn open(&self, grant: Grant, form: Form) -> Rc<Subscriber> {
        let Grant { settings, user, channels, last_id, expires, client, target } = grant;
        let from = match &last_id {
            Some(id) if settings.route.replay => Position::After(id),
            _ => Position::Now,
        };
        let mut subscription = self.0.hub.subscribe(self.0.worker, &channels, from, Timestamp::now());
        let backlog = self.first_bytes(&form, &settings, &subscription);
        let mut cursor = subscription.cursor;
        let replay = std::mem::take(&mut subscription.replay);
        cursor.seq = replay.last().map_or(cursor.seq, |record| record.seq);
        self.count_opening(&subscription, replay.len());

        let opened = Instant::now();
        let logged = self.0.log.as_ref().map(|log| {
            let logged = Logged { client: client.into(), target: target.into(), user: user.map(Into::into) };
            log.write("open", |line| {
                let line = line.text("client", &logged.client).target(&logged.target);
                let line = match &logged.user {
                    Some(user) => line.text("user", user),
                    None => line,
                };
                line.number("channels", channels.len() as u64).number("replayed", replay.len() as u64)
            });
            Box::new(logged)
        });
        let mut replayed = backlog;
        let chunked = matches!(form, Form::Parked { chunked: true, .. });
        for record in &replay {
            replayed.push_replay(bytes_of(&record.frame, chunked));
        }
        let subscriber = Rc::new(Subscriber::new(Parts {
            serial: self.0.serial.replace(self.0.serial.get().wrapping_add(1)),
            channels: subscription.channels().collect(),
            cursor,
            opened,
            ends: ends(&settings.route, opened, expires),
            logged,
            form,
            backlog: replayed,
            settings,
        }));
        self.insert(subscriber.clone(), subscription);
        subscriber
    }

    fn first_bytes(
        &self,
        form: &Form,
        settings: &super::StreamSettings,
        subscription: &Subscription,
    ) -> Backlog {
        let mut backlog = Backlog::default();
        let mut chunked = false;
        if let Form::Parked { chunked: is_chunked, .. } = form {
            chunked = *is_chunked;
            let date = http::HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now()));
            let date = date.unwrap_or(http::HeaderValue::from_static(""));
            backlog.push_replay(settings.head(!chunked, &date));
        }
        backlog.push_replay(bytes_of(&settings.opening(subscription.cursor), chunked));
        if let Some(told) = subscription.gap.and_then(|gap| settings.gap(gap, subscription.cursor)) {
            backlog.push_replay(bytes_of(&told, chunked));
        }
        backlog
    }

    fn count_opening(&self, subscription: &Subscription, replayed: usize) {
        let counters = &self.0.counters;
        counters.streams.inc();
        counters.streams_opened.inc();
        counters.replayed.add(replayed as u64);
        if subscription.resumed {
            counters.resumed.inc();
        }
        if subscription.gap.is_some() {
            counters.resets.inc();
        }
    }

    fn insert(&self, subscriber: Rc<Subscriber>, subscription: Subscription) {
        let table = &mut *self.0.table.borrow_mut();
        for (channel, place) in &subscriber.channels {
            let subscribers = table.channels.entry(*channel).or_default();
            place.set(small(subscribers.len()));
            subscribers.push(subscriber.clone());
        }
        let entry = table.streams.vacant_entry();
        subscriber.key.set(small(entry.key()));
        let due = next_due(&subscriber);
        let timer = due.map(|at| Timer { at, key: subscriber.key.get(), serial: subscriber.serial });
        entry.insert(Entry { subscriber, _subscription: subscription });
        if timer.is_some_and(|timer| table.timers.add(timer)) {
            self.0.sooner.notify_one();
        }
    }

    /// Ends a stream: takes it out of the table and the hub, writes its line, and lets its task or body close it.
    pub fn end(&self, subscriber: &Rc<Subscriber>, end: End) {
        let entry = {
            let table = &mut *self.0.table.borrow_mut();
            let key = subscriber.key.get() as usize;
            if !table.streams.get(key).is_some_and(|entry| Rc::ptr_eq(&entry.subscriber, subscriber)) {
                return;
            }
            for (channel, place) in &subscriber.channels {
                leave(table, *channel, place.get() as usize);
            }
            table.streams.remove(key)
        };
        // Leaves the hub here, with the table free again.
        drop(entry);
        subscriber.end(end, last_words(end).as_ref());
        self.0.counters.streams.dec();
        if end == End::Evicted {
            self.0.counters.evicted.inc();
        }
        if let (Some(log), Some(logged)) = (&self.0.log, &subscriber.logged) {
            log.write("close", |line| {
                let line = line.text("client", &logged.client).target(&logged.target);
                let line = match &logged.user {
                    Some(user) => line.text("user", user),
                    None => line,
                };
                line.text("reason", &end.to_string())
                    .number("events", subscriber.delivered.get())
                    .duration("duration", subscriber.opened.elapsed())
            });
        }
        if self.is_empty() {
            self.0.empty.notify_waiters();
        }
    }

    /// Whether no stream is open.
    pub fn is_empty(&self) -> bool {
        self.0.table.borrow().streams.is_empty()
    }

    /// Waits until no stream is open.
    pub async fn emptied(&self) {
        loop {
            let empty = self.0.empty.notified();
            if self.is_empty() {
                return;
            }
            empty.await;
        }
    }

    /// Delivers what the hub puts into the worker's inbox, for ever. One task a worker, so that order is kept.
    pub async fn deliver(&self) {
        let inbox = self.0.hub.inbox(self.0.worker).clone();
        let mut batch = Vec::new();
        let mut targets = Vec::new();
        let mut turn = 0;
        loop {
            inbox.take(&mut batch).await;
            for delivery in batch.drain(..) {
                self.deliver_one(delivery, &mut targets, &mut turn).await;
            }
        }
    }

    async fn deliver_one(&self, delivery: Delivery, targets: &mut Vec<Rc<Subscriber>>, turn: &mut usize) {
        {
            // Copied out: a stream that is ended on the way leaves the table.
            let table = self.0.table.borrow();
            let subscribed = delivery.channels.iter().filter_map(|channel| table.channels.get(channel));
            targets.extend(subscribed.flatten().cloned());
        }
        let mut handed = 0;
        for subscriber in targets.drain(..) {
            match subscriber.hand(delivery.seq, &delivery.frame) {
                Handed::Taken => handed += 1,
                Handed::NotTaken => {}
                Handed::Ends(end) => self.end(&subscriber, end),
            }
            *turn += 1;
            if *turn >= DELIVERIES_A_TURN {
                *turn = 0;
                yield_now().await;
            }
        }
        self.0.counters.deliveries.add(handed as u64);
        delivery.counted(handed);
    }

    /// Sends heartbeats and ends streams whose time has come, for ever.
    pub async fn keep_time(&self) {
        let mut turn = 0;
        loop {
            let next = self.0.table.borrow().timers.next();
            let sooner = self.0.sooner.notified();
            match next {
                None => sooner.await,
                Some(at) => tokio::select! {
                    () = sleep_until(at) => {}
                    () = sooner => continue,
                },
            }
            let now = Instant::now();
            while let Some(subscriber) = self.take_due(now) {
                self.tick(&subscriber, now);
                turn += 1;
                if turn >= DELIVERIES_A_TURN {
                    turn = 0;
                    yield_now().await;
                }
            }
        }
    }

    fn take_due(&self, now: Instant) -> Option<Rc<Subscriber>> {
        let table = &mut *self.0.table.borrow_mut();
        loop {
            let timer = table.timers.take_due(now)?;
            let entry = table.streams.get(timer.key as usize);
            if let Some(entry) = entry.filter(|entry| entry.subscriber.serial == timer.serial) {
                return Some(entry.subscriber.clone());
            }
        }
    }

    fn tick(&self, subscriber: &Rc<Subscriber>, now: Instant) {
        if let Some((at, end)) = subscriber.ends
            && at <= now
        {
            self.end(subscriber, end);
            return;
        }
        if subscriber.next_heartbeat.get().is_some_and(|at| at <= now) {
            subscriber.next_heartbeat.set(subscriber.settings.heartbeat_every().map(|every| now + every));
            // A reader that is behind has bytes coming; a heartbeat would only wait behind them.
            if !subscriber.is_behind()
                && let Some(frame) = subscriber.settings.heartbeat(subscriber.cursor())
                && let Handed::Ends(end) = subscriber.say(&frame)
            {
                self.end(subscriber, end);
                return;
            }
        }
        if let Some(at) = next_due(subscriber) {
            let timer = Timer { at, key: subscriber.key.get(), serial: subscriber.serial };
            self.0.table.borrow_mut().timers.add(timer);
        }
    }

    /// Ends all streams, spread evenly over `window`, so that their clients do not all come back at once.
    pub async fn drain(&self, window: Duration) {
        let streams: Vec<_> =
            self.0.table.borrow().streams.iter().map(|(_, entry)| entry.subscriber.clone()).collect();
        let Ok(count) = u32::try_from(streams.len()) else { return };
        let begun = Instant::now();
        for (place, subscriber) in (1..).zip(streams) {
            self.end(&subscriber, End::Drain);
            sleep_until(begun + window * place / count).await;
        }
    }
}

fn leave(table: &mut Table, channel: ChannelId, place: usize) {
    let Some(subscribers) = table.channels.get_mut(&channel) else { return };
    subscribers.swap_remove(place);
    if subscribers.is_empty() {
        table.channels.remove(&channel);
    } else if let Some(moved) = subscribers.get(place)
        && let Some((_, its_place)) = moved.channels.iter().find(|(id, _)| *id == channel)
    {
        its_place.set(small(place));
    }
}

/// When a stream must end, and why: the earlier of its token's end and its route's `max_age`, shortened at random.
fn ends(
    route: &crate::config::StreamRoute,
    opened: Instant,
    expires: Option<SystemTime>,
) -> Option<(Instant, End)> {
    let max_age =
        route.max_age.map(|age| (opened + age.mul_f64(1.0 - JITTER * fastrand::f64()), End::MaxAge));
    let expiry = expires.map(|at| {
        let left = at.duration_since(SystemTime::now()).unwrap_or_default();
        // A token for longer than a clock can say is one that does not end.
        (opened.checked_add(left).unwrap_or(opened + Duration::from_secs(1 << 32)), End::Expired)
    });
    [max_age, expiry].into_iter().flatten().min_by_key(|(at, _)| *at)
}

fn next_due(subscriber: &Subscriber) -> Option<Instant> {
    let ends = subscriber.ends.map(|(at, _)| at);
    [subscriber.next_heartbeat.get(), ends].into_iter().flatten().min()
}

/// What a client is told before its stream ends.
fn last_words(end: End) -> Option<Frame> {
    (end == End::Expired).then(|| {
        protocol_event("error", r#"{"error":"Unauthorized","code":401}"#.to_owned()).frame_without_id()
    })
}

fn bytes_of(frame: &Frame, chunked: bool) -> bytes::Bytes {
    if chunked { frame.chunk().clone() } else { frame.text() }
}

/// A place in the table as it is stored: there are never as many streams as a u32 counts, since each has a file
/// descriptor.
fn small(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
