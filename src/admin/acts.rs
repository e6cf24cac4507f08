//! What the status page does besides a reload: `POST /status/publish` sends an event, `POST /status/end` ends a stream.
//!
//! Invariant: it has come with the token (`admin/door.rs`), as JSON, and is logged.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{View, door};
use crate::event::Timestamp;
use crate::http::is_media_type;
use crate::stream::Question;

/// The most bytes of a body.
const MAX_BODY: usize = 64 * 1024;

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);

/// How long a worker may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Publishes what the body says, as the publish socket would.
pub(super) async fn publish<B>(view: &View, request: Request<B>) -> Response<Bytes>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let body = match read(request).await {
        Ok(body) => body,
        Err(refused) => return *refused,
    };
    let receipt = match view.publisher.publish_one(&body, Timestamp::now()) {
        Ok(receipt) => receipt,
        Err(refusal) => {
            let mut response = Response::new(refusal.to_json());
            *response.status_mut() = refusal.status();
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            return response;
        }
    };
    match receipt.acknowledged().await {
        Ok((id, delivered)) => {
            tracing::info!(%id, delivered, "the operator has published an event");
            door::said(StatusCode::OK, &json!({ "id": id.to_string(), "delivered": delivered }))
        }
        Err(error) => {
            door::refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &format!("not published: {error}"))
        }
    }
}

/// Which stream is to end.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ending {
    stream: String,
}

/// Ends a stream, as `/status/streams` names it.
pub(super) async fn end<B>(view: &View, request: Request<B>) -> Response<Bytes>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let body = match read(request).await {
        Ok(body) => body,
        Err(refused) => return *refused,
    };
    let invalid = |message: &str| door::refusal(StatusCode::BAD_REQUEST, "invalid_stream", message);
    let Ending { stream } = match serde_json::from_slice(&body) {
        Ok(ending) => ending,
        Err(error) => return invalid(&error.to_string()),
    };
    let place =
        place_of(&stream).and_then(|(worker, key, serial)| Some((view.desks.get(worker)?, key, serial)));
    let Some((desk, key, serial)) = place else {
        return invalid("stream is not one of /status/streams");
    };
    let (done, told) = oneshot::channel();
    let asking = async {
        desk.send(Question::End { key, serial, done }).await.ok()?;
        told.await.ok()
    };
    match timeout(PATIENCE, asking).await.ok().flatten() {
        Some(ended) => {
            if ended {
                tracing::info!(stream, "the operator has ended a stream");
            }
            door::said(StatusCode::OK, &json!({ "ended": ended }))
        }
        None => {
            let message = "the stream's worker does not answer; try again";
            door::refusal(StatusCode::SERVICE_UNAVAILABLE, "worker_busy", message)
        }
    }
}

/// The worker, the place and the serial of a stream.
fn place_of(stream: &str) -> Option<(usize, u32, u32)> {
    let mut parts = stream.split('-');
    let place = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(place)
}

/// Reads the body of a request, which must be JSON: a form of another page cannot say so.
async fn read<B>(request: Request<B>) -> Result<Bytes, Box<Response<Bytes>>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let refuse = |status, code, message: &str| Err(Box::new(door::refusal(status, code, message)));
    if !is_media_type(request.headers(), "application/json") {
        let message = "send Content-Type: application/json";
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message);
    }
    match timeout(BODY_TIME, pin!(Limited::new(request.into_body(), MAX_BODY)).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            refuse(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is longer than 64 KiB")
        }
        Ok(Err(_)) => refuse(StatusCode::BAD_REQUEST, "broken", "the body broke off"),
        Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "slow", "the body did not come in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_by_three_numbers() {
        assert_eq!(place_of("1-20-300"), Some((1, 20, 300)));
        for no in ["", "1", "1-2", "1-2-3-4", "1-2-x", "1--3", "1-2-99999999999"] {
            assert_eq!(place_of(no), None, "{no}");
        }
    }
}
