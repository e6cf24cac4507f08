//! One request and the head of its answer, over a connection that waits or a new one.

use std::rc::Rc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Request, Response};
use tokio::time::{Instant, sleep_until};

use super::ProxyError;
use super::body::{BodyError, Progress, RequestBody, UpstreamBody};
use super::pool::Upstream;

/// Sends the request. On a connection that waited, the app may just have closed it: a request that was not sent, or
/// that may be repeated (RFC 9110, section 9.2.2) and has no body, is then sent once more on a new one.
pub(super) async fn exchange(
    upstream: &Rc<Upstream>,
    mut request: Request<RequestBody>,
) -> Result<Response<UpstreamBody>, ProxyError> {
    let progress = request.body().progress();
    let progress = progress.as_deref();
    let mut waiting = upstream.take_idle();
    loop {
        let (mut lease, again) = match waiting.take() {
            Some(lease) => {
                let repeatable = progress.is_none() && request.method().is_idempotent();
                (lease, Some(repeatable.then(|| copy(&request))))
            }
            // Boxed: rare beside the others, whose future would grow by it.
            None => (Box::pin(upstream.connect()).await?, None),
        };
        let answer = lease.sender.try_send_request(request);
        let answered = within(answer, progress, upstream.response_timeout).await;
        let mut failed = match answered.ok_or(ProxyError::ResponseTimeout)? {
            Ok(response) => {
                let stall = (!is_event_stream(response.headers())).then_some(upstream.response_timeout);
                return Ok(response.map(|incoming| UpstreamBody::new(incoming, lease, stall)));
            }
            Err(failed) => failed,
        };
        request = match (failed.take_message(), again) {
            (Some(unsent), Some(_)) => unsent,
            // A new connection that does not even take the request was closed at once.
            (Some(_), None) => return Err(ProxyError::Connect(std::io::ErrorKind::ConnectionReset.into())),
            // However it ended: by a close, by a reset, or while the request was being written.
            (None, Some(Some(copy))) if !lease.heard.anything() => copy,
            (None, _) => return Err(failure(failed.into_error(), progress)),
        };
    }
}

fn failure(error: hyper::Error, progress: Option<&Progress>) -> ProxyError {
    match progress.and_then(|progress| Some((progress.failed.get()?, progress.max))) {
        Some((BodyError::TooLarge, max)) => ProxyError::TooLarge { max },
        Some((BodyError::Stalled, _)) => ProxyError::BodyStalled,
        Some((BodyError::Broken, _)) => ProxyError::ClientGone,
        None => ProxyError::Broken(error),
    }
}

fn is_event_stream(fields: &HeaderMap) -> bool {
    fields.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// Waits for the answer. The clock runs from when the request has last moved, so a long upload is not a slow app.
async fn within<T>(
    answer: impl Future<Output = T>,
    progress: Option<&Progress>,
    patience: Duration,
) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    let mut from = Instant::now();
    loop {
        tokio::select! {
            biased;
            answered = &mut answer => return Some(answered),
            () = sleep_until(from + patience) => {}
        }
        let moved = progress.map_or(from, |progress| progress.moved.get());
        if moved <= from {
            return None;
        }
        from = moved;
    }
}

/// The same request again, for one that has no body.
fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
