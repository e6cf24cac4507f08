//! A body that is compressed as it is read.
//!
//! Invariants: whenever the body behind it has nothing more for the moment, all that it gave has come out; it takes in
//! [`TURN`] bytes at most before others have their turn; a body that breaks off is never ended as if it were whole.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::Place;
use super::coder::Coder;
use crate::http::Coding;

/// How much is compressed before others have their turn, in bytes: a fraction of a millisecond.
const TURN: usize = 16 * 1024;

/// A body, compressed.
#[derive(Debug)]
pub struct Compressed<B: Body> {
    body: B,
    state: State<B::Error>,
    /// What the body has given and is not compressed yet.
    rest: Bytes,
    /// How much of this turn is used up, in bytes.
    used: usize,
    /// Whether something may be in the encoder that has not come out.
    is_unflushed: bool,
}

#[derive(Debug)]
enum State<E> {
    /// Nothing has come yet: an app that thinks needs no encoder.
    Waiting(Coding, Place),
    Coding {
        coder: Coder,
        _place: Place,
    },
    /// All of it has come out but for the trailers, if there are any.
    Ended(Option<HeaderMap>),
    /// It broke. The error is there until it has been said.
    Broken(Option<CompressError<E>>),
}

/// Why a body was not compressed to its end.
#[derive(Debug)]
pub enum CompressError<E> {
    /// The body itself broke off.
    Body(E),
    /// The encoder failed: it may have got no memory.
    Coder(io::Error),
}

impl<E: fmt::Display> fmt::Display for CompressError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => error.fmt(f),
            Self::Coder(error) => write!(f, "the answer cannot be compressed: {error}"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for CompressError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Body(error) => error.source(),
            Self::Coder(error) => Some(error),
        }
    }
}

impl<B: Body> Compressed<B> {
    pub(super) fn new(body: B, coding: Coding, place: Place) -> Self {
        let state = State::Waiting(coding, place);
        Self { body, state, rest: Bytes::new(), used: 0, is_unflushed: false }
    }

    /// The body that is compressed.
    pub fn body(&self) -> &B {
        &self.body
    }
}

impl<B: Body<Data = Bytes> + Unpin> Compressed<B> {
    /// What comes out next: data that is not empty, or the end.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CompressError<B::Error>>> {
        loop {
            if self.used >= TURN {
                self.used = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !self.rest.is_empty() {
                let piece = self.rest.split_to(self.rest.len().min(TURN - self.used));
                self.used += piece.len();
                self.is_unflushed = true;
                let data =
                    self.coder().and_then(|coder| coder.write(&piece)).map_err(CompressError::Coder)?;
                if !data.is_empty() {
                    return Poll::Ready(Ok(Some(data.into())));
                }
                continue;
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        self.rest = data;
                        // Also an endless row of empty frames has its turn.
                        self.used += 1;
                    }
                    Err(frame) => return Poll::Ready(self.end(frame.into_trailers().ok())),
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(CompressError::Body(error))),
                Poll::Ready(None) => return Poll::Ready(self.end(None)),
                Poll::Pending => {
                    self.used = 0;
                    if !std::mem::take(&mut self.is_unflushed) {
                        return Poll::Pending;
                    }
                    let data = self.coder().and_then(Coder::flush).map_err(CompressError::Coder)?;
                    if data.is_empty() {
                        return Poll::Pending;
                    }
                    return Poll::Ready(Ok(Some(data.into())));
                }
            }
        }
    }

    /// The encoder, made when it is needed first.
    fn coder(&mut self) -> io::Result<&mut Coder> {
        if let State::Waiting(coding, _) = self.state {
            let coder = Coder::new(coding)?;
            if let State::Waiting(_, place) = std::mem::replace(&mut self.state, State::Ended(None)) {
                self.state = State::Coding { coder, _place: place };
            }
        }
        match &mut self.state {
            State::Coding { coder, .. } => Ok(coder),
            // Nothing is read behind an end.
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<Option<Bytes>, CompressError<B::Error>> {
        // A body that was empty is an empty one that is coded.
        self.coder().map_err(CompressError::Coder)?;
        let State::Coding { coder, .. } = std::mem::replace(&mut self.state, State::Ended(trailers)) else {
            return Ok(None);
        };
        let data = coder.finish().map_err(CompressError::Coder)?;
        Ok(Some(data.into()))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Compressed<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = CompressError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.state {
            State::Ended(trailers) => {
                return Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            State::Broken(error) => return Poll::Ready(error.take().map(Err)),
            State::Waiting(..) | State::Coding { .. } => {}
        }
        match ready!(self.poll_data(cx)) {
            Ok(data) => Poll::Ready(data.map(|data| Ok(Frame::data(data)))),
            Err(error) => {
                // Not at once: an error makes the server throw away what it was given and has not written yet.
                self.state = State::Broken(Some(error));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Ended(_) => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
