//! The one timer of a connection, and whom it calls.
//!
//! A connection's task is polled a few times a request, and seldom because of its timer. Invariant: what is asked less often
//! than at each poll has been asked by the task that is to be called, and looks at by itself whether it is ready.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::watch::Watch;
use crate::config::Deadlines;

/// Whom a connection's timer and the word to drain call: its task, which stays the same.
#[derive(Debug, Default)]
pub(super) struct Caller(Option<Waker>);

impl Caller {
    /// Whether this is another one than at the last poll, so that all who are to call it have to be told.
    pub(super) fn is_new(&mut self, cx: &Context<'_>) -> bool {
        let is_new = !self.0.as_ref().is_some_and(|known| known.will_wake(cx.waker()));
        if is_new {
            self.0 = Some(cx.waker().clone());
        }
        is_new
    }
}

/// The one timer of a connection. It is moved only when what is due comes sooner than it would fire, so a connection
/// that is used all the time does not touch it.
#[derive(Debug)]
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    pub(super) fn new(watch: &Watch, deadlines: &Deadlines) -> Self {
        let at = watch.deadline(deadlines).map_or_else(Instant::now, |(at, _)| at);
        Self { sleep: Box::pin(sleep_until(at)) }
    }

    /// Ready when a deadline has passed: with its name. `is_new` says that another task than before is to be called.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        is_new: bool,
        watch: &Watch,
        deadlines: &Deadlines,
    ) -> Poll<&'static str> {
        let mut is_set = !is_new;
        loop {
            let due = watch.deadline(deadlines);
            if let Some((at, _)) = due
                && at < self.sleep.deadline()
            {
                self.sleep.as_mut().reset(at);
                is_set = false;
            }
            if is_set && !self.sleep.is_elapsed() {
                return Poll::Pending;
            }
            // Without a budget, which it would take for a reason not to be told who is to be called.
            ready!(Pin::new(&mut unconstrained(self.sleep.as_mut())).poll(cx));
            is_set = false;
            match due {
                Some((at, what)) if at <= Instant::now() => return Poll::Ready(what),
                Some((at, _)) => self.sleep.as_mut().reset(at),
                // Busy, with nothing due: looked at again after the shortest time in which something can become due.
                None => {
                    let soon = deadlines.idle_timeout.min(deadlines.write_stall);
                    self.sleep.as_mut().reset(Instant::now() + soon);
                }
            }
        }
    }
}
