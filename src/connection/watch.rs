//! What a connection is doing, seen from its socket, and how long it may.
//!
//! The socket, the service and the bodies write here what they see; the connection's task reads it after each poll
//! and keeps one timer (`timer`) for whatever is due first. Nothing here is touched more than a few times a request.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::fragment::LineWatch;
use crate::clock;
use crate::config::Deadlines;
use crate::proxy::{ReadAhead, Switched};
use crate::stream::Grant;
use crate::transport::{DirectFiles, Transport};

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Watch {
    /// Whether bytes on an idle connection begin a request. On HTTP/2 they may be pings and the like.
    reads_heads: bool,
    /// Requests whose answers are not finished.
    in_flight: Cell<u32>,
    /// Since when there are none.
    idle_since: Cell<Instant>,
    /// Since when a head is being read; none while the connection is idle or busy.
    head_since: Cell<Option<Instant>>,
    /// Whether anything of the head that is waited for has come.
    head_begun: Cell<bool>,
    /// Since when the client takes nothing of what is written.
    blocked_since: Cell<Option<Instant>>,
    /// Whether all that was written has been flushed: hyper flushes only when it holds nothing back.
    flushed: Cell<bool>,
    /// The answer that ends when all of it has been flushed.
    on_flush: RefCell<Option<Waker>>,
    /// The rest of the answer that is being sent.
    ahead: RefCell<Option<ReadAhead>>,
    /// A stream that wants the socket.
    parked: RefCell<Option<Box<Grant>>>,
    /// A tunnel that wants it.
    tunnel: RefCell<Option<Box<Switched>>>,
    /// Looks for what hyper cuts off of request lines. Not on HTTP/2.
    pub(super) lines: LineWatch,
}

impl Watch {
    /// A connection that has just been made: its first head is due.
    pub(super) fn new(reads_heads: bool) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            reads_heads,
            in_flight: Cell::new(0),
            idle_since: Cell::new(now),
            head_since: Cell::new(Some(now)),
            head_begun: Cell::new(false),
            blocked_since: Cell::new(None),
            flushed: Cell::new(true),
            on_flush: RefCell::new(None),
            ahead: RefCell::new(None),
            parked: RefCell::new(None),
            tunnel: RefCell::new(None),
            lines: LineWatch::new(),
        })
    }

    /// A request has come. The guard is to be dropped with the end of its answer.
    pub(super) fn begin(self: &Rc<Self>) -> InFlight {
        self.head_since.set(None);
        self.head_begun.set(false);
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(self.clone())
    }

    pub(super) fn offer_stream(&self, grant: Box<Grant>) {
        *self.parked.borrow_mut() = Some(grant);
    }

    pub(super) fn offer_tunnel(&self, app: Box<Switched>) {
        *self.tunnel.borrow_mut() = Some(app);
    }

    /// The answer that is sent from now on. Only where there is one at a time.
    pub(super) fn offer_ahead(&self, ahead: Option<ReadAhead>) {
        *self.ahead.borrow_mut() = ahead;
    }

    /// Reads the answer ahead, if the client takes nothing of it.
    pub(super) fn read_ahead(&self, cx: &mut Context<'_>) {
        if self.blocked_since.get().is_none() {
            return;
        }
        let mut ahead = self.ahead.borrow_mut();
        if ahead.as_ref().is_some_and(|rest| !rest.poll(cx)) {
            *ahead = None;
        }
    }

    /// The stream that wants the socket, if the socket is free for it.
    pub(super) fn take_stream(&self) -> Option<Box<Grant>> {
        if self.flushed.get() { self.parked.borrow_mut().take() } else { None }
    }

    /// Ready when all that hyper was given has been flushed. Only where there is one answer at a time.
    fn poll_flushed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.flushed.get() {
            return Poll::Ready(());
        }
        *self.on_flush.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn take_tunnel(&self) -> Option<Box<Switched>> {
        self.tunnel.borrow_mut().take()
    }

    /// Whether the client waits for nothing: it has sent nothing that is not answered.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight.get() == 0 && self.flushed.get() && !self.head_begun.get()
    }

    /// Whether a part of a request has come, and no more of it yet.
    pub(super) fn is_reading_head(&self) -> bool {
        self.in_flight.get() == 0 && self.head_begun.get()
    }

    /// Whether nothing is going on.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.get() == 0 && self.head_since.get().is_none()
    }

    /// What is due next, and what it is called. To be asked after each poll, since a head's time begins here: one that
    /// came whole is a request by now, and the clock is not read for it.
    pub(super) fn deadline(&self, deadlines: &Deadlines) -> Option<(Instant, &'static str)> {
        if self.is_reading_head() && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
        let progress = match (self.in_flight.get(), self.head_since.get()) {
            (0, Some(since)) => Some((since + deadlines.header_timeout, "to send a request")),
            (0, None) => Some((self.idle_since.get() + deadlines.idle_timeout, BETWEEN_REQUESTS)),
            _ => None,
        };
        let blocked =
            self.blocked_since.get().map(|since| (since + deadlines.write_stall, "to read its answer"));
        [progress, blocked].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

/// The time that passes for a connection that is only kept.
pub(super) const BETWEEN_REQUESTS: &str = "between requests";

/// A request whose answer is not finished.
#[derive(Debug)]
pub(super) struct InFlight(Rc<Watch>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let watch = &self.0;
        watch.in_flight.set(watch.in_flight.get() - 1);
        if watch.in_flight.get() == 0 {
            watch.idle_since.set(clock::now());
        }
    }
}

/// A socket that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) transport: Transport,
    pub(super) watch: Rc<Watch>,
    /// The parts of files that go to it unread.
    pub(super) direct: Option<Rc<DirectFiles>>,
}

impl Watched {
    fn saw_write<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Pending if self.watch.blocked_since.get().is_none() => {
                self.watch.blocked_since.set(Some(Instant::now()));
            }
            Poll::Pending => {}
            Poll::Ready(_) => self.watch.blocked_since.set(None),
        }
        polled
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(cx, buffer))?;
        let watch = &self.watch;
        let is_waited_for = watch.in_flight.get() == 0;
        if watch.reads_heads {
            watch.lines.see(&buffer.filled()[before..], is_waited_for);
        }
        if buffer.filled().len() > before && watch.reads_heads && is_waited_for {
            watch.head_begun.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watch.flushed.set(false);
        let this = &mut *self;
        let before = this.direct.as_ref().and_then(|_| DirectFiles::before_stand_in(slices));
        let polled = match (&this.direct, &mut this.transport, before) {
            (Some(direct), Transport::Plain(socket), Some(0)) => direct.poll_send(cx, socket, &slices[0]),
            (_, transport, before) => {
                let slices = &slices[..before.unwrap_or(slices.len())];
                Pin::new(transport).poll_write_vectored(cx, slices)
            }
        };
        self.saw_write(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut polled = Pin::new(&mut self.transport).poll_flush(cx);
        if polled.is_ready() {
            // hyper flushes when it has written all that it held.
            if let Some(direct) = &self.direct
                && let Err(error) = direct.all_sent()
            {
                polled = Poll::Ready(Err(error));
            }
            self.watch.flushed.set(true);
            if let Some(waker) = self.watch.on_flush.borrow_mut().take() {
                waker.wake();
            }
        }
        self.saw_write(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// A body whose end the connection knows of.
///
/// On HTTP/1 an answer that breaks off ends only when all that came before has been written: hyper drops what it
/// holds with the first error of a body, be it the whole head.
#[derive(Debug)]
pub struct Tracked<B: Body> {
    inner: B,
    /// What it breaks off with.
    held: Option<B::Error>,
    in_flight: InFlight,
}

impl<B: Body> Tracked<B> {
    /// To be called when the answer is given to hyper, which has its head to write from then on.
    pub(super) fn new(inner: B, in_flight: InFlight) -> Self {
        in_flight.0.flushed.set(false);
        Self { inner, held: None, in_flight }
    }
}

/// Its error is never pinned.
impl<B: Body + Unpin> Unpin for Tracked<B> {}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = &mut *self;
        let watch = &this.in_flight.0;
        if this.held.is_none() {
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Err(error)) if watch.reads_heads => this.held = Some(error),
                other => {
                    watch.flushed.set(false);
                    return Poll::Ready(other);
                }
            }
        }
        ready!(watch.poll_flushed(cx));
        Poll::Ready(this.held.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream() && self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
