//! What of a stream changes while it is open: what it has to write, and how it stands.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;

use super::super::backlog::{Backlog, SLICES};
use super::super::catch_up::History;
use super::super::story::Story;
use super::Form;
use crate::event::{Frame, Timestamp};
use crate::metrics::Counters;
use crate::store::Page;
use crate::stream::End;
use crate::transport::Transport;

#[derive(Debug)]
pub(super) struct State {
    pub(super) form: Form,
    /// What could not be written at once. None when there is nothing: most streams wait most of the time.
    pub(super) backlog: Option<Box<Backlog>>,
    /// The task that owns the socket or the body.
    pub(super) waker: Option<Waker>,
    pub(super) ended: Option<End>,
    pub(super) counters: Arc<Counters>,
}

impl State {
    /// What waits, from now on if nothing did.
    pub(super) fn backlog(&mut self) -> &mut Backlog {
        let Self { backlog, counters, .. } = self;
        backlog.get_or_insert_with(|| {
            let mut backlog = Box::<Backlog>::default();
            backlog.count_at(counters.clone());
            backlog
        })
    }

    pub(super) fn wait(&mut self, bytes: Bytes) {
        self.backlog().push(bytes);
    }

    /// The same with what is left of a frame of which `written` bytes were taken.
    pub(super) fn wait_with_rest(&mut self, bytes: &Bytes, written: usize) {
        self.backlog().push_rest(bytes, written);
    }

    /// Puts an event behind what waits.
    pub(super) fn wait_with(&mut self, frame: &Frame) {
        let bytes = self.bytes_of(frame);
        let backlog = self.backlog();
        if let Some(at) = frame.expires() {
            backlog.expires(at, false);
        }
        backlog.push(bytes);
    }

    /// A frame as this stream's client is sent it.
    pub(super) fn bytes_of(&self, frame: &Frame) -> Bytes {
        if matches!(self.form, Form::Parked { chunked: true, .. }) {
            frame.chunk().clone()
        } else {
            frame.text()
        }
    }

    /// Puts a page of history behind what waits.
    pub(super) fn replay(&mut self, page: &Page) {
        let chunked = matches!(self.form, Form::Parked { chunked: true, .. });
        let backlog = self.backlog();
        for record in &page.records {
            let frame = &record.frame;
            if let Some(at) = record.expires {
                backlog.expires(at, true);
            }
            backlog.push_replay(if chunked { frame.chunk().clone() } else { frame.text() });
        }
    }

    pub(super) fn history(&mut self) -> Option<&mut History> {
        self.backlog.as_mut().and_then(|backlog| backlog.history.as_mut())
    }

    /// Reads no more of history.
    pub(super) fn go_live(&mut self) {
        if let Some(backlog) = &mut self.backlog {
            backlog.history = None;
        }
    }

    /// Whether all that it was given has been taken by the socket, or by the connection.
    pub(super) fn has_written(&self) -> bool {
        let is_flushed = !matches!(&self.form, Form::Parked { transport, .. } if !transport.is_flushed());
        is_flushed && self.backlog.as_ref().is_none_or(|backlog| backlog.is_empty())
    }

    /// How it reaches its client, in the words of who looks at it.
    pub(super) fn protocol(&self) -> &'static str {
        match &self.form {
            Form::Parked { chunked: true, transport } if transport.is_secure() => "HTTP/1.1, TLS",
            Form::Parked { chunked: true, .. } => "HTTP/1.1",
            Form::Parked { .. } => "HTTP/1.0",
            Form::Body => "HTTP/2",
        }
    }

    /// How many bytes wait that count against the reader.
    pub(super) fn held(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.held())
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    pub(super) fn register(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }
}

/// Writes until nothing waits or the socket takes no more.
pub(super) fn write_backlog(
    transport: &mut Transport,
    waiting: &mut Option<Box<Backlog>>,
    story: &Story,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while let Some(backlog) = waiting {
        backlog.drop_expired(Timestamp::now, |seq| story.outlive(seq));
        if !backlog.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = backlog.slices(&mut slices);
            let written = transport.send_now(&slices[..count])?;
            backlog.advance(written);
            if written > 0 {
                continue;
            }
        } else if transport.is_flushed() {
            if backlog.history.is_none() {
                *waiting = None;
            }
            break;
        }
        ready!(transport.poll_sendable(cx))?;
    }
    Poll::Ready(Ok(()))
}
