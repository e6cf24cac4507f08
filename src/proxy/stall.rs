//! A clock for one who is waited for: it runs only while something is awaited, and starts anew each time.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock;

/// Says when a wait has become too long. Costs nothing until something is waited for; from then on one timer, which
/// is moved only when it fires.
#[derive(Debug)]
pub struct Stall {
    after: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// A clock that gives a wait so much time.
    pub fn new(after: Duration) -> Self {
        Self { after, waiting_since: None, timer: None }
    }

    /// Gives waits so much time from now on.
    pub fn allow(&mut self, after: Duration) {
        self.after = after;
    }

    /// What was waited for has come.
    pub fn moved(&mut self) {
        self.waiting_since = None;
    }

    /// What was waited for has come, after how long; none if there was no wait.
    pub fn took(&mut self) -> Option<Duration> {
        self.waiting_since.take().map(|since| since.elapsed())
    }

    /// What is waited for has not come. Ready when that has lasted for too long.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.waiting_since.get_or_insert_with(clock::now) + self.after;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            // A wait is given less time than the one before.
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_one_wait_counts() {
        let mut stall = Stall::new(Duration::from_secs(30));
        for _ in 0..3 {
            assert!(poll_fn(|cx| Poll::Ready(stall.poll(cx).is_pending())).await);
            advance(Duration::from_secs(20)).await;
            assert!(poll_fn(|cx| Poll::Ready(stall.poll(cx).is_pending())).await);
            stall.moved();
            // Whoever does not wait is not late.
            advance(Duration::from_secs(40)).await;
        }
        let begun = Instant::now();
        poll_fn(|cx| stall.poll(cx)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(30));
        for seconds in [10, 5, 20] {
            stall.moved();
            stall.allow(Duration::from_secs(seconds));
            let begun = Instant::now();
            poll_fn(|cx| stall.poll(cx)).await;
            assert_eq!(begun.elapsed(), Duration::from_secs(seconds));
        }
    }
}
