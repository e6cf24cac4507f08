//! A mistake of ours within one request ends that request alone: it is answered, counted, and the worker goes on.
//!
//! What a panic may leave half changed is the request's own, gone with its future; what outlives it (tables, pools, limits)
//! is given back by `Drop`, and changed as a whole between two calls that could panic.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::Request;
use hyper::body::Incoming;

use super::{Handler, Info, Outcome, Shared};

impl<H: Handler> Shared<H> {
    /// The handler's answer, or the one for a mistake of ours.
    pub(super) async fn answer(&self, request: Request<Incoming>, info: &Rc<Info>) -> Outcome<H::Body> {
        match caught(self.handler.handle(request, info)).await {
            Some(outcome) => outcome,
            None => {
                self.counters.panics.inc();
                Outcome::Reply(self.handler.failed(info))
            }
        }
    }
}

/// What a future comes to; none if it panics. What the panic said has gone to the process's hook.
async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        // Never polled again.
        Err(_) => Poll::Ready(None),
    })
    .await
}
