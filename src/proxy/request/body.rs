//! The body of a request as the client sends it: counted, watched, and cut into pieces that are framed for the app.
//!
//! For an app that serves one request at a time it is read whole first: how slowly a client sends is then nothing to the
//! app, and its length is known.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderName;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use super::super::spool::{Spool, SpoolError, Spools};
use super::super::stall::Stall;
use crate::http::clean_request_trailers;
use crate::metrics::Counters;

/// A body and how its end is told to the app.
#[derive(Debug)]
pub(in crate::proxy) struct Body {
    incoming: Incoming,
    /// What has been read of it before the app is asked.
    held: Held,
    /// Where its bytes are counted.
    counters: Arc<Counters>,
    max: u64,
    /// How much more of it is allowed.
    left: u64,
    /// Runs while the client is waited for, and not while the app is.
    pace: Pace,
    framing: Framing,
}

/// How the end of a body is told (RFC 9112, section 6).
#[derive(Debug)]
pub(in crate::proxy) enum Framing {
    /// By its length; so many bytes are left.
    Length(u64),
    /// By its length, which is known when all of it is here.
    Measured,
    /// In chunks, with those trailers that the head announced.
    Chunked(Vec<HeaderName>),
}

/// What has been read of a body before the app is asked.
#[derive(Debug)]
enum Held {
    /// Nothing; it goes through as it comes.
    Nothing,
    /// All of it in one piece, as it is for nearly every form.
    One(Bytes),
    Spool(Box<Spool>),
}

/// What comes next of a body.
pub(super) enum Piece {
    /// Data that is not empty, and whether nothing comes behind it.
    Data(Bytes, bool),
    /// The end, with trailers or none.
    End(HeaderMap),
}

/// Why a request body was not passed on whole.
#[derive(Debug)]
pub enum BodyError {
    /// It is larger than allowed.
    TooLarge,
    /// The client stopped sending, or sends too slowly.
    Stalled,
    /// The client went away, or what it sent was not a body.
    Broken,
    /// It cannot be kept until all of it has come.
    Spool(SpoolError),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the request body is too large"),
            Self::Stalled => f.write_str("the client stopped sending its body, or sends it too slowly"),
            Self::Broken => f.write_str("the client broke off its body"),
            Self::Spool(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Spool(error) => Some(error),
            _ => None,
        }
    }
}

impl Body {
    /// A body of at most `max` bytes.
    pub(in crate::proxy) fn new(
        incoming: Incoming,
        max: u64,
        pace: Pace,
        framing: Framing,
        counters: &Arc<Counters>,
    ) -> Self {
        let counters = counters.clone();
        Self { incoming, held: Held::Nothing, counters, max, left: max, pace, framing }
    }

    /// How large it may be, in bytes.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// The trailers that may follow, if it goes in chunks.
    pub(super) fn chunked(&self) -> Option<&[HeaderName]> {
        match &self.framing {
            Framing::Length(_) | Framing::Measured => None,
            Framing::Chunked(announced) => Some(announced),
        }
    }

    /// Whether its length is not known before all of it has come.
    pub(super) fn is_measured(&self) -> bool {
        matches!(self.framing, Framing::Measured)
    }

    /// Reads all of it, and says how long it is; from then on it has that length. What comes in one piece is not copied.
    pub(super) fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        spools: &Arc<Spools>,
    ) -> Poll<Result<u64, BodyError>> {
        loop {
            let frame = ready!(self.poll_frame(cx))?;
            let is_end = frame.is_none();
            if let Some(Ok(data)) = frame.map(Frame::into_data)
                && !data.is_empty()
            {
                self.held = match std::mem::replace(&mut self.held, Held::Nothing) {
                    Held::Nothing => Held::One(data),
                    Held::One(first) => {
                        let mut spool = Box::new(Spool::new(spools));
                        spool.push(&first).and_then(|()| spool.push(&data)).map_err(BodyError::Spool)?;
                        Held::Spool(spool)
                    }
                    Held::Spool(mut spool) => {
                        spool.push(&data).map_err(BodyError::Spool)?;
                        Held::Spool(spool)
                    }
                };
            }
            let length = self.max - self.left;
            match self.framing {
                Framing::Length(said) if length > said || is_end && length < said => {
                    return Poll::Ready(Err(BodyError::Broken));
                }
                Framing::Length(said) if length < said => {}
                Framing::Length(_) => return Poll::Ready(Ok(length)),
                _ if is_end || self.incoming.is_end_stream() => {
                    self.framing = Framing::Length(length);
                    return Poll::Ready(Ok(length));
                }
                _ => {}
            }
        }
    }

    /// Whether more of it has been read than one piece, and has had to be written to a file.
    pub(super) fn is_in_file(&self) -> bool {
        matches!(&self.held, Held::Spool(spool) if spool.has_file())
    }

    /// The next piece. A body that is shorter or longer than was said is broken.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, BodyError>> {
        if let Some(piece) = self.take_held()? {
            return Poll::Ready(Ok(piece));
        }
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
                Framing::Chunked(_) | Framing::Measured => self.incoming.is_end_stream(),
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

    /// The next piece of what was read before.
    fn take_held(&mut self) -> Result<Option<Piece>, BodyError> {
        let data = match &mut self.held {
            Held::Nothing => return Ok(None),
            Held::One(data) => Some(std::mem::take(data)).filter(|data| !data.is_empty()),
            Held::Spool(spool) => spool.pop().map_err(BodyError::Spool)?,
        };
        let (Some(data), Framing::Length(left)) = (data, &mut self.framing) else {
            return Ok(Some(Piece::End(HeaderMap::new())));
        };
        *left = left.saturating_sub(data.len() as u64);
        Ok(Some(Piece::Data(data, *left == 0)))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(self.pace.stall.poll(cx));
                return Poll::Ready(Err(BodyError::Stalled));
            }
        };
        let Some(frame) = frame else { return Poll::Ready(Ok(None)) };
        let mut frame = frame.map_err(|_| BodyError::Broken)?;
        if let Some(trailers) = frame.trailers_mut() {
            clean_request_trailers(trailers);
        }
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.left = self.left.checked_sub(length).ok_or(BodyError::TooLarge)?;
        self.counters.request_bytes.add(length);
        if !self.pace.is_kept(self.max - self.left) {
            return Poll::Ready(Err(BodyError::Stalled));
        }
        Poll::Ready(Ok(Some(frame)))
    }
}

/// How slow a client may be. Its time counts only while it is waited for.
#[derive(Debug)]
pub(in crate::proxy) struct Pace {
    /// Between two pieces.
    stall: Stall,
    /// How long it has been waited for in all.
    waited: Duration,
    patience: Duration,
    /// In bytes a second; looked at when it has been waited for as long as it may pause. 0 is no bound.
    least: u64,
}

impl Pace {
    /// A client that may pause for so long, and is to send so many bytes a second.
    pub(in crate::proxy) fn new(patience: Duration, least: u64) -> Self {
        Self { stall: Stall::new(patience), waited: Duration::ZERO, patience, least }
    }

    /// So many bytes have come in all. Says whether that is enough.
    fn is_kept(&mut self, bytes: u64) -> bool {
        let Some(waited) = self.stall.took() else { return true };
        self.waited += waited;
        let wanted = u128::from(self.least) * self.waited.as_millis() / 1000;
        self.waited < self.patience || u128::from(bytes) >= wanted
    }
}
