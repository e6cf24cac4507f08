//! A stream as a body that hyper polls: on HTTP/2.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Frame;
use tokio::time::{Sleep, sleep};

use super::limited::limited_text;
use super::subscriber::Form;
use super::{End, Grant, StreamSettings, Streams, Subscriber};
use crate::limits::Limited;

/// How long the last words of a stream have to leave before it is reset: a reset overtakes data that waits.
const LINGER: Duration = Duration::from_millis(100);

/// The body of a stream. It ends by an error, so that the client sees an abrupt end (RST_STREAM) and comes back.
#[derive(Debug)]
pub struct StreamBody {
    streams: Streams,
    subscriber: Rc<Subscriber>,
    linger: Option<Pin<Box<Sleep>>>,
}

impl StreamBody {
    /// Opens a stream, and makes the response that carries it.
    pub fn respond(streams: &Streams, grant: Grant) -> Response<Self> {
        let mut fields: HeaderMap = grant.settings.fields.clone();
        for (name, value) in grant.fields.iter().flat_map(|fields| fields.iter()) {
            fields.append(name, value.clone());
        }
        let subscriber = streams.open(grant, Form::Body);
        let mut response = Response::new(Self { streams: streams.clone(), subscriber, linger: None });
        *response.headers_mut() = fields;
        response
    }
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = StreamEnded;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamEnded>>> {
        let this = self.get_mut();
        if let Some(piece) = ready!(this.subscriber.poll_body(cx)) {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        ready!(linger.as_mut().poll(cx));
        Poll::Ready(Some(Err(StreamEnded)))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.streams.end(&self.subscriber, End::Gone);
    }
}

/// The body of a stream that a limit was in the way of: a few words, and the same end.
#[derive(Debug)]
pub struct LimitedBody {
    text: Option<Bytes>,
    linger: Option<Pin<Box<Sleep>>>,
}

impl LimitedBody {
    /// Makes the response that carries it.
    pub fn respond(settings: &StreamSettings, limited: Limited) -> Response<Self> {
        let text = limited_text(limited, settings.route.retry);
        let mut response = Response::new(Self { text: Some(text), linger: None });
        *response.headers_mut() = settings.fields.clone();
        response
    }
}

impl http_body::Body for LimitedBody {
    type Data = Bytes;
    type Error = StreamEnded;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamEnded>>> {
        let this = self.get_mut();
        if let Some(text) = this.text.take() {
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        ready!(linger.as_mut().poll(cx));
        Poll::Ready(Some(Err(StreamEnded)))
    }
}

/// The stream has ended. Not a fault: the only way to end a body abruptly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEnded;

impl fmt::Display for StreamEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream has ended")
    }
}

impl std::error::Error for StreamEnded {}
