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

use super::limited::{limited_text, unready_text};
use super::subscriber::Form;
use super::{End, Grant, StreamSettings, Streams, Subscriber};
use crate::limits::Limited;

/// How long the last words of a stream have to leave before it is reset: a reset overtakes data that waits.
const LINGER: Duration = Duration::from_millis(100);

/// The body of a stream. It ends by an error, so that the client sees an abrupt end (RST_STREAM) and comes back.
#[derive(Debug)]
pub struct StreamBody {
    streams: Streams,
    pub(super) subscriber: Rc<Subscriber>,
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
        let polled = this.subscriber.poll_body(cx);
        if polled.is_pending() {
            // The last piece has been taken, or there was none.
            this.streams.mark_written(&this.subscriber);
        }
        this.streams.read_on(&this.subscriber);
        if let Some(piece) = ready!(polled) {
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

/// The body of a stream that there is not, for now: a few words, and the same end.
#[derive(Debug)]
pub struct LimitedBody {
    text: Option<Bytes>,
    linger: Option<Pin<Box<Sleep>>>,
}

impl LimitedBody {
    /// Makes the response that carries it, where a limit is in the way.
    pub fn respond(settings: &StreamSettings, limited: Limited) -> Response<Self> {
        Self::saying(settings, limited_text(limited, settings.route.retry))
    }

    /// The same, where history cannot be read.
    pub fn unready(settings: &StreamSettings) -> Response<Self> {
        Self::saying(settings, unready_text(settings.route.retry))
    }

    fn saying(settings: &StreamSettings, text: Bytes) -> Response<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StreamRoute;
    use crate::event::{ChannelName, Epoch, Timestamp};
    use crate::hub::{Held, Hub};
    use crate::store::{Limits, Memory};
    use crate::stream::{StreamSettings, unauthorized_event};

    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn a_user_that_is_blocked_after_the_grant_is_told_and_gets_no_stream() {
        let limits = Limits { age: Duration::MAX, events: 9, bytes: 999, max_bytes: 999, max_channels: 9 };
        let hub = Hub::new(1, Memory::new(limits), Epoch::from_bits(1));
        let streams = Streams::new(
            hub.clone(),
            0,
            std::sync::Arc::default(),
            std::rc::Rc::new(crate::access_log::WorkerLog::off()),
        );
        let grant = |user: &str| Grant {
            settings: Rc::new(StreamSettings::new("/events".to_owned(), &StreamRoute::new(vec![0]))),
            user: Some(user.to_owned()),
            channels: vec![ChannelName::of_user(user).unwrap()],
            last_id: None,
            expires: None,
            again: None,
            voucher: None,
            fields: None,
            permit: None,
            held: Held::default(),
            span: None,
            is_uncounted: false,
            client: String::new(),
            target: String::new(),
        };
        let granted = [grant("42"), grant("43")];
        hub.disconnect("42", None, Some(Duration::from_secs(60)), Timestamp::now()).unwrap();
        let [mut blocked, open] = granted.map(|grant| StreamBody::respond(&streams, grant));
        let said = blocked.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(said, unauthorized_event().text());
        assert_eq!(blocked.body_mut().frame().await.unwrap().unwrap_err(), StreamEnded);
        drop(blocked);
        let counters = &streams.0.counters;
        assert_eq!((counters.streams.get(), counters.streams_refused.get()), (1, 1));
        drop(open);
        assert_eq!(counters.streams.get(), 0);
    }
}
