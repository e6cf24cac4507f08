//! What happens to streams as time goes by: heartbeats, ends, and the drain.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::delivery::DELIVERIES_A_TURN;
use super::subscriber::Handed;
use super::timers::Timer;
use super::{End, Streams, Subscriber};

/// How far apart streams end that are of no use any more: fast enough for who waits for an event, slow enough for the
/// process that they come back to.
const APART: Duration = Duration::from_millis(1);

impl Streams {
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
        self.0.due.add_if_due(subscriber, now);
        if subscriber.next_heartbeat.get().is_some_and(|at| at <= now) {
            subscriber.next_heartbeat.set(subscriber.settings.heartbeat_every().map(|every| now + every));
            // A reader that is behind has bytes coming; a heartbeat would only wait behind them.
            if !subscriber.is_behind()
                && let Some(frame) = subscriber.settings.heartbeat(subscriber.cursor())
            {
                if let Handed::Ends(end) = subscriber.say(&frame) {
                    self.0.counters.heartbeats_failed.inc();
                    self.end(subscriber, end);
                    return;
                }
                self.0.counters.heartbeats.inc();
            }
        }
        if let Some(at) = next_due(subscriber) {
            let timer = Timer { at, key: subscriber.key.get(), serial: subscriber.serial };
            self.0.table.borrow_mut().timers.add(timer);
        }
    }

    /// Ends all streams, spread evenly over `window`, so that their clients do not all come back at once.
    pub async fn drain(&self, window: Duration) {
        // Not held while it waits: a socket is closed when the last hold on its subscriber is gone.
        let streams: Vec<_> = self.all().iter().map(Rc::downgrade).collect();
        let Ok(count) = u32::try_from(streams.len()) else { return };
        // What is published by then comes to another process, and reaches them when they are there.
        let window = if self.hub().is_elsewhere() { window.min(APART * count) } else { window };
        let begun = Instant::now();
        for (place, subscriber) in (0..).zip(streams) {
            sleep_until(begun + window * place / count).await;
            if let Some(subscriber) = subscriber.upgrade() {
                self.end(&subscriber, End::Drain);
            }
        }
    }
}

/// When a stream next has something to do.
pub(super) fn next_due(subscriber: &Subscriber) -> Option<Instant> {
    let ends = subscriber.ends.map(|(at, _)| at);
    let recheck = subscriber.rechecked.as_ref().map(|rechecked| rechecked.next.get());
    [subscriber.next_heartbeat.get(), recheck, ends].into_iter().flatten().min()
}
