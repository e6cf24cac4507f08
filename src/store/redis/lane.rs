//! Commands in flight on one connection: sent in order, without waiting for one another, and answered in that order.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn, ready};
use std::pin::Pin;
use std::task::Poll;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, Value};
use tokio::task::unconstrained;

/// So many commands are in flight at most. The connection has room for more, so that none waits to be sent.
pub(super) const IN_FLIGHT: usize = 1024;

type Reply = Pin<Box<dyn Future<Output = RedisResult<Value>>>>;

/// A connection, and what was sent on it.
pub(super) struct Lane<T> {
    connection: MultiplexedConnection,
    sent: VecDeque<(T, Reply)>,
}

impl<T> Lane<T> {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, sent: VecDeque::new() }
    }

    /// How many commands are in flight.
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// Sends a command; `what` comes back with its reply.
    pub(super) async fn send(&mut self, what: T, cmd: Cmd) {
        let mut connection = self.connection.clone();
        self.begin(what, async move { connection.send_packed_command(&cmd).await }).await;
    }

    /// Subscribes to channels.
    pub(super) async fn subscribe(&mut self, what: T, channels: Vec<Vec<u8>>) {
        let mut connection = self.connection.clone();
        self.begin(what, async move { connection.subscribe(channels).await.map(|()| Value::Okay) }).await;
    }

    /// Ends subscriptions.
    pub(super) async fn unsubscribe(&mut self, what: T, channels: Vec<Vec<u8>>) {
        let mut connection = self.connection.clone();
        self.begin(what, async move { connection.unsubscribe(channels).await.map(|()| Value::Okay) }).await;
    }

    /// The next reply; never, if nothing is in flight. Can be given up and asked again.
    pub(super) async fn next(&mut self) -> (T, RedisResult<Value>) {
        let Some((_, front)) = self.sent.front_mut() else { return pending().await };
        let reply = front.await;
        match self.sent.pop_front() {
            Some((what, _)) => (what, reply),
            None => pending().await,
        }
    }

    /// All that is in flight, in order, given up.
    pub(super) fn give_up(self) -> impl Iterator<Item = T> {
        self.sent.into_iter().map(|(what, _)| what)
    }

    /// Polling once hands the command over. It must not be put off by tokio's budget of a task, or a later one would be
    /// sent before it.
    async fn begin(&mut self, what: T, reply: impl Future<Output = RedisResult<Value>> + 'static) {
        let mut reply: Reply = Box::pin(unconstrained(reply));
        if let Some(early) = poll_fn(|cx| {
            Poll::Ready(match reply.as_mut().poll(cx) {
                Poll::Ready(early) => Some(early),
                Poll::Pending => None,
            })
        })
        .await
        {
            reply = Box::pin(ready(early));
        }
        self.sent.push_back((what, reply));
    }
}
