//! What becomes of open streams when the configuration changes: they go on under what they began with, unless what they
//! were let in by was taken away.
//!
//! Invariant: a stream goes on only if its route is there, still grants whatever it may have granted the stream, and takes
//! what stands behind the stream's user; or if the app, asked again, says so. All others end as if cut off, without a
//! word, so that their clients come back and are judged by what they bring. Nothing is ended for any other reason.

use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{spawn_local, yield_now};
use tokio::time::{Instant, sleep_until};

use super::{End, StreamSettings, Streams, Subscriber};
use crate::auth::{Authenticator, Vouching};
use crate::config::StreamRoute;

/// So many streams are looked at before other tasks get their turn: a tenth of a millisecond or so.
pub(super) const LOOKS_A_TURN: usize = 500;

/// Streams that end are this far apart, so that their clients do not all come back at once; and no longer than that
/// together.
const APART: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(5);

/// What open streams are judged by.
#[derive(Debug)]
pub struct Review {
    auth: Arc<Authenticator>,
    /// By their names.
    routes: HashMap<String, Rc<StreamSettings>>,
}

/// What becomes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Stays,
    /// If the app says so.
    Asks,
    Ends,
}

impl Review {
    /// By these routes, and by who knows credentials now.
    pub fn new(auth: Arc<Authenticator>, routes: impl IntoIterator<Item = Rc<StreamSettings>>) -> Self {
        let named = |settings: Rc<StreamSettings>| (settings.name.clone(), settings);
        Self { auth, routes: routes.into_iter().map(named).collect() }
    }

    fn judge(&self, subscriber: &Subscriber) -> Verdict {
        let Some(settings) = self.routes.get(&subscriber.settings.name) else { return Verdict::Ends };
        let (before, now) = (&subscriber.settings.route, &settings.route);
        if !Rc::ptr_eq(settings, &subscriber.settings) && !still_grants(now, before) {
            return Verdict::Ends;
        }
        let mut voucher = subscriber.voucher.borrow_mut();
        let Some(known) = &*voucher else {
            return if now.auth.is_empty() { Verdict::Stays } else { Verdict::Ends };
        };
        let (stands, verdict) = match self.auth.vouching(&now.auth, known) {
            Vouching::Stands(stands) => (stands, Verdict::Stays),
            Vouching::Asks(stands) if subscriber.rechecked.is_some() => (stands, Verdict::Asks),
            Vouching::Asks(_) | Vouching::Gone => return Verdict::Ends,
        };
        // What was there before is let go of, with all that it remembers.
        *voucher = Some(stands);
        verdict
    }
}

/// Whether a route grants all that another one may have granted.
fn still_grants(now: &StreamRoute, before: &StreamRoute) -> bool {
    let is_there = |pattern| now.channels.contains(pattern) || now.allow.contains(pattern);
    before.channels.iter().chain(&before.allow).all(is_there)
}

impl Streams {
    /// Judges the streams that are open, in turns, and ends those that have to go, spread over a moment.
    pub fn review(&self, review: Review) {
        let review = Rc::new(review);
        self.0.review.replace(Some(review.clone()));
        let streams = self.clone();
        spawn_local(async move { streams.judge_all(&review).await });
    }

    /// Judges a stream that has just been opened: its request may have begun under another configuration.
    pub(super) fn judge_new(&self, subscriber: &Rc<Subscriber>) {
        let review = self.0.review.borrow().clone();
        match review.map(|review| review.judge(subscriber)) {
            None | Some(Verdict::Stays) => {}
            Some(Verdict::Asks) => self.0.due.add(subscriber, Instant::now()),
            Some(Verdict::Ends) => self.end(subscriber, End::Revoked),
        }
    }

    async fn judge_all(&self, review: &Rc<Review>) {
        // Not held while it waits: a socket is closed when the last hold on its subscriber is gone.
        let streams: Vec<_> = self.all().iter().map(Rc::downgrade).collect();
        let mut ending = Vec::new();
        for part in streams.chunks(LOOKS_A_TURN) {
            if !self.is_newest(review) {
                return;
            }
            for stream in part {
                let Some(subscriber) = stream.upgrade() else { continue };
                match review.judge(&subscriber) {
                    Verdict::Stays => {}
                    Verdict::Asks => self.0.due.add(&subscriber, Instant::now()),
                    Verdict::Ends => ending.push(stream.clone()),
                }
            }
            yield_now().await;
        }
        self.revoke(review, ending).await;
    }

    async fn revoke(&self, review: &Rc<Review>, mut ending: Vec<Weak<Subscriber>>) {
        // Those that were opened together have clients that are alike.
        fastrand::shuffle(&mut ending);
        let count = u32::try_from(ending.len()).unwrap_or(u32::MAX).max(1);
        let (begun, window) = (Instant::now(), (APART * count).min(LONGEST));
        for (place, stream) in (0..).zip(ending) {
            sleep_until(begun + window * place / count).await;
            // A newer configuration has its own word on all of them.
            if !self.is_newest(review) {
                return;
            }
            if let Some(subscriber) = stream.upgrade() {
                self.end(&subscriber, End::Revoked);
            }
        }
    }

    fn is_newest(&self, review: &Rc<Review>) -> bool {
        self.0.review.borrow().as_ref().is_some_and(|newest| Rc::ptr_eq(newest, review))
    }
}
