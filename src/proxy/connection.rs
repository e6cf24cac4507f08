//! One connection to an app, and what has been read of it and not been taken.
//!
//! It is driven by the task of the request that it serves and by nobody else: there is no task of its own, and
//! whoever drops it closes it. Between requests nobody reads it; [`Connection::is_silent`] then says whether it may be
//! used, without a system call unless the runtime has been told that something came.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite, ReadHalf, WriteHalf, split};
use tokio::time::Instant;

use super::link::Link;
use super::stall::Stall;
use super::standing::Lease;

/// A connection to an app.
#[derive(Debug)]
pub(super) struct Connection {
    side: Side,
    /// The place of its server in the upstream.
    pub(super) server: usize,
    /// What has come and not been taken.
    pub(super) read: BytesMut,
    /// Whether anything has come since the present request was begun.
    pub(super) heard: bool,
    /// Runs while the app is waited for. It stays from request to request, so that its timer is set once and not for
    /// each of them.
    pub(super) clock: Stall,
    /// Whether a reset can only mean that the app has not read all that was sent ([`Link::tells_unread`]). It is found
    /// out in advance: of a connection that was reset the system does not know the other end any more.
    pub(super) tells_unread: bool,
    /// When it was made.
    pub(super) made: Instant,
    /// Whether it has served a request already.
    pub(super) is_used: bool,
    /// How long the app says that it keeps it when nothing is asked.
    pub(super) keep_alive: Option<Duration>,
    /// Its request's turn at the server; last, so that the connection is closed before somebody else has it.
    pub(super) lease: Lease,
}

#[derive(Debug)]
enum Side {
    Whole(Link),
    /// The other half still sends a request that is being answered already.
    Reading(ReadHalf<Link>),
}

impl Connection {
    /// A connection to the server in that place, to be given up when it is waited for so long.
    pub(super) fn new(link: Link, server: usize, patience: Duration) -> Self {
        Self {
            tells_unread: false,
            side: Side::Whole(link),
            server,
            read: BytesMut::new(),
            heard: false,
            clock: Stall::new(patience),
            made: Instant::now(),
            is_used: false,
            keep_alive: None,
            lease: Lease::default(),
        }
    }

    /// Whether nothing has come and it is open, as far as is known: what an app says between requests is nobody's
    /// answer.
    pub(super) fn is_silent(&mut self) -> bool {
        match &mut self.side {
            Side::Whole(link) => self.read.is_empty() && link.is_silent(),
            Side::Reading(_) => false,
        }
    }

    /// Whether the system itself knows nothing else.
    pub(super) fn is_open(&self) -> bool {
        matches!(&self.side, Side::Whole(link) if link.is_open())
    }

    /// Reads what there is, as much as there is room for: at least `least` bytes of it, and if more has to be made
    /// then `room`. 0 is the end.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        (least, room): (usize, usize),
    ) -> Poll<io::Result<usize>> {
        let read = &mut self.read;
        if read.capacity() - read.len() < least && !read.try_reclaim(room) {
            if read.is_empty() {
                // Not `reserve`, which would copy what is there of pieces that are still in use.
                *read = BytesMut::with_capacity(room);
            } else {
                read.reserve(room);
            }
        }
        let count = ready!(match &mut self.side {
            Side::Whole(link) => pin!(link.read_buf(read)).poll(cx),
            Side::Reading(half) => pin!(half.read_buf(read)).poll(cx),
        })?;
        self.heard |= count > 0;
        Poll::Ready(Ok(count))
    }

    /// Where requests are written; none if something else does it.
    pub(super) fn writer(&mut self) -> Option<(Pin<&mut impl AsyncWrite>, &mut Stall)> {
        match &mut self.side {
            Side::Whole(link) => Some((Pin::new(link), &mut self.clock)),
            Side::Reading(_) => None,
        }
    }

    /// Lets somebody else send the rest of the request. After that it serves no other.
    pub(super) fn give_writer(self) -> (Box<Self>, Option<WriteHalf<Link>>) {
        let Self { side, .. } = self;
        let (side, writer) = match side {
            Side::Whole(link) => {
                let (reader, writer) = split(link);
                (Side::Reading(reader), Some(writer))
            }
            side @ Side::Reading(_) => (side, None),
        };
        (Box::new(Self { side, ..self }), writer)
    }

    /// What it consists of, and what was read of it and is not HTTP; none if something else writes to it.
    pub(super) fn into_link(self) -> Option<(Link, Bytes, Lease)> {
        match self.side {
            Side::Whole(link) => Some((link, self.read.freeze(), self.lease)),
            Side::Reading(_) => None,
        }
    }
}
