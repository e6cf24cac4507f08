//! HTTP/2 on a connection.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, timeout_at};

use super::pieces::{Pieces, while_it_moves};
use super::timer::{Caller, Timer};
use super::watch::{Tracked, Watch, Watched};
use super::{ConnectionError, Handler, Info, Outcome, Shared};
use crate::proxy::ReadsAhead as _;
use crate::transport::Transport;

/// Streams at once on a connection: enough for the tabs of a person and the requests of their pages.
const MAX_STREAMS: u32 = 256;
/// What a slow reader may make us hold for one stream, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// What a client may send on one stream, and on all of them, before it is read, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Streams that a client has reset before they were looked at, before it is taken for an attacker (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// Resets that we answer a client's faults with, before it is taken for an attacker (CVE-2025-8671).
const MAX_LOCAL_RESETS: usize = 128;
/// How long an idle connection has for its last frames after it was told to go.
const GOODBYE: Duration = Duration::from_secs(5);

pub(super) async fn serve<H: Handler>(
    shared: &Rc<Shared<H>>,
    info: Rc<Info>,
    transport: Transport,
) -> Result<(), ConnectionError> {
    let watch = Watch::new(false);
    let settings = info.settings.clone();
    let service = {
        let (shared, watch) = (shared.clone(), watch.clone());
        service_fn(move |request: Request<Incoming>| {
            answer(shared.clone(), info.clone(), watch.clone(), request)
        })
    };
    let connection = http2::Builder::new(Local { write_stall: settings.deadlines.write_stall })
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .max_header_list_size(u32::try_from(settings.max_headers).unwrap_or(u32::MAX))
        .keep_alive_interval(settings.deadlines.ping_interval)
        .keep_alive_timeout(settings.deadlines.ping_timeout)
        .serve_connection(TokioIo::new(Watched { transport, watch: watch.clone(), direct: None }), service);
    let mut connection = Box::pin(connection);
    let mut timer = Timer::new(&watch, &settings.deadlines);
    let mut draining = settings.drain.is_announced();
    if draining {
        connection.as_mut().graceful_shutdown();
    }
    let ended = {
        let (mut drain, mut caller) = (pin!(settings.drain.announced()), Caller::default());
        poll_fn(|cx| {
            let is_new = caller.is_new(cx);
            if !draining && (settings.drain.is_announced() || is_new && drain.as_mut().poll(cx).is_ready()) {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(Ok(ended));
            }
            timer.poll(cx, is_new, &watch, &settings.deadlines).map(Err)
        })
        .await
    };
    match ended {
        Ok(ended) => ended.map_err(ConnectionError::Http),
        Err(_) if watch.is_idle() => {
            connection.as_mut().graceful_shutdown();
            // If it does not go by then, it is cut.
            let _ = timeout_at(Instant::now() + GOODBYE, connection).await;
            Ok(())
        }
        Err(what) => Err(ConnectionError::TimedOut(what)),
    }
}

async fn answer<H: Handler>(
    shared: Rc<Shared<H>>,
    info: Rc<Info>,
    watch: Rc<Watch>,
    request: Request<Incoming>,
) -> Result<Response<Pieces<Tracked<H::Body>>>, NoSocket> {
    let in_flight = watch.begin();
    // Boxed, so that its state is gone once there is an answer: hyper's task lives for as long as the answer's body, and
    // that of a stream for an hour.
    let answered = Box::pin(async {
        let (mut parts, body) = request.into_parts();
        shared.answer(&mut parts, body, &info).await
    });
    match answered.await {
        Outcome::Reply(response) => Ok(response.map(|body| {
            let ahead = body.read_ahead();
            Pieces::new(Tracked::new(body, in_flight), ahead)
        })),
        Outcome::Park(_) | Outcome::Tunnel(..) => Err(NoSocket),
    }
}

/// A handler wanted the socket, which carries other requests too. Resets the one stream.
#[derive(Debug)]
struct NoSocket;

impl fmt::Display for NoSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an HTTP/2 stream has no socket to give away")
    }
}

impl std::error::Error for NoSocket {}

/// Runs the tasks of a connection, one a stream, on its own thread.
#[derive(Debug, Clone, Copy)]
struct Local {
    write_stall: Duration,
}

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(while_it_moves(future, self.write_stall));
    }
}
