//! A stream on a socket that hyper has let go.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

use super::subscriber::{Form, Next};
use super::{End, Grant, Streams, Subscriber};
use crate::transport::Transport;

/// How many bytes a client may send on a stream; they are thrown away. Some clients send the rest of a pipeline.
const UNREAD_BUDGET: u32 = 16 * 1024;

/// How many bytes the kernel holds for a client beside those that are on their way. A reader who takes more than this at
/// once is given more as fast as it takes it.
const UNSENT: u32 = 32 * 1024;

/// How long a client has to read the last words of a stream that has ended.
const LINGER: Duration = Duration::from_secs(1);

/// Opens a stream on a socket and leaves it to a task of its own. The task is small on purpose: there is one for
/// every stream, and the socket keeps it alive through its waker. `held` is dropped when the socket is closed.
pub fn park(
    streams: &Streams,
    grant: Grant,
    transport: Transport,
    is_http_10: bool,
    held: impl Sized + 'static,
) {
    // Refused only by a socket that is gone already, which is seen soon.
    let _ = transport.hold_unsent(UNSENT);
    let form = Form::Parked { transport, chunked: !is_http_10 };
    let subscriber = streams.open(grant, form);
    tokio::task::spawn_local(run(streams.clone(), subscriber, held));
}

async fn run(streams: Streams, subscriber: Rc<Subscriber>, _held: impl Sized) {
    let mut budget = UNREAD_BUDGET;
    let polled = poll_fn(|cx| {
        let next = subscriber.poll_parked(cx, &mut budget);
        streams.mark_written(&subscriber);
        streams.read_on(&subscriber);
        next
    });
    match polled.await {
        Next::Close => {}
        Next::Gone => streams.end(&subscriber, End::Gone),
        // Boxed, so that the timer is not part of every stream's task.
        Next::Linger => Box::pin(linger(&subscriber, &mut budget)).await,
    }
}

async fn linger(subscriber: &Subscriber, budget: &mut u32) {
    let written = poll_fn(|cx| match subscriber.poll_parked(cx, budget) {
        Poll::Ready(Next::Close | Next::Gone) => Poll::Ready(()),
        Poll::Ready(Next::Linger) | Poll::Pending => Poll::Pending,
    });
    // If it is not read by then, it never will be: the socket is closed all the same.
    let _ = timeout(LINGER, written).await;
}
