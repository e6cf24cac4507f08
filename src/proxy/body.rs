//! The body of an answer on its way through: passed on as it comes, and watched.
//!
//! Whoever sends it asks for the next piece when there is room for it. While there is none, the rest may be read ahead
//! (`ahead`): then what comes here waits there, and the order stays what it was.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::ahead::{Ahead, ReadAhead};
use super::connection::Connection;
use super::error::{AnswerError, AnswerFault};
use super::framing::{Framing, Piece};
use super::pool::Upstream;
use super::request::Outgoing;
use super::upload::Upload;
use crate::http::clean_response_trailers;

/// The body of an answer on its way to the client. When it has been read whole, its connection can serve the next
/// request; dropped before, it takes the connection with it, and the app sees that the client is gone.
#[derive(Debug)]
pub struct UpstreamBody(State);

#[derive(Debug)]
enum State {
    /// All that is still to come, and it is here; the connection serves others already.
    Whole(Bytes),
    /// Small answers have come whole with their head.
    Streamed(Rc<RefCell<Streamed>>),
    /// It broke. The error is there until it has been said.
    Broken(Option<AnswerError>),
}

/// An answer that has not come whole.
#[derive(Debug)]
pub(super) struct Streamed {
    upstream: Rc<Upstream>,
    /// None when the app has said all.
    reading: Option<Reading>,
    /// What has been read ahead, once that was needed.
    ahead: Option<Box<Ahead>>,
}

#[derive(Debug)]
struct Reading {
    connection: Box<Connection>,
    framing: Framing,
    /// Whether the connection is of use afterwards.
    keeps: bool,
    /// Whether the app may be quiet for as long as it likes: it is an event stream.
    is_quiet: bool,
    /// The rest of the request, if the app answers before it has heard all.
    upload: Option<Upload>,
}

impl UpstreamBody {
    /// The body whose head has just been taken off `connection`. `rest` is what is still to be sent of the request.
    pub(super) fn new(
        upstream: &Rc<Upstream>,
        mut connection: Box<Connection>,
        mut framing: Framing,
        keeps: bool,
        is_quiet: bool,
        rest: Option<Outgoing>,
    ) -> Self {
        let mut upload = None;
        if let Some(rest) = rest {
            let (reader, writer) = connection.give_writer();
            connection = reader;
            upload = writer.map(|writer| Upload::start(rest, writer, upstream.response_timeout));
        }
        if let Some(whole) = framing.take_whole(&mut connection.read) {
            end(connection, upstream, keeps, upload);
            return Self(State::Whole(whole));
        }
        let reading = Some(Reading { connection, framing, keeps, is_quiet, upload });
        let streamed = Streamed { upstream: upstream.clone(), reading, ahead: None };
        Self(State::Streamed(Rc::new(RefCell::new(streamed))))
    }

    /// A body that is none.
    pub(super) fn empty() -> Self {
        Self(State::Whole(Bytes::new()))
    }

    /// How the rest of it is read while its client takes nothing, if there is a rest and that is of use.
    pub fn read_ahead(&self) -> Option<ReadAhead> {
        let State::Streamed(streamed) = &self.0 else { return None };
        let is_of_use = streamed.borrow().is_to_be_read_ahead();
        is_of_use.then(|| ReadAhead::of(streamed))
    }
}

impl Streamed {
    /// An event stream has no end to come to.
    fn is_to_be_read_ahead(&self) -> bool {
        self.upstream.read_ahead > 0 && self.reading.as_ref().is_some_and(|reading| !reading.is_quiet)
    }

    /// Reads on without anybody asking for it, as far as there is room. Says whether there is a rest.
    pub(super) fn read_ahead(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { upstream, reading, ahead } = self;
        let Some(from) = reading else { return false };
        let ahead = ahead.get_or_insert_with(|| Box::new(Ahead::new(&upstream.spools)));
        while ahead.has_room(cx, upstream) {
            let ended = match from.poll_piece(cx) {
                Poll::Pending => return true,
                Poll::Ready(Ok(Piece::Data(data))) => {
                    ahead.push(data, upstream);
                    if !from.framing.is_end() {
                        continue;
                    }
                    Ok(None)
                }
                Poll::Ready(Ok(Piece::Trailers(trailers))) => Ok(Some(trailers)),
                Poll::Ready(Ok(Piece::End | Piece::Missing)) => Ok(None),
                Poll::Ready(Err(error)) => Err(error),
            };
            if let Some(reading) = reading.take()
                && ended.is_ok()
            {
                reading.end(upstream);
            }
            ahead.end(ended);
            return false;
        }
        true
    }

    /// The next piece: of what was read ahead, or as it comes.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, AnswerError>> {
        if let Some(ahead) = &mut self.ahead
            && let Some(piece) = ahead.take().transpose()
        {
            return Poll::Ready(piece);
        }
        match &mut self.reading {
            Some(reading) => reading.poll_piece(cx),
            None => Poll::Ready(Ok(Piece::End)),
        }
    }

    /// Whether nothing comes any more.
    fn is_end(&self) -> bool {
        self.ahead.as_ref().is_none_or(|ahead| ahead.is_empty())
            && self.reading.as_ref().is_none_or(|reading| reading.framing.is_end())
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = self.ahead.as_ref().map_or(0, |ahead| ahead.len());
        match &self.reading {
            Some(reading) => match reading.framing.size_hint().exact() {
                Some(left) => SizeHint::with_exact(left + waiting),
                None => SizeHint::default(),
            },
            // It may have broken off.
            None => SizeHint::default(),
        }
    }
}

impl Reading {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, AnswerError>> {
        loop {
            match self.framing.take(&mut self.connection.read).map_err(AnswerError::Broken)? {
                Piece::Missing => {}
                piece => return Poll::Ready(Ok(piece)),
            }
            match self.connection.poll_fill(cx, self.framing.room()) {
                Poll::Ready(Ok(1..)) => self.connection.clock.moved(),
                Poll::Ready(Ok(0)) if self.framing.ends_with_connection() => {
                    return Poll::Ready(Ok(Piece::End));
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(AnswerError::Broken(AnswerFault::Truncated))),
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(AnswerError::Broken(AnswerFault::Io(error))));
                }
                Poll::Pending => {
                    if let Some(upload) = &mut self.upload
                        && let Poll::Ready(Err(error)) = upload.poll(cx)
                    {
                        return Poll::Ready(Err(AnswerError::Request(error)));
                    }
                    if self.is_quiet {
                        return Poll::Pending;
                    }
                    ready!(self.connection.clock.poll(cx));
                    return Poll::Ready(Err(AnswerError::Stalled));
                }
            }
        }
    }

    /// Gives the connection back.
    fn end(self, upstream: &Upstream) {
        end(self.connection, upstream, self.keeps, self.upload);
    }
}

/// Gives the connection back, since the answer has come whole; unless it came before the request had been sent.
fn end(connection: Box<Connection>, upstream: &Upstream, keeps: bool, upload: Option<Upload>) {
    match upload {
        Some(upload) => upload.detach(),
        None if keeps => upstream.keep(connection),
        None => {}
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let shared = match &mut self.0 {
            State::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            State::Whole(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            State::Broken(error) => return Poll::Ready(error.take().map(Err)),
            State::Streamed(shared) => shared,
        };
        let mut streamed = shared.borrow_mut();
        let frame = match ready!(streamed.poll_next(cx)) {
            Ok(Piece::Data(data)) => Some(Frame::data(data)),
            Ok(Piece::Trailers(mut trailers)) => {
                clean_response_trailers(&mut trailers);
                Some(Frame::trailers(trailers))
            }
            Ok(Piece::End | Piece::Missing) => None,
            Err(error) => {
                drop(streamed);
                // Not at once: an error makes the server throw away what it was given and has not written yet.
                self.0 = State::Broken(Some(error));
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
        // Nothing comes behind trailers, and nobody asks for more.
        if frame.as_ref().is_none_or(Frame::is_trailers) || streamed.is_end() {
            if let Some(reading) = streamed.reading.take() {
                reading.end(&streamed.upstream);
            }
            drop(streamed);
            self.0 = State::Whole(Bytes::new());
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, State::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            State::Streamed(streamed) => streamed.borrow().size_hint(),
            State::Broken(_) => SizeHint::default(),
        }
    }
}
