//! The body of an answer on its way through: passed on as it comes, and watched.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

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
    /// Boxed: small answers have come whole with their head.
    Streamed(Box<Streamed>),
    /// It broke. The error is there until it has been said.
    Broken(Option<AnswerError>),
}

#[derive(Debug)]
struct Streamed {
    connection: Connection,
    upstream: Rc<Upstream>,
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
        mut connection: Connection,
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
        let upstream = upstream.clone();
        Self(State::Streamed(Box::new(Streamed { connection, upstream, framing, keeps, is_quiet, upload })))
    }

    /// A body that is none.
    pub(super) fn empty() -> Self {
        Self(State::Whole(Bytes::new()))
    }
}

impl Streamed {
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
}

/// Gives the connection back, since the answer has come whole; unless it came before the request had been sent.
fn end(connection: Connection, upstream: &Upstream, keeps: bool, upload: Option<Upload>) {
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
        let streamed = match &mut self.0 {
            State::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            State::Whole(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            State::Broken(error) => return Poll::Ready(error.take().map(Err)),
            State::Streamed(streamed) => streamed,
        };
        let frame = match ready!(streamed.poll_piece(cx)) {
            Ok(Piece::Data(data)) => Some(Frame::data(data)),
            Ok(Piece::Trailers(mut trailers)) => {
                clean_response_trailers(&mut trailers);
                Some(Frame::trailers(trailers))
            }
            Ok(Piece::End | Piece::Missing) => None,
            Err(error) => {
                // Not at once: an error makes the server throw away what it was given and has not written yet.
                self.0 = State::Broken(Some(error));
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
        if frame.is_none() || streamed.framing.is_end() {
            // Nothing comes behind trailers, and nobody asks for more.
            if let State::Streamed(streamed) = std::mem::replace(&mut self.0, State::Whole(Bytes::new())) {
                let Streamed { connection, upstream, keeps, upload, .. } = *streamed;
                end(connection, &upstream, keeps, upload);
            }
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, State::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            State::Streamed(streamed) => streamed.framing.size_hint(),
            State::Broken(_) => SizeHint::default(),
        }
    }
}
