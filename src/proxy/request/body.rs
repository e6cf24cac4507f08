//! The body of a request as the client sends it: counted, watched, and cut into pieces that are framed for the app.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderName;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use super::super::stall::Stall;
use crate::http::clean_request_trailers;

/// A body and how its end is told to the app.
#[derive(Debug)]
pub(in crate::proxy) struct Body {
    incoming: Incoming,
    max: u64,
    /// How much more of it is allowed.
    left: u64,
    /// Runs while the client is waited for, and not while the app is.
    stall: Stall,
    framing: Framing,
}

/// How the end of a body is told (RFC 9112, section 6).
#[derive(Debug)]
pub(in crate::proxy) enum Framing {
    /// By its length; so many bytes are left.
    Length(u64),
    /// In chunks, with those trailers that the head announced.
    Chunked(Vec<HeaderName>),
}

/// What comes next of a body.
pub(super) enum Piece {
    /// Data that is not empty, and whether nothing comes behind it.
    Data(Bytes, bool),
    /// The end, with trailers or none.
    End(HeaderMap),
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

impl Body {
    /// A body of at most `max` bytes, within which the client may pause for `stall`.
    pub(in crate::proxy) fn new(incoming: Incoming, max: u64, stall: Duration, framing: Framing) -> Self {
        Self { incoming, max, left: max, stall: Stall::new(stall), framing }
    }

    /// How large it may be, in bytes.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// The trailers that may follow, if it goes in chunks.
    pub(super) fn chunked(&self) -> Option<&[HeaderName]> {
        match &self.framing {
            Framing::Length(_) => None,
            Framing::Chunked(announced) => Some(announced),
        }
    }

    /// The next piece. A body that is shorter or longer than was said is broken.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, BodyError>> {
        loop {
            let (data, trailers) = match ready!(self.poll_frame(cx))?.map(Frame::into_data) {
                Some(Ok(data)) => (data, None),
                Some(Err(frame)) => (Bytes::new(), frame.into_trailers().ok()),
                None => (Bytes::new(), Some(HeaderMap::new())),
            };
            let is_last = match &mut self.framing {
                Framing::Length(left) => {
                    *left = left.checked_sub(data.len() as u64).ok_or(BodyError::Broken)?;
                    *left == 0
                }
                Framing::Chunked(_) => self.incoming.is_end_stream(),
            };
            if !data.is_empty() {
                return Poll::Ready(Ok(Piece::Data(data, is_last)));
            }
            match (trailers, &self.framing) {
                (Some(_), Framing::Length(1..)) => return Poll::Ready(Err(BodyError::Broken)),
                (Some(trailers), _) => return Poll::Ready(Ok(Piece::End(trailers))),
                (None, _) if is_last => return Poll::Ready(Ok(Piece::End(HeaderMap::new()))),
                // An empty chunk would end the body where the client did not.
                (None, _) => {}
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(self.stall.poll(cx));
                return Poll::Ready(Err(BodyError::Stalled));
            }
        };
        self.stall.moved();
        let Some(frame) = frame else { return Poll::Ready(Ok(None)) };
        let mut frame = frame.map_err(|_| BodyError::Broken)?;
        if let Some(trailers) = frame.trailers_mut() {
            clean_request_trailers(trailers);
        }
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.left = self.left.checked_sub(length).ok_or(BodyError::TooLarge)?;
        Poll::Ready(Ok(Some(frame)))
    }
}
