//! Streams whose session the app is asked for again while they are open.
//!
//! Invariant: a stream ends when the app says that its user is signed out, or another, or may no longer have one of its
//! channels, and for no other answer: an app that is down ends nothing. At most one question is under way for a stream.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::grant::Again;
use super::{End, Streams, Subscriber};
use crate::auth::AuthError;

/// How many questions of one worker are under way at once.
const MAX_AT_ONCE: usize = 16;

/// The time to the next question is shortened by up to this share at random, so that streams that were opened together
/// are not asked for together.
const JITTER: f64 = 0.2;

/// What a stream needs for this; others have none of it.
#[derive(Debug)]
pub(super) struct Rechecked {
    again: Box<Again>,
    /// When it is next asked for.
    pub(super) next: Cell<Instant>,
    is_waiting: Cell<bool>,
}

impl Rechecked {
    pub(super) fn new(again: Box<Again>, opened: Instant) -> Self {
        let next = Cell::new(opened + jittered(again.recheck.every));
        Self { again, next, is_waiting: Cell::new(false) }
    }
}

/// The streams that are due, the first in front. Each is there once at most.
#[derive(Debug, Default)]
pub(super) struct Due {
    streams: RefCell<VecDeque<Weak<Subscriber>>>,
    more: Notify,
}

impl Due {
    /// Puts a stream in line whose time has come, whatever its next one was to be.
    pub(super) fn add(&self, subscriber: &Rc<Subscriber>, now: Instant) {
        if let Some(rechecked) = &subscriber.rechecked {
            rechecked.next.set(now);
            self.add_if_due(subscriber, now);
        }
    }

    /// Puts a stream in line if its time has come.
    pub(super) fn add_if_due(&self, subscriber: &Rc<Subscriber>, now: Instant) {
        let Some(rechecked) = &subscriber.rechecked else { return };
        if rechecked.next.get() > now {
            return;
        }
        rechecked.next.set(now + jittered(rechecked.again.recheck.every));
        if !rechecked.is_waiting.replace(true) {
            // Not held: a socket is closed when the last hold on its subscriber is gone.
            self.streams.borrow_mut().push_back(Rc::downgrade(subscriber));
            self.more.notify_one();
        }
    }
}

impl Streams {
    /// Asks again for the streams that are due, for ever.
    pub async fn keep_asking(&self) {
        let turns = Arc::new(Semaphore::new(MAX_AT_ONCE));
        loop {
            let Ok(turn) = turns.clone().acquire_owned().await else { return };
            let subscriber = self.next_to_ask().await;
            let streams = self.clone();
            spawn_local(async move {
                streams.ask_again(&subscriber).await;
                drop(turn);
            });
        }
    }

    async fn next_to_ask(&self) -> Weak<Subscriber> {
        loop {
            let next = self.0.due.streams.borrow_mut().pop_front();
            match next {
                Some(subscriber) => return subscriber,
                None => self.0.due.more.notified().await,
            }
        }
    }

    async fn ask_again(&self, subscriber: &Weak<Subscriber>) {
        // Not held while the app is asked: a socket is closed when the last hold on its subscriber is gone.
        let (recheck, voucher) = {
            let Some(subscriber) = subscriber.upgrade() else { return };
            let rechecked = subscriber.rechecked.as_ref().map(|rechecked| rechecked.again.recheck.clone());
            let Some(known) = rechecked.zip(subscriber.voucher.borrow().clone()) else { return };
            known
        };
        let answer = voucher.admit_again(&recheck).await;
        let Some(subscriber) = subscriber.upgrade() else { return };
        let Some(rechecked) = &subscriber.rechecked else { return };
        rechecked.is_waiting.set(false);
        if subscriber.voucher.borrow().as_ref() != Some(&voucher) {
            // The configuration has changed meanwhile, and whoever stands behind it now has not been asked.
            self.0.due.add(&subscriber, Instant::now());
            return;
        }
        let may_stay = match answer {
            Ok(identity) => rechecked.again.is_good_for(&identity, &subscriber.settings.route),
            Err(AuthError::Unavailable) => true,
            Err(_) => false,
        };
        if !may_stay {
            self.end(&subscriber, End::Expired);
        }
    }
}

fn jittered(every: Duration) -> Duration {
    every.mul_f64(1.0 - JITTER * fastrand::f64())
}
