//! All open streams of a worker.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use slab::Slab;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::backlog::Backlog;
use super::catch_up::{self, CatchUp, History};
use super::clock::next_due;
use super::end::ends;
use super::marking::Marking;
use super::recheck::{Due, Rechecked};
use super::records::Records;
use super::review::Review;
use super::story::Story;
use super::subscriber::{Form, Logged, Parts};
use super::timers::{Timer, Timers};
use super::{End, Grant, StreamSettings, Subscriber, unauthorized_event};
use crate::access_log::WorkerLog;
use crate::config::{Replay, StreamRoute};
use crate::event::{ChannelName, EventId, Frame, Timestamp};
use crate::hub::{Began, ChannelId, Gap, Hub, Position, Start, Subscription};
use crate::limits::Permit;
use crate::metrics::Counters;
use crate::store::Page;

/// The streams of one worker. A cheap handle.
#[derive(Debug, Clone)]
pub struct Streams(pub(super) Rc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) hub: Hub,
    pub(super) worker: usize,
    pub(super) counters: Arc<Counters>,
    log: Rc<WorkerLog>,
    pub(super) table: RefCell<Table>,
    serial: Cell<u32>,
    /// Told when the soonest timer has become sooner.
    pub(super) sooner: Notify,
    /// Those whose app is to be asked again.
    pub(super) due: Due,
    /// Those who read history.
    pub(super) catch_up: CatchUp,
    /// What is remembered for who asks.
    pub(super) records: Records,
    /// What those that are open are judged by.
    pub(super) review: RefCell<Option<Rc<Review>>>,
    /// The number of the last event that was handed out. All up to it are in history.
    pub(super) handed: Cell<u64>,
    /// Of which epoch that was, as the hub counts them.
    pub(super) life: Cell<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) streams: Slab<Entry>,
    pub(super) channels: HashMap<ChannelId, SmallVec<[Rc<Subscriber>; 1]>>,
    pub(super) timers: Timers,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) subscriber: Rc<Subscriber>,
    /// Dropped with the entry, which leaves the hub.
    pub(super) subscription: Subscription,
    /// The same, for what it takes of the limits.
    _permit: Option<Box<Permit>>,
}

impl Streams {
    /// An empty table for a worker.
    pub fn new(hub: Hub, worker: usize, counters: Arc<Counters>, log: Rc<WorkerLog>) -> Self {
        let records = Records::new(hub.workers());
        Self(Rc::new(Shared {
            hub,
            worker,
            counters,
            log,
            table: RefCell::default(),
            serial: Cell::new(0),
            sooner: Notify::new(),
            due: Due::default(),
            catch_up: CatchUp::default(),
            records,
            review: RefCell::default(),
            handed: Cell::new(0),
            life: Cell::new(0),
        }))
    }

    /// Registers a stream and makes its first bytes.
    pub(super) fn open(&self, grant: Grant, form: Form) -> Rc<Subscriber> {
        let Grant {
            settings,
            user,
            channels,
            last_id,
            expires,
            again,
            voucher,
            client,
            target,
            fields,
            permit,
            is_uncounted,
            span,
            // Given back when the stream is registered, which holds the channels itself.
            held: _held,
        } = grant;
        let own = own_channel(&settings.route, user.as_deref(), &channels);
        let from = match &last_id {
            Some(_) if settings.route.replay == Replay::Nothing => Position::Now,
            Some(id) => Position::After(id),
            None => Position::Now,
        };
        let worker = self.0.worker;
        let now = Timestamp::now();
        let registered = self.0.hub.subscribe(worker, user.as_deref(), &channels, from, now);
        let user: Option<Box<str>> = user.map(Into::into);
        let Ok((subscription, start)) = registered else {
            if self.0.log.is_on() {
                let logged = Logged::new(&target);
                let reason = End::Kicked.to_string();
                self.0.log.write("close", |line| {
                    logged.put(&client, user.as_deref(), line).text("reason", &reason)
                });
            }
            return self.refused(settings, form, fields.as_deref());
        };
        let unread = own.clone().filter(|_| last_id.is_none());
        let came = start.clone();
        let (start, page) = catch_up::begin(&subscription, unread.as_ref(), start, now);
        self.count_opening(&start, &page);
        if is_uncounted {
            self.0.counters.streams_uncounted.inc();
        }
        let logged = (self.0.log.is_on() || span.is_some()).then(|| {
            let logged = Logged::new(&target).with(span);
            self.0.log.write("open", |line| {
                let line =
                    logged.put(&client, user.as_deref(), line).number("channels", channels.len() as u64);
                line.number("replayed", page.records.len() as u64)
            });
            Box::new(logged)
        });

        let marking = own.and_then(|own| Marking::of(&settings.route, own, &channels, &subscription));
        let story = Story::of(&came, &start, &page, unread.is_some());
        let opened = Instant::now();
        let is_behind = page.read < start.head;
        let is_own = unread.is_some();
        let has_id = !(is_own && is_behind && page.read == 0);
        let mut backlog = first_bytes(&form, &settings, fields.as_deref(), &start, has_id);
        // For one that is not behind, too: its first page is its last.
        backlog.history = Some(History::new(start.head, unread, opened));
        let cursor = start.cursor;
        let subscriber = Rc::new(Subscriber::new(Parts {
            serial: self.next_serial(),
            channels: subscription.channels().collect(),
            cursor,
            life: subscription.life(),
            story,
            opened,
            ends: ends(&settings.route, opened, expires),
            user,
            client: client.into(),
            rechecked: again.map(|again| Box::new(Rechecked::new(again, opened))),
            voucher,
            marking,
            logged,
            form,
            backlog,
            settings,
            counters: self.0.counters.clone(),
        }));
        self.note(&subscriber, &subscription, &page, is_own);
        subscriber.take_page(&page, start.head);
        self.insert(subscriber.clone(), subscription, permit);
        self.judge_new(&subscriber);
        if is_behind {
            self.0.catch_up.add(&subscriber);
        }
        subscriber
    }

    /// A stream whose user has been blocked since it was granted: it says so and is over, and is in no table.
    fn refused(
        &self,
        settings: Rc<StreamSettings>,
        form: Form,
        fields: Option<&HeaderMap>,
    ) -> Rc<Subscriber> {
        self.0.counters.streams_refused.inc();
        let chunked = matches!(form, Form::Parked { chunked: true, .. });
        let mut backlog = head(&form, &settings, fields);
        backlog.push(bytes_of(&unauthorized_event(), chunked));
        let subscriber = Subscriber::new(Parts {
            serial: self.next_serial(),
            user: None,
            client: Box::default(),
            channels: SmallVec::new(),
            cursor: EventId { epoch: self.0.hub.epoch(), seq: 0 },
            life: 0,
            story: Story::new(Began::Now, 0, 0),
            opened: Instant::now(),
            ends: None,
            rechecked: None,
            voucher: None,
            logged: None,
            marking: None,
            form,
            backlog,
            settings,
            counters: self.0.counters.clone(),
        });
        subscriber.end(End::Kicked, None);
        Rc::new(subscriber)
    }

    fn next_serial(&self) -> u32 {
        self.0.serial.replace(self.0.serial.get().wrapping_add(1))
    }

    fn count_opening(&self, start: &Start, page: &Page) {
        let counters = &self.0.counters;
        counters.streams.inc();
        counters.streams_opened.inc();
        counters.replayed.add(page.records.len() as u64);
        if start.resumed {
            counters.resumed.inc();
        }
        if let Some(gap) = start.gap {
            self.count_gap(gap);
        }
    }

    /// Counts that a stream is told of a gap.
    pub(super) fn count_gap(&self, gap: Gap) {
        let counters = &self.0.counters;
        counters.resets.inc();
        match gap {
            Gap::UnknownId => counters.resets_unknown_id.inc(),
            Gap::NewEpoch => counters.resets_new_epoch.inc(),
            Gap::Expired => {}
        }
    }

    fn insert(&self, subscriber: Rc<Subscriber>, subscription: Subscription, permit: Option<Box<Permit>>) {
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
        entry.insert(Entry { subscriber, subscription, _permit: permit });
        let is_sooner = timer.is_some_and(|timer| table.timers.add(timer));
        let Table { streams, timers, .. } = table;
        let serial_at = |key: u32| streams.get(key as usize).map(|entry| entry.subscriber.serial);
        timers.prune(streams.len(), |timer| serial_at(timer.key) == Some(timer.serial));
        if is_sooner {
            self.0.sooner.notify_one();
        }
    }

    /// Ends a stream: takes it out of the table and the hub, writes its line, and lets its task or body close it.
    pub fn end(&self, subscriber: &Rc<Subscriber>, end: End) {
        self.end_saying(subscriber, end, end.last_words().as_ref());
    }

    /// The same, with last words of its own. Says whether the stream was still open.
    pub(super) fn end_saying(&self, subscriber: &Rc<Subscriber>, end: End, last: Option<&Frame>) -> bool {
        let entry = {
            let table = &mut *self.0.table.borrow_mut();
            let key = subscriber.key.get() as usize;
            if !table.streams.get(key).is_some_and(|entry| Rc::ptr_eq(&entry.subscriber, subscriber)) {
                return false;
            }
            for (channel, place) in &subscriber.channels {
                leave(table, *channel, place.get() as usize);
            }
            table.streams.remove(key)
        };
        self.remember(&entry, end);
        // Leaves the hub here, with the table free again.
        drop(entry);
        subscriber.end(end, last);
        let time = subscriber.opened.elapsed();
        let counters = &self.0.counters;
        counters.streams.dec();
        counters.stream_time.note(time);
        end.cell(counters).inc();
        if let Some(logged) = &subscriber.logged {
            logged.end_span(subscriber, end);
            self.0.log.write("close", |line| {
                logged
                    .put(&subscriber.client, subscriber.user.as_deref(), line)
                    .text("reason", &end.to_string())
                    .number("events", subscriber.delivered.get())
                    .duration("duration", time)
            });
        }
        true
    }

    /// The hub that the streams are registered with.
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// Ends all streams now.
    pub fn end_all(&self) {
        for subscriber in self.all() {
            self.end(&subscriber, End::Drain);
        }
    }

    pub(super) fn all(&self) -> Vec<Rc<Subscriber>> {
        self.0.table.borrow().streams.iter().map(|(_, entry)| entry.subscriber.clone()).collect()
    }
}

/// The channel of a stream's user, if the route shows what is unread there.
fn own_channel(route: &StreamRoute, user: Option<&str>, channels: &[ChannelName]) -> Option<ChannelName> {
    route.replay.unread()?;
    ChannelName::of_user(user?).ok().filter(|own| channels.contains(own))
}

/// What a stream begins with: the head, if it is not hyper's to write, the opening, perhaps with an id, and word of a gap.
fn first_bytes(
    form: &Form,
    settings: &StreamSettings,
    fields: Option<&HeaderMap>,
    start: &Start,
    has_id: bool,
) -> Backlog {
    let chunked = matches!(form, Form::Parked { chunked: true, .. });
    let mut backlog = head(form, settings, fields);
    let told = start.gap.and_then(|gap| settings.gap(gap, start.cursor));
    // The head's id comes with the word of the gap and not before: one who is cut in between must be told again.
    let cursor = (told.is_none() && has_id).then_some(start.cursor);
    backlog.push_replay(bytes_of(&settings.opening(cursor), chunked));
    if let Some(told) = told {
        backlog.push_replay(bytes_of(&told, chunked));
    }
    backlog
}

/// The head of the response, if it is not hyper's to write.
fn head(form: &Form, settings: &StreamSettings, fields: Option<&HeaderMap>) -> Backlog {
    let mut backlog = Backlog::default();
    if let Form::Parked { chunked, .. } = form {
        backlog.push_replay(settings.head(!chunked, fields, &httpdate::fmt_http_date(SystemTime::now())));
    }
    backlog
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

fn bytes_of(frame: &Frame, chunked: bool) -> bytes::Bytes {
    if chunked { frame.chunk().clone() } else { frame.text() }
}

/// A place in the table as it is stored: there are never as many streams as a u32 counts, since each has a file
/// descriptor.
fn small(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
