//! One request and the head of its answer, over a connection that waits or a new one.
//!
//! Reading goes on while the request is still being written: an app may answer before it has heard all. What is sent
//! twice was either not sent at all, or may be repeated and was met with silence.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::header::HeaderMap;
use http::{Response, StatusCode};

use super::ProxyError;
use super::body::UpstreamBody;
use super::connection::Connection;
use super::error::{AnswerFault, AppFault};
use super::head::{self, Head, Seen};
use super::pool::{Attempt, Upstream};
use super::request::{BodyError, Outgoing, SendError};

/// How many interim answers are passed over (RFC 9110, section 15.2).
const MAX_INTERIM: u32 = 16;

/// How often one request is sent again.
const MAX_REPEATS: u32 = 2;

/// The room for the head of an answer: if there is less than the first, as much as the second, in bytes.
const HEAD_ROOM: (usize, usize) = (2 * 1024, 8 * 1024);

/// What is asked, as far as it matters for the answer.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) request: Outgoing,
    /// Whether it is a HEAD, whose answer has no body whatever it says.
    pub(super) is_head: bool,
    /// An empty map for the fields of the answer, so that it need not be made.
    pub(super) fields: HeaderMap,
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Answered {
    Response(Response<UpstreamBody>),
    /// The app has agreed to switch protocols (RFC 9110, section 15.2.2), or says so.
    Switched(Response<()>, Box<Connection>),
}

/// Sends the request. On a connection that waited, the app may just have closed it: a request that was not sent, or
/// that may be repeated (RFC 9110, section 9.2.2) and has no body, is then sent once more on a new one. The same goes
/// for one that the app cannot have read, see [`may_go_on`].
pub(super) async fn exchange(
    upstream: &Rc<Upstream>,
    question: &mut Question,
) -> Result<Answered, ProxyError> {
    if question.request.is_to_be_gathered() {
        gather(upstream, &mut question.request).await?;
    }
    let mut attempt = Attempt::new(!question.request.is_repeatable());
    let mut waiting = upstream.take_idle(&attempt);
    let mut repeats = 0;
    loop {
        let mut connection = match waiting.take() {
            Some(connection) => connection,
            // Boxed: rare beside the others, whose future would grow by it.
            None => Box::pin(upstream.connection(&mut attempt)).await?,
        };
        connection.clock.moved();
        connection.clock.allow(upstream.response_timeout);
        let mut wait = Wait::default();
        match poll_fn(|cx| wait.poll(cx, &mut connection, question)).await {
            Ok(head) => {
                upstream.praise(connection.server);
                return Ok(answered(
                    upstream,
                    connection,
                    &mut question.request,
                    head,
                    wait.broken.is_some(),
                ));
            }
            // However it ended: by a close, by a reset, or while the request was being written.
            Err(Failed::App(AppFault::Broken(fault)))
                if !connection.heard
                    && repeats < MAX_REPEATS
                    && may_go_on(upstream, &connection, &question.request, &fault) =>
            {
                repeats += 1;
                question.request.rewind();
                attempt.go_on();
            }
            Err(Failed::App(fault)) => {
                upstream.blame(connection.server, &fault);
                return Err(upstream.failed(connection.server, fault));
            }
            Err(Failed::Body(error)) => return Err(failure(error, question.request.max_body())),
        }
    }
}

/// Reads the body of a request before the app is asked: nobody but us waits for its client.
async fn gather(upstream: &Upstream, request: &mut Outgoing) -> Result<(), ProxyError> {
    let max = request.max_body();
    match poll_fn(|cx| request.poll_gather(cx, &upstream.spools)).await {
        Ok(in_file) => {
            if in_file {
                upstream.counters.bodies_spooled.inc();
            }
            Ok(())
        }
        Err(error) => Err(failure(error, max)),
    }
}

/// Whether a request that was met with silence may be sent once more. A reset, and not an end, is what the system says
/// for an app that has not read all that was sent: one that closes its listening socket with connections still in its
/// queue, as gunicorn does when it is stopped. What is so small that an app reads it in one piece has not been read at
/// all then.
fn may_go_on(upstream: &Upstream, connection: &Connection, request: &Outgoing, fault: &AnswerFault) -> bool {
    if request.is_unsent() {
        return true;
    }
    let is_reset = matches!(fault, AnswerFault::Io(error) if matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    ));
    let may = if request.is_repeatable() {
        connection.is_used || is_reset
    } else {
        is_reset && connection.tells_unread && request.was_small()
    };
    may && upstream.may_repeat()
}

/// Why there is no head.
enum Failed {
    App(AppFault),
    /// The client's body cannot be sent.
    Body(BodyError),
}

impl From<AnswerFault> for Failed {
    fn from(fault: AnswerFault) -> Self {
        Self::App(AppFault::Broken(fault))
    }
}

/// How far the wait for an answer has come.
#[derive(Debug, Default)]
struct Wait {
    interim: u32,
    seen: Seen,
    /// Why the request cannot be sent. The app may have answered before it closed.
    broken: Option<io::Error>,
}

impl Wait {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        question: &mut Question,
    ) -> Poll<Result<Head, Failed>> {
        let request = &mut question.request;
        if self.broken.is_none()
            && !request.is_sent()
            && let Some((socket, clock)) = connection.writer()
        {
            match request.poll_send(cx, socket, clock) {
                Poll::Ready(Err(SendError::Io(error))) => self.broken = Some(error),
                Poll::Ready(Err(SendError::Body(error))) => return Poll::Ready(Err(Failed::Body(error))),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        loop {
            match connection.poll_fill(cx, HEAD_ROOM) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) => {
                    let fault = self.broken.take().map_or(AnswerFault::Truncated, AnswerFault::Io);
                    return Poll::Ready(Err(fault.into()));
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(AnswerFault::Io(error).into()));
                }
                Poll::Pending if request.waits_for_client() => return Poll::Pending,
                Poll::Pending => {
                    ready!(connection.clock.poll(cx));
                    return Poll::Ready(Err(Failed::App(AppFault::ResponseTimeout)));
                }
            }
            while let Some(head) = head::take_answer(
                &mut connection.read,
                &mut self.seen,
                &mut question.fields,
                question.is_head,
            )
            .map_err(Failed::from)?
            {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    connection.clock.moved();
                    return Poll::Ready(Ok(head));
                }
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Poll::Ready(Err(AnswerFault::Interim.into()));
                }
                if connection.read.is_empty() {
                    break;
                }
            }
        }
    }
}

fn failure(error: BodyError, max: u64) -> ProxyError {
    match error {
        BodyError::TooLarge => ProxyError::TooLarge { max },
        BodyError::Stalled => ProxyError::BodyStalled,
        BodyError::Broken => ProxyError::ClientGone,
        BodyError::Spool(error) => ProxyError::Spool(error),
    }
}

fn answered(
    upstream: &Rc<Upstream>,
    mut connection: Box<Connection>,
    request: &mut Outgoing,
    head: Head,
    is_broken: bool,
) -> Answered {
    let Head { status, fields, extensions, framing, keeps, is_event_stream, keep_alive } = head;
    connection.keep_alive = keep_alive;
    connection.clock.allow(upstream.read_timeout);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    *response.extensions_mut() = extensions;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Answered::Switched(response, connection);
    }
    let rest = if request.is_sent() {
        upstream.keep_buffer(request.take_buffer());
        None
    } else {
        (!is_broken).then(|| request.take())
    };
    // A request that could not be sent whole has left its connection in the middle of something.
    let keeps = keeps && !is_broken;
    Answered::Response(
        response.map(|()| UpstreamBody::new(upstream, connection, framing, keeps, is_event_stream, rest)),
    )
}

#[cfg(test)]
mod tests;
