//! Bodies on their way through: passed on as they come, counted and watched.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::pool::Lease;
use super::stall::Stall;
use crate::http::{clean_request_trailers, clean_response_trailers};

/// The body of a request on its way to the app.
#[derive(Debug)]
pub(super) struct RequestBody(Option<Streamed>);

#[derive(Debug)]
struct Streamed {
    incoming: Incoming,
    left: u64,
    /// Runs while the client is waited for, and not while the app is.
    stall: Stall,
    progress: Rc<Progress>,
}

/// How far a request body has come, for whoever waits for the answer.
#[derive(Debug)]
pub(super) struct Progress {
    /// When it last moved.
    pub(super) moved: Cell<Instant>,
    pub(super) failed: Cell<Option<BodyError>>,
    /// How large it may be, in bytes.
    pub(super) max: u64,
}

/// Why a request body was not passed on whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It is larger than allowed.
    TooLarge,
    /// The client stopped sending.
    Stalled,
    /// The client went away, or what it sent was not a body.
    Broken,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the request body is too large",
            Self::Stalled => "the client stopped sending its body",
            Self::Broken => "the client broke off its body",
        })
    }
}

impl std::error::Error for BodyError {}

impl RequestBody {
    pub(super) fn empty() -> Self {
        Self(None)
    }

    pub(super) fn streamed(incoming: Incoming, max: u64, stall: Duration) -> Self {
        let progress = Rc::new(Progress { moved: Cell::new(Instant::now()), failed: Cell::new(None), max });
        Self(Some(Streamed { incoming, left: max, stall: Stall::new(stall), progress }))
    }

    /// Follows the body; none if it is empty.
    pub(super) fn progress(&self) -> Option<Rc<Progress>> {
        self.0.as_ref().map(|body| body.progress.clone())
    }
}

impl Streamed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(self.stall.poll(cx));
                return Poll::Ready(Some(Err(BodyError::Stalled)));
            }
        };
        self.stall.moved();
        self.progress.moved.set(Instant::now());
        Poll::Ready(match frame {
            None => None,
            Some(Err(_)) => Some(Err(BodyError::Broken)),
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    clean_request_trailers(trailers);
                }
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match self.left.checked_sub(length) {
                    Some(left) => {
                        self.left = left;
                        Some(Ok(frame))
                    }
                    None => Some(Err(BodyError::TooLarge)),
                }
            }
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.get_mut().0 else { return Poll::Ready(None) };
        let frame = ready!(body.poll_frame(cx));
        if let Some(Err(error)) = &frame {
            body.progress.failed.set(Some(*error));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|body| body.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |body| body.incoming.size_hint())
    }
}

/// The body of an answer on its way to the client. When it has been read whole, its connection can serve the next
/// request; dropped before, it takes the connection with it, and the app sees that the client is gone.
#[derive(Debug)]
pub struct UpstreamBody {
    incoming: Incoming,
    lease: Option<Lease>,
    /// Runs while the app is waited for; none for an event stream, which may be quiet for as long as it likes.
    stall: Option<Stall>,
}

/// Why an answer ended before its end.
#[derive(Debug)]
pub enum AnswerError {
    /// The app stopped sending it.
    Stalled,
    /// The app's connection broke, or what came was not HTTP.
    Broken(hyper::Error),
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled => f.write_str("the app stopped sending its answer"),
            Self::Broken(error) => write!(f, "the app broke off its answer: {error}"),
        }
    }
}

impl std::error::Error for AnswerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Stalled => None,
            Self::Broken(error) => Some(error),
        }
    }
}

impl UpstreamBody {
    pub(super) fn new(incoming: Incoming, lease: Lease, stall: Option<Duration>) -> Self {
        let mut body = Self { incoming, lease: Some(lease), stall: stall.map(Stall::new) };
        if body.incoming.is_end_stream() {
            body.release();
        }
        body
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let this = &mut *self;
        match (Pin::new(&mut this.incoming).poll_frame(cx), &mut this.stall) {
            (Poll::Pending, None) => Poll::Pending,
            (Poll::Pending, Some(stall)) => {
                ready!(stall.poll(cx));
                Poll::Ready(Some(Err(AnswerError::Stalled)))
            }
            (Poll::Ready(mut frame), stall) => {
                if let Some(stall) = stall {
                    stall.moved();
                }
                // Nothing comes after trailers, and nobody asks for more.
                let trailers = match &mut frame {
                    Some(Ok(frame)) => frame.trailers_mut(),
                    _ => None,
                };
                let is_last = trailers.map(clean_response_trailers).is_some();
                if frame.is_none() || is_last || this.incoming.is_end_stream() {
                    this.release();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(AnswerError::Broken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
