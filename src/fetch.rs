//! Questions of our own: one bounded request over HTTP/1.1, on a connection of its own; a GET, but for certificates.
//!
//! Invariant: every wait and every size has a bound that is named here, and a redirect is an answer like any other:
//! nothing is sent to a place that the configuration does not name.

mod error;
mod place;

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

pub use error::FetchError;
pub use place::Place;

use place::Stream;

/// How long a connection may take to be made, a TLS handshake included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the answer may take from there, its body included.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The path, and the query if there is one.
    pub target: &'a str,
    /// Fields of the request. Without a `Host`, the place's own is said.
    pub fields: HeaderMap,
    /// The largest body of the answer, in bytes.
    pub max_body: usize,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub fields: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Asks, and waits for the whole answer.
///
/// # Errors
/// No answer within the bounds. Nothing is tried twice.
pub async fn get(place: &Place, question: Question<'_>) -> Result<Answer, FetchError> {
    let Question { target, fields, max_body } = question;
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = target.parse().map_err(|_| FetchError::Target)?;
    *request.headers_mut() = fields;
    send(place, request, max_body, ANSWER_TIMEOUT).await
}

/// Sends a request whose target is a path, and waits for the whole answer: of `max_body` bytes at most, and for `limit` once
/// there is a connection.
///
/// # Errors
/// No answer within the bounds. Nothing is tried twice.
pub async fn send(
    place: &Place,
    request: Request<Bytes>,
    max_body: usize,
    limit: Duration,
) -> Result<Answer, FetchError> {
    let connected = timeout(CONNECT_TIMEOUT, place.connect()).await;
    let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    // Boxed: it holds a connection's state.
    let answered = timeout(limit, Box::pin(exchange(stream, place, request, max_body))).await;
    answered.map_err(|_| FetchError::Timeout { limit })?
}

/// Asks the first of several places that can be reached.
///
/// # Errors
/// That place's, or the last one's if none can be reached.
pub async fn get_from(
    places: impl IntoIterator<Item = &Place>,
    question: Question<'_>,
) -> Result<Answer, FetchError> {
    let mut unreached = FetchError::Target;
    for place in places {
        match get(place, question.clone()).await {
            Err(error @ FetchError::Connect(_)) => unreached = error,
            answered => return answered,
        }
    }
    Err(unreached)
}

async fn exchange(
    stream: Pin<Box<dyn Stream>>,
    place: &Place,
    mut request: Request<Bytes>,
    max_body: usize,
) -> Result<Answer, FetchError> {
    let fields = request.headers_mut();
    if !fields.contains_key(HOST) {
        fields.insert(HOST, place.host());
    }
    fields.insert(CONNECTION, HeaderValue::from_static("close"));
    let request = request.map(Full::new);

    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await?;
    // Polled beside the exchange and dropped with it: nothing is left running when a deadline has passed.
    let mut connection = std::pin::pin!(connection);
    let asked = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, max_body).collect().await.map_err(|error| {
            error.downcast::<hyper::Error>().map_or(FetchError::TooLarge { max: max_body }, |e| (*e).into())
        })?;
        Ok(Answer { status: head.status, fields: head.headers, body: body.to_bytes() })
    };
    let mut asked = std::pin::pin!(asked);
    tokio::select! {
        biased;
        answer = &mut asked => return answer,
        _ = &mut connection => {}
    }
    // The connection has ended; what it brought is with the exchange, and so is what broke it.
    asked.await
}

#[cfg(test)]
mod tests;
