//! Reading an answer ahead of a client that is slower than its app, so that the app is free for others.
//!
//! There is no task for it: the one that sends the answer calls [`ReadAhead::poll`] while its client takes nothing, and
//! costs nobody anything as long as clients keep up. Memory is used at once; a file when the client has taken nothing for
//! [`SLOW`], which is longer than a fast one ever needs. Invariant: what is read ahead goes out before all that follows
//! it, and how the answer ended is known only to who has taken all that came before.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::body::Streamed;
use super::error::AnswerError;
use super::framing::Piece;
use super::pool::Upstream;
use super::spool::{Spool, Spools};
use super::stall::Stall;

/// For how long a client takes nothing before a file is used. One on a line of 50 Mbit/s takes a piece in this time.
const SLOW: Duration = Duration::from_millis(10);

/// How many pieces are read before others get their turn.
const BURST: u32 = 8;

/// The rest of an answer whose body somebody else holds, as long as there is one.
#[derive(Debug)]
pub struct ReadAhead(Weak<RefCell<Streamed>>);

/// A body of which a part may be read ahead.
pub trait ReadsAhead {
    /// How it is read while its client takes nothing; none if that is of no use.
    fn read_ahead(&self) -> Option<ReadAhead>;
}

impl ReadAhead {
    pub(super) fn of(streamed: &Rc<RefCell<Streamed>>) -> Self {
        Self(Rc::downgrade(streamed))
    }

    /// Reads what the app has sent, as far as there is room. To be called by the task that sends the body, after it has
    /// found that its client takes nothing. Says whether there is any more to be read, now or later.
    pub fn poll(&self, cx: &mut Context<'_>) -> bool {
        let Some(streamed) = self.0.upgrade() else { return false };
        streamed.borrow_mut().read_ahead(cx)
    }
}

/// What has been read ahead.
#[derive(Debug)]
pub(super) struct Ahead {
    spool: Spool,
    /// Runs while the client takes nothing.
    slow: Stall,
    /// Pieces that were read in a row.
    burst: u32,
    /// How the answer ended.
    end: Option<Result<Option<HeaderMap>, AnswerError>>,
}

impl Ahead {
    pub(super) fn new(spools: &Arc<Spools>) -> Self {
        Self { spool: Spool::new(spools), slow: Stall::new(SLOW), burst: 0, end: None }
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> u64 {
        self.spool.len()
    }

    /// Whether nothing waits, not even the end.
    pub(super) fn is_empty(&self) -> bool {
        self.spool.is_empty() && matches!(self.end, None | Some(Ok(None)))
    }

    /// Whether the next piece can be kept. If not now, the task is woken when that is worth another look.
    pub(super) fn has_room(&mut self, cx: &mut Context<'_>, upstream: &Upstream) -> bool {
        if self.burst == BURST {
            self.burst = 0;
            cx.waker().wake_by_ref();
            return false;
        }
        self.burst += 1;
        let has_room = self.spool.has_memory()
            || self.slow.poll(cx).is_ready() && self.spool.has_disk(upstream.read_ahead);
        if !has_room {
            self.burst = 0;
        }
        has_room
    }

    /// Keeps a piece for which there is room.
    pub(super) fn push(&mut self, data: Bytes, upstream: &Upstream) {
        let had_file = self.spool.has_file();
        self.spool.push_ahead(data);
        if self.spool.has_file() && !had_file {
            upstream.counters.answers_spooled.inc();
        }
    }

    /// The answer has ended, or broken off.
    pub(super) fn end(&mut self, end: Result<Option<HeaderMap>, AnswerError>) {
        self.end = Some(end);
    }

    /// What is next of that which was read ahead, the end included; none if nothing was.
    pub(super) fn take(&mut self) -> Result<Option<Piece>, AnswerError> {
        self.slow.moved();
        self.burst = 0;
        if let Some(data) = self.spool.pop().map_err(AnswerError::Spool)? {
            return Ok(Some(Piece::Data(data)));
        }
        self.end
            .take()
            .transpose()
            .map(|end| end.map(|trailers| trailers.map_or(Piece::End, Piece::Trailers)))
    }
}
