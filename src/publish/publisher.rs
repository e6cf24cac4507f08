//! The publisher's way in: JSON to the hub and the receipt back. Every door ends here.
//!
//! Invariant: what is refused has published nothing, and what is acknowledged has its true count.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;

use crate::config::{self, Map, Secret};
use crate::event::Timestamp;
use crate::hub::{Hub, NotKept, Publication, PublishError, Receipt};
use crate::limits::{Quiet, Throttle};
use crate::metrics::{Counters, Totals};
use crate::publish::produced::Produced;
use crate::publish::publication::{self, Limits, Whom};
use crate::publish::refusal::{Refusal, RefusalKind};
use crate::publish::way::{Leads, Way};
use crate::publish::{Bounds, map, relay, reply};
use crate::trace::Tracer;

/// The handle. Cloning it is cheap; workers and the control thread each have one.
#[derive(Debug, Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
    /// By the place of a route in the configuration.
    rates: Arc<[Option<Arc<Throttle>>]>,
}

#[derive(Debug)]
struct Shared {
    hub: Hub,
    way: Way,
    /// Both are changed by a new configuration, also for those who are connected.
    bounds: RwLock<Arc<Bounds>>,
    terms: RwLock<Arc<Terms>>,
    tracer: RwLock<Option<Tracer>>,
    counters: Arc<[Arc<Counters>]>,
    /// What the app's own publications are told and the log says.
    refused: Quiet,
}

/// Who is let in at the doors of the app's own publications.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// What the address on TCP asks for; none lets nobody in there.
    pub token: Option<Secret>,
    /// The users that may connect to the socket, root not excepted; none is whoever the file's mode lets in.
    pub allow_uids: Option<Vec<u32>>,
}

impl Publisher {
    /// A way into the hub. The counters are those of all workers, told by `GET /healthz`.
    pub fn new(hub: Hub, bounds: Bounds, counters: Arc<[Arc<Counters>]>) -> Self {
        let bounds = RwLock::new(Arc::new(bounds));
        Self {
            shared: Arc::new(Shared {
                hub,
                way: Way::default(),
                bounds,
                terms: RwLock::default(),
                tracer: RwLock::default(),
                counters,
                refused: Quiet::new(),
            }),
            rates: Arc::new([]),
        }
    }

    /// The same, with the rates of the configuration's publish routes, which all workers share. Those of the routes that
    /// were there `before` go on if they did not change.
    #[must_use]
    pub fn with_rates(&self, routes: &[config::Route], before: &[config::Route]) -> Self {
        let rate_of = |route: &config::Route| match &route.action {
            config::Action::Publish(route) => route.rate,
            _ => None,
        };
        let rates = routes.iter().map(|route| {
            let a_second = rate_of(route)?;
            let same =
                |known: &config::Route| known.name() == route.name() && rate_of(known) == Some(a_second);
            let known = before.iter().position(same).and_then(|place| self.rate(place));
            Some(known.unwrap_or_else(|| Arc::new(Throttle::per_second(a_second))))
        });
        Self { shared: self.shared.clone(), rates: rates.collect() }
    }

    /// Changes the bounds, for those who are connected too: with their next request or line.
    pub fn bound(&self, bounds: Bounds) {
        *self.shared.bounds.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(bounds);
    }

    /// Changes who is let in. On connections over TCP each request is asked for the token that holds then; who has come by
    /// the socket stays.
    pub fn let_in(&self, terms: Terms) {
        *self.shared.terms.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
    }

    /// Changes which publications are recorded.
    pub fn trace(&self, tracer: Option<Tracer>) {
        *self.shared.tracer.write().unwrap_or_else(PoisonError::into_inner) = tracer;
    }

    pub(super) fn tracer(&self) -> Option<Tracer> {
        self.shared.tracer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn terms(&self) -> Arc<Terms> {
        self.shared.terms.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says in the log that something was refused at the socket or over TCP, at most once a second. A publish route's
    /// refusals are in the access log.
    pub(super) fn tell(&self, refusal: &Refusal) {
        let Some(refused) = self.shared.refused.happened(Instant::now()) else { return };
        match refusal.kind() {
            RefusalKind::Unauthorized | RefusalKind::Forbidden => {
                tracing::warn!(refused, last = %refusal, "publishers are turned away");
            }
            kind => tracing::info!(refused, error = kind.code(), last = %refusal, "publications are refused"),
        }
    }

    /// Where publications go just now.
    pub fn way(&self) -> &Way {
        &self.shared.way
    }

    /// Waits until what is asked for can be done here.
    ///
    /// # Errors
    /// If it is done by another process from now on, to which this is not handed on.
    pub(super) async fn here(&self) -> Result<impl Sized, Refusal> {
        match self.shared.way.turn().await {
            Leads::Here(hand) => Ok(hand),
            Leads::There(_) => Err(relay::gone()),
        }
    }

    /// The rate of a route, by its place in the configuration.
    pub(super) fn rate(&self, route: usize) -> Option<Arc<Throttle>> {
        self.rates.get(route).cloned().flatten()
    }

    /// Publishes one JSON object.
    ///
    /// # Errors
    /// What is wrong with it, `KeyReused`, or `Unavailable`; then nothing was published.
    pub fn publish_one(&self, json: &[u8], now: Timestamp) -> Result<Receipt, Refusal> {
        let publication = publication::parse(json, &self.limits())?;
        self.shared.hub.publish(publication, now).map_err(|error| refused(error, false))
    }

    /// Reads the body of a request: an array is a batch, all else is one publication.
    pub(super) fn read(&self, json: &[u8], reading: &Reading<'_>) -> Result<Posted, Refusal> {
        let Reading { map, whom, max_batch } = *reading;
        let bounds = self.bounds();
        let (limits, max_batch) = (&limits_of(&bounds), bounds.max_batch.min(max_batch));
        match (map, is_array(json)) {
            (None, false) => publication::parse_for(json, limits, whom).map(Posted::one),
            (None, true) => publication::parse_batch_for(json, limits, whom, max_batch).map(Posted::Batch),
            (Some(map), false) => {
                map::publication(map, publication::value(json)?, limits, whom).map(Posted::one)
            }
            (Some(map), true) => {
                let (bodies, more) = publication::list(json, max_batch, publication::no_batch)?;
                if more {
                    return Err(publication::too_long(max_batch));
                }
                let read = bodies.into_iter().enumerate().map(|(index, body)| {
                    let read = map::publication(map, body, limits, whom);
                    read.map_err(|refusal| refusal.in_element(index))
                });
                read.collect::<Result<_, _>>().map(Posted::Batch)
            }
        }
    }

    /// Publishes what was read, all or nothing, and writes the answer: a receipt or an array of them.
    pub(super) async fn answer(
        &self,
        posted: Posted,
        now: Timestamp,
        produced: &mut Produced,
    ) -> Result<Bytes, Refusal> {
        self.answer_remembered(posted, now, Timestamp::default(), produced).await
    }

    /// The same, and remembers the keys until then at least.
    pub(super) async fn answer_remembered(
        &self,
        posted: Posted,
        now: Timestamp,
        until: Timestamp,
        produced: &mut Produced,
    ) -> Result<Bytes, Refusal> {
        let _hand = match self.shared.way.turn().await {
            Leads::Here(hand) => hand,
            Leads::There(relay) => return relay.hand_on(posted, until).await,
        };
        let (batch, is_batch) = match posted {
            Posted::One(publication) => (vec![*publication], false),
            Posted::Batch(batch) => (batch, true),
        };
        let receipts = self.shared.hub.publish_remembered(batch, now, until);
        let receipts = receipts.map_err(|error| refused(error, is_batch))?;
        let mut told = Vec::with_capacity(receipts.len());
        for receipt in &receipts {
            told.push(receipt.acknowledged().await);
        }
        if let Some(Err(error)) = told.iter().find(|told| told.is_err()) {
            // With keys, a part of a batch may have been handed in before and have failed, and the rest been kept.
            let is_part = told.iter().any(Result::is_ok);
            return Err(not_kept(if is_part { NotKept::Unknown } else { *error }, is_batch));
        }
        let told: Result<Vec<_>, _> = told.into_iter().collect();
        let told = told.map_err(|error| not_kept(error, is_batch))?;
        produced.put(told.iter().copied());
        let mut text = if is_batch { vec![b'['] } else { Vec::new() };
        for (index, (id, streams)) in told.into_iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            reply::put_receipt(&mut text, id, streams);
        }
        if is_batch {
            text.push(b']');
        }
        Ok(text.into())
    }

    pub(super) fn bounds(&self) -> Arc<Bounds> {
        self.shared.bounds.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn limits(&self) -> Limits {
        limits_of(&self.bounds())
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.shared.hub
    }

    pub(super) fn totals(&self) -> Totals {
        Totals::of(&self.shared.counters)
    }
}

fn limits_of(bounds: &Bounds) -> Limits {
    Limits { max_event: bounds.max_event }
}

/// What a request's body turned out to be.
#[derive(Debug)]
pub(super) enum Posted {
    One(Box<Publication>),
    Batch(Vec<Publication>),
}

impl Posted {
    fn one(publication: Publication) -> Self {
        Self::One(Box::new(publication))
    }

    /// The publications.
    pub(super) fn all(&mut self) -> &mut [Publication] {
        match self {
            Self::One(publication) => std::slice::from_mut(publication),
            Self::Batch(batch) => batch,
        }
    }
}

/// How a body is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    /// What makes publications of it, if it is not itself one.
    pub(super) map: Option<&'a Map>,
    /// Whom it may be for.
    pub(super) whom: Whom<'a>,
    /// The most publications in it, if that is less than elsewhere.
    pub(super) max_batch: usize,
}

impl Reading<'_> {
    /// As it stands, for whomever it names.
    pub(super) const PLAIN: Self = Self { map: None, whom: Whom::Anybody, max_batch: usize::MAX };
}

/// Whether JSON text begins an array.
pub(super) fn is_array(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'[')
}

/// What is said when the store has not kept what it was given. It is the same for all of a batch.
pub(super) fn not_kept(error: NotKept, is_batch: bool) -> Refusal {
    let advice = match error {
        NotKept::Failed | NotKept::Away => "nothing was published, try again later",
        NotKept::Unknown => "send it again with the same key, which makes it once",
        NotKept::KeyReused { index } => return refused(PublishError::KeyReused { index }, is_batch),
    };
    Refusal::new(RefusalKind::Unavailable, format!("{error}; {advice}"))
}

pub(super) fn refused(error: PublishError, batch: bool) -> Refusal {
    let (message, index) = match error {
        PublishError::NotKept => {
            return Refusal::new(
                RefusalKind::Unavailable,
                "the store cannot take more events now; nothing was published, try again in a second",
            );
        }
        PublishError::Overloaded => {
            return Refusal::new(
                RefusalKind::Unavailable,
                "a worker is too far behind to take more events; nothing was published, try again in a second",
            );
        }
        PublishError::TooLarge => {
            return Refusal::new(
                RefusalKind::TooLarge,
                "is more than the store takes in one step, counted for each channel of each publication; nothing was \
                 published, split it",
            );
        }
        PublishError::TooManyKeys { wait } => {
            let message = "as many keys are remembered as [publish] max_keys allows; nothing was published, try again \
                           later with the same key";
            return Refusal::of_field(RefusalKind::Unavailable, "key", message).after(wait);
        }
        PublishError::KeyReused { index } => {
            ("was used for another publication a short while ago; a new one needs a new key", index)
        }
    };
    let refusal = Refusal::of_field(RefusalKind::KeyReused, "key", message);
    if batch { refusal.in_element(index) } else { refusal }
}
