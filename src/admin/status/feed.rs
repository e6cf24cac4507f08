//! What a watcher is sent: a body that ends when the process does, or the watcher.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use super::{MAX_WATCHERS, Status};
use crate::event::EventId;

/// The event stream of one watcher.
pub(in crate::admin) struct Feed {
    status: Status,
    /// How many samples it has had.
    had: Option<u64>,
    /// Resolves when there is another one.
    told: Pin<Box<dyn Future<Output = ()>>>,
}

impl Feed {
    /// Goes on where a watcher was that has had `last`. None if there are too many watchers.
    pub(super) fn open(status: Status, last: Option<EventId>) -> Option<Self> {
        let watchers = &status.0.watchers;
        if watchers.get() >= MAX_WATCHERS {
            return None;
        }
        watchers.set(watchers.get() + 1);
        let epoch = status.0.kept.borrow().epoch;
        let had = last.filter(|last| last.epoch == epoch).map(|last| last.seq);
        Some(Self { told: told(&status), status, had })
    }
}

/// Resolves with the next reading, counted from now.
fn told(status: &Status) -> Pin<Box<dyn Future<Output = ()>>> {
    let shared = status.0.clone();
    Box::pin(async move { shared.told.notified().await })
}

impl http_body::Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        loop {
            {
                let kept = this.status.0.kept.borrow();
                if let Some(text) = kept.since(this.had) {
                    this.had = Some(kept.count);
                    return Poll::Ready(Some(Ok(Frame::data(text))));
                }
            }
            ready!(this.told.as_mut().poll(cx));
            this.told = told(&this.status);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let watchers = &self.status.0.watchers;
        watchers.set(watchers.get() - 1);
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("had", &self.had).finish_non_exhaustive()
    }
}
