//! The rest of a request that is being answered already, sent by a task of its own: an app that answers early may go
//! on reading however slowly the client takes its answer, and after its end.
//!
//! Such a connection serves no other request: an app that answered before it had read all may take what is left for
//! something else than we do, and somebody else would get the answer to it.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::WriteHalf;
use tokio::task::{JoinHandle, spawn_local};

use super::link::Link;
use super::request::{BodyError, Outgoing, SendError};
use super::stall::Stall;

/// What is being sent. Dropped before the answer has ended, it is broken off.
#[derive(Debug)]
pub(super) struct Upload {
    task: Option<JoinHandle<Result<(), BodyError>>>,
}

impl Upload {
    /// Goes on with a request, until the app takes nothing for so long.
    pub(super) fn start(request: Outgoing, socket: WriteHalf<Link>, patience: Duration) -> Self {
        Self { task: Some(spawn_local(send(request, socket, patience))) }
    }

    /// Ready with what was wrong with the client's body, or when there is nothing to say any more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some(task) = &mut self.task else { return Poll::Ready(Ok(())) };
        let ended = ready!(Pin::new(task).poll(cx));
        self.task = None;
        // The task is not cancelled while this is there.
        Poll::Ready(ended.unwrap_or(Ok(())))
    }

    /// The answer has ended and with it the use of the connection, but the app may go on reading.
    pub(super) fn detach(mut self) {
        self.task = None;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn send(
    mut request: Outgoing,
    mut socket: WriteHalf<Link>,
    patience: Duration,
) -> Result<(), BodyError> {
    let mut clock = Stall::new(patience);
    let sent = poll_fn(|cx| match request.poll_send(cx, Pin::new(&mut socket), &mut clock) {
        Poll::Pending if !request.waits_for_client() => {
            clock.poll(cx).map(|()| Err(SendError::Io(io::ErrorKind::TimedOut.into())))
        }
        polled => polled,
    });
    match sent.await {
        // An app that takes no more may still answer.
        Ok(()) | Err(SendError::Io(_)) => Ok(()),
        Err(SendError::Body(error)) => Err(error),
    }
}
