//! The rest of a request that is being answered already, sent by a task of its own: an app that answers early may go
//! on reading however slowly the client takes its answer.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::WriteHalf;
use tokio::task::{JoinHandle, spawn_local};

use super::body::BodyError;
use super::request::{Outgoing, SendError};
use super::stall::Stall;
use crate::transport::Socket;

/// What is being sent. Dropped, it is broken off.
#[derive(Debug)]
pub(super) struct Upload(Option<JoinHandle<Result<(), BodyError>>>);

impl Upload {
    /// Goes on with a request, until the app takes nothing for so long.
    pub(super) fn start(mut request: Outgoing, mut socket: WriteHalf<Socket>, patience: Duration) -> Self {
        let mut clock = Stall::new(patience);
        let sending = poll_fn(move |cx| match request.poll_send(cx, Pin::new(&mut socket), &mut clock) {
            Poll::Ready(Err(SendError::Body(error))) => Poll::Ready(Err(error)),
            // An app that takes no more may still answer.
            Poll::Ready(Ok(()) | Err(SendError::Io(_))) => Poll::Ready(Ok(())),
            Poll::Pending if request.waits_for_client() => Poll::Pending,
            Poll::Pending => clock.poll(cx).map(Ok),
        });
        Self(Some(spawn_local(sending)))
    }

    /// Ready with what was wrong with the client's body, or when there is nothing to say any more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some(task) = &mut self.0 else { return Poll::Ready(Ok(())) };
        let ended = Pin::new(task).poll(cx);
        if ended.is_ready() {
            self.0 = None;
        }
        // The task is not cancelled while this is there.
        ended.map(|ended| ended.unwrap_or(Ok(())))
    }

    /// Lets it go on by itself: its answer has been given.
    pub(super) fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
