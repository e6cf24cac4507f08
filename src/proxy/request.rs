//! A request on its way to the app: its head in one buffer, its body as the client sends it.
//!
//! What is ready goes out in one system call, head and small body together. The head stays in its buffer until the
//! app has been heard, so that a request without a body can be sent again (RFC 9110, section 9.2.2) without a copy.
//! A body that is not whole is never ended as if it were.

mod body;

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::CONTENT_LENGTH;
use tokio::io::AsyncWrite;

use super::head::write_field;
use super::spool::Spools;
use super::stall::Stall;

pub use body::BodyError;
pub(super) use body::{Body, Framing, Pace};

use body::Piece;

/// What every app reads in one piece, in bytes: gunicorn, uvicorn and Node ask for 8 KiB or more at a time.
const SMALL: usize = 4 * 1024;

/// A request that is being sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The head, or what stands before a piece of the body.
    before: Vec<u8>,
    /// How much of `before` has been written.
    written: usize,
    /// A piece of the body.
    data: Bytes,
    /// What stands behind it.
    after: &'static [u8],
    /// Boxed: most have none, and all are moved.
    body: Option<Box<Body>>,
    /// Whether the body is still to be read, all of it, before the head may be sent.
    is_to_be_gathered: bool,
    /// Whether anything at all has been written on the present connection.
    has_begun: bool,
    /// Whether what has been written may still wait in the session of TLS.
    is_unflushed: bool,
    /// The body and what is behind it, if all of it was there when the head was sent, and is small.
    small: Option<(Bytes, &'static [u8])>,
    /// Whether it may be sent again once it has been written.
    is_repeatable: bool,
    /// Whether the client is what is waited for.
    waits_for_client: bool,
}

/// Why a request was not sent whole.
#[derive(Debug)]
pub(super) enum SendError {
    Body(BodyError),
    Io(io::Error),
}

impl Outgoing {
    /// A request with its whole head. `is_idempotent` says that its method is. A body whose length is not known yet has
    /// to be gathered, with a head that lacks its last fields and the empty line.
    pub(super) fn new(head: Vec<u8>, body: Option<Box<Body>>, is_idempotent: bool) -> Self {
        Self {
            is_to_be_gathered: false,
            before: head,
            written: 0,
            data: Bytes::new(),
            after: b"",
            is_repeatable: is_idempotent && body.is_none(),
            body,
            has_begun: false,
            is_unflushed: false,
            small: None,
            waits_for_client: false,
        }
    }

    /// Has its body, if there is one, read before the head is sent.
    pub(super) fn gathered_first(mut self) -> Self {
        self.is_to_be_gathered = self.body.is_some();
        self
    }

    /// Whether [`Self::poll_gather`] is to be waited for.
    pub(super) fn is_to_be_gathered(&self) -> bool {
        self.is_to_be_gathered
    }

    /// Reads the body, and completes the head with its length if that was missing. Says whether it went to a file.
    pub(super) fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        spools: &Arc<Spools>,
    ) -> Poll<Result<bool, BodyError>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(false)) };
        let is_measured = body.is_measured();
        let length = ready!(body.poll_gather(cx, spools))?;
        if is_measured {
            write_field(&mut self.before, &CONTENT_LENGTH, itoa::Buffer::new().format(length).as_bytes());
            self.before.extend_from_slice(b"\r\n");
        }
        let in_file = body.is_in_file();
        if length == 0 {
            self.body = None;
        }
        self.is_to_be_gathered = false;
        Poll::Ready(Ok(in_file))
    }

    /// Whether the app may get it twice.
    pub(super) fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// Whether nothing of it has left.
    pub(super) fn is_unsent(&self) -> bool {
        !self.has_begun
    }

    /// Whether all of it has been sent in one piece, and no app reads so little at a time.
    pub(super) fn was_small(&self) -> bool {
        self.small.is_some()
    }

    /// Begins anew, on another connection.
    pub(super) fn rewind(&mut self) {
        self.written = 0;
        self.has_begun = false;
        self.is_unflushed = false;
        if let Some((data, after)) = self.small.take() {
            (self.data, self.after) = (data, after);
        }
    }

    /// Whether all of it has been written.
    pub(super) fn is_sent(&self) -> bool {
        self.body.is_none() && self.is_written() && !self.is_unflushed
    }

    /// Whether the client, and not the app, is waited for.
    pub(super) fn waits_for_client(&self) -> bool {
        self.waits_for_client
    }

    /// The bound of the body, in bytes.
    pub(super) fn max_body(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.max())
    }

    /// What is left of it, for somebody else to send.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(Vec::new(), None, false))
    }

    /// The buffer of the head, for another request.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.before)
    }

    /// Sends what the client has sent, as far as the app takes it; ready when that is all. The clock of the app
    /// starts anew whenever it has taken something.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        mut socket: Pin<&mut impl AsyncWrite>,
        clock: &mut Stall,
    ) -> Poll<Result<(), SendError>> {
        loop {
            self.waits_for_client = false;
            let takes_piece = self.body.is_some() && self.data.is_empty() && self.after.is_empty();
            let client_pauses = takes_piece && self.poll_piece(cx)?.is_pending();
            if self.is_written() {
                if self.is_unflushed {
                    ready!(socket.as_mut().poll_flush(cx)).map_err(SendError::Io)?;
                    self.is_unflushed = false;
                }
                if self.body.is_none() {
                    return Poll::Ready(Ok(()));
                }
                if client_pauses {
                    self.waits_for_client = true;
                    clock.moved();
                    return Poll::Pending;
                }
            }
            if !(self.has_begun || self.is_repeatable) && self.body.is_none() && self.length() <= SMALL {
                self.small = Some((self.data.clone(), self.after));
            }
            while !self.is_written() {
                let count = ready!(self.poll_write(cx, socket.as_mut())).map_err(SendError::Io)?;
                clock.moved();
                self.has_begun = true;
                self.is_unflushed = true;
                self.advance(count);
                if !self.is_written() {
                    // An app may have read the first part alone, and begun.
                    self.small = None;
                }
            }
        }
    }

    /// What is there to be written, in bytes.
    fn length(&self) -> usize {
        self.before.len() - self.written + self.data.len() + self.after.len()
    }

    fn is_written(&self) -> bool {
        self.written == self.before.len() && self.data.is_empty() && self.after.is_empty()
    }

    fn poll_write(&self, cx: &mut Context<'_>, socket: Pin<&mut impl AsyncWrite>) -> Poll<io::Result<usize>> {
        let before = &self.before[self.written..];
        let count = ready!(if self.data.is_empty() && self.after.is_empty() {
            socket.poll_write(cx, before)
        } else {
            let slices = [before, &self.data, self.after].map(IoSlice::new);
            socket.poll_write_vectored(cx, &slices)
        })?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(count))
    }

    fn advance(&mut self, mut count: usize) {
        let step = count.min(self.before.len() - self.written);
        self.written += step;
        count -= step;
        let step = count.min(self.data.len());
        self.data.advance(step);
        count -= step;
        self.after = &self.after[count.min(self.after.len())..];
    }

    /// Makes ready the next piece of the body, behind what is still unwritten of the head.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        let piece = ready!(body.poll_piece(cx)).map_err(SendError::Body)?;
        if self.written == self.before.len() {
            self.before.clear();
            self.written = 0;
        }
        let is_last = match (piece, body.chunked()) {
            (Piece::Data(data, is_last), chunked) => {
                if chunked.is_some() {
                    // Writing to a vector does not fail.
                    let _ = write!(self.before, "{:x}\r\n", data.len());
                    self.after = if is_last { b"\r\n0\r\n\r\n" } else { b"\r\n" };
                }
                self.data = data;
                is_last
            }
            (Piece::End(trailers), Some(announced)) => {
                self.before.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.iter().filter(|(name, _)| announced.contains(name)) {
                    write_field(&mut self.before, name, value.as_bytes());
                }
                self.before.extend_from_slice(b"\r\n");
                true
            }
            (Piece::End(_), None) => true,
        };
        if is_last {
            self.body = None;
        }
        Poll::Ready(Ok(()))
    }
}
