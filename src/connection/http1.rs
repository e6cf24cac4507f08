//! HTTP/1.0 and 1.1 on a connection, and its hand-over.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;

use super::timer::{Caller, Timer};
use super::watch::{Tracked, Watch, Watched};
use super::{ConnectionError, Handler, Info, Outcome, Shared, close};
use crate::clock;
use crate::http::Fragment;
use crate::proxy::{ReadsAhead as _, tunnel};
use crate::stream::{Grant, park};
use crate::transport::Transport;

type Answer<B> = Result<Response<Tracked<B>>, Infallible>;

/// What the end of hyper's part is.
enum End {
    /// The connection is done, or its last response asked for a tunnel.
    Finished,
    Park(Box<Grant>),
    Failed(ConnectionError),
}

pub(super) async fn serve<H: Handler>(
    shared: &Rc<Shared<H>>,
    info: Rc<Info>,
    transport: Transport,
    held: impl Sized + 'static,
) -> Result<(), ConnectionError> {
    let watch = Watch::new(true);
    let (settings, direct) = (info.settings.clone(), info.direct.clone());
    let is_http_10 = Rc::new(std::cell::Cell::new(false));
    let service = Service {
        shared: shared.clone(),
        info: info.clone(),
        watch: watch.clone(),
        is_http_10: is_http_10.clone(),
    };
    // hyper's part is boxed, so that its state is gone when a stream or a tunnel goes on in this task's place.
    let mut connection = Box::new(
        http1::Builder::new()
            .max_header_size(settings.max_headers)
            .max_buf_size(settings.max_headers.max(MIN_BUFFER))
            .serve_connection(TokioIo::new(Watched { transport, watch: watch.clone(), direct }), service),
    );
    let mut timer = Timer::new(&watch, &settings.deadlines);
    let end = {
        let (mut draining, mut told, mut caller) = (false, false, Caller::default());
        let mut drain = pin!(settings.drain.begun());
        poll_fn(|cx| {
            let is_new = caller.is_new(cx);
            // What was announced has called the one who waits for the begin, who has to wait anew.
            let is_asked = is_new || settings.drain.is_announced();
            draining =
                draining || settings.drain.has_begun() || is_asked && drain.as_mut().poll(cx).is_ready();
            // Not over the part of a request that has come: hyper would drop it and close.
            if draining && !told && !watch.is_reading_head() {
                told = true;
                Pin::new(&mut *connection).graceful_shutdown();
            }
            match clock::seen_once(|| connection.poll_without_shutdown(cx)) {
                Poll::Ready(Ok(())) => return Poll::Ready(End::Finished),
                Poll::Ready(Err(error)) => return Poll::Ready(End::Failed(ConnectionError::Http(error))),
                Poll::Pending => {}
            }
            watch.read_ahead(cx);
            if let Some(grant) = watch.take_stream() {
                return Poll::Ready(End::Park(grant));
            }
            if draining && watch.is_quiet() {
                return Poll::Ready(End::Finished);
            }
            timer
                .poll(cx, is_new, &watch, &settings.deadlines)
                .map(|what| End::Failed(ConnectionError::TimedOut(what)))
        })
        .await
    };
    drop(timer);
    let parts = connection.into_parts();
    let transport = parts.io.into_inner().transport;
    match end {
        End::Failed(ConnectionError::Http(error)) => {
            shared.log_malformed(&info.peer, &error);
            // hyper may have said 400 or 431; it must arrive.
            close(transport).await;
            Err(ConnectionError::Http(error))
        }
        End::Failed(error) => Err(error),
        End::Park(grant) => {
            park(&shared.streams, *grant, transport, is_http_10.get(), held);
            Ok(())
        }
        End::Finished => {
            match watch.take_tunnel() {
                None => close(transport).await,
                Some(app) => {
                    let _open = shared.counters.tunnels.hold();
                    tokio::select! {
                        // A tunnel that breaks is the business of its two ends.
                        _ = tunnel(transport, parts.read_buf, *app) => {}
                        () = settings.drain.tunnels.notified() => {}
                    }
                }
            }
            Ok(())
        }
    }
}

/// hyper refuses smaller read buffers.
const MIN_BUFFER: usize = 8 * 1024;

struct Service<H> {
    shared: Rc<Shared<H>>,
    info: Rc<Info>,
    watch: Rc<Watch>,
    is_http_10: Rc<std::cell::Cell<bool>>,
}

impl<H: Handler> hyper::service::Service<Request<Incoming>> for Service<H> {
    type Response = Response<Tracked<H::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer<H::Body>>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if self.watch.lines.begin(!request.body().is_end_stream()) {
            request.extensions_mut().insert(Fragment);
        }
        let in_flight = self.watch.begin();
        self.is_http_10.set(request.version() == Version::HTTP_10);
        let (mut parts, body) = request.into_parts();
        let (shared, info, watch) = (self.shared.clone(), self.info.clone(), self.watch.clone());
        Box::pin(async move {
            match shared.answer(&mut parts, body, &info).await {
                Outcome::Reply(mut response) => {
                    if info.settings.drain.is_announced() {
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    watch.offer_ahead(response.body().read_ahead());
                    Ok(response.map(|body| Tracked::new(body, in_flight)))
                }
                Outcome::Tunnel(response, app) => {
                    watch.offer_tunnel(app);
                    Ok(response.map(|body| Tracked::new(body, in_flight)))
                }
                Outcome::Park(grant) => {
                    watch.offer_stream(grant);
                    // Never answered: the connection's task takes the socket as soon as it is free.
                    pending().await
                }
            }
        })
    }
}
