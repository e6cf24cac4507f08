//! The rest of a request that is being answered already, sent by a task of its own: an app that answers early may go
//! on reading however slowly the client takes its answer, and after its end.
//!
//! The connection is whole again when both are done, the request sent and the answer read; only then can it serve
//! another request.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::WriteHalf;
use tokio::task::{JoinHandle, spawn_local};

use super::connection::Connection;
use super::pool::Upstream;
use super::request::{BodyError, Outgoing, SendError};
use super::stall::Stall;
use crate::transport::Socket;

/// What is being sent. Dropped before the answer has ended, it is broken off.
#[derive(Debug)]
pub(super) struct Upload {
    task: Option<JoinHandle<Result<(), BodyError>>>,
    halves: Rc<RefCell<Halves>>,
}

/// The half that is done already.
#[derive(Debug)]
enum Halves {
    Neither,
    Sent(WriteHalf<Socket>),
    Answered(Connection, Rc<Upstream>),
}

impl Upload {
    /// Goes on with a request, until the app takes nothing for so long.
    pub(super) fn start(request: Outgoing, socket: WriteHalf<Socket>, patience: Duration) -> Self {
        let halves = Rc::new(RefCell::new(Halves::Neither));
        let task = spawn_local(send(request, socket, patience, halves.clone()));
        Self { task: Some(task), halves }
    }

    /// Ready with what was wrong with the client's body, or when there is nothing to say any more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some(task) = &mut self.task else { return Poll::Ready(Ok(())) };
        let ended = ready!(Pin::new(task).poll(cx));
        self.task = None;
        // The task is not cancelled while this is there.
        Poll::Ready(ended.unwrap_or(Ok(())))
    }

    /// The answer has ended: what is left of the request is sent nevertheless, and then the connection is kept.
    pub(super) fn answered(mut self, connection: Connection, upstream: Rc<Upstream>) {
        self.task = None;
        let mut halves = self.halves.borrow_mut();
        match std::mem::replace(&mut *halves, Halves::Neither) {
            Halves::Sent(writer) => reunite(connection, writer, &upstream),
            Halves::Neither | Halves::Answered(..) => *halves = Halves::Answered(connection, upstream),
        }
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
    mut socket: WriteHalf<Socket>,
    patience: Duration,
    halves: Rc<RefCell<Halves>>,
) -> Result<(), BodyError> {
    let mut clock = Stall::new(patience);
    let sent = poll_fn(|cx| match request.poll_send(cx, Pin::new(&mut socket), &mut clock) {
        Poll::Pending if !request.waits_for_client() => {
            clock.poll(cx).map(|()| Err(SendError::Io(io::ErrorKind::TimedOut.into())))
        }
        polled => polled,
    });
    match sent.await {
        Ok(()) => {}
        // An app that takes no more may still answer.
        Err(SendError::Io(_)) => return Ok(()),
        Err(SendError::Body(error)) => return Err(error),
    }
    let mut halves = halves.borrow_mut();
    match std::mem::replace(&mut *halves, Halves::Neither) {
        Halves::Answered(connection, upstream) => reunite(connection, socket, &upstream),
        Halves::Neither | Halves::Sent(_) => *halves = Halves::Sent(socket),
    }
    Ok(())
}

fn reunite(connection: Connection, writer: WriteHalf<Socket>, upstream: &Upstream) {
    if let Some(connection) = connection.reunite(writer) {
        upstream.keep(connection);
    }
}
