//! One open stream.

mod logged;
mod standing;
mod state;

use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::backlog::Backlog;
use super::catch_up::{History, ToRead};
use super::marking::Marking;
use super::recheck::Rechecked;
use super::story::Story;
use super::{End, StreamSettings};
use crate::auth::Voucher;
use crate::event::{Epoch, EventId, Frame, Timestamp, place};
use crate::hub::{ChannelId, Gap, GapNotice};
use crate::metrics::Counters;
use crate::store::Page;
use crate::transport::Transport;

pub(super) use logged::Logged;

use state::{State, write_backlog};

/// One open stream of this worker.
#[derive(Debug)]
pub struct Subscriber {
    /// Its place in the table; together with `serial` never the same for two streams.
    pub(super) key: Cell<u32>,
    pub(super) serial: u32,
    pub(super) settings: Rc<StreamSettings>,
    /// Whose stream it is; none is an anonymous route's.
    pub(super) user: Option<Box<str>>,
    /// The client's address, as the log shows it.
    pub(super) client: Box<str>,
    /// Its channels, each with its place among the channel's subscribers.
    pub(super) channels: SmallVec<[(ChannelId, Cell<u32>); 2]>,
    epoch: Cell<Epoch>,
    /// The same, as the hub counts epochs.
    pub(super) life: Cell<u32>,
    /// The last event handed to it.
    cursor: Cell<u64>,
    pub(super) delivered: Cell<u64>,
    pub(super) story: Story,
    pub(super) opened: Instant,
    /// When it must end, and why.
    pub(super) ends: Option<(Instant, End)>,
    pub(super) next_heartbeat: Cell<Option<Instant>>,
    pub(super) rechecked: Option<Box<Rechecked>>,
    /// What stands behind its user.
    pub(super) voucher: RefCell<Option<Voucher>>,
    pub(super) logged: Option<Box<Logged>>,
    /// What is to be marked as read when it has been written; none where that is not asked.
    pub(super) marking: Option<Box<Marking>>,
    state: RefCell<State>,
}

/// How the stream reaches its client.
#[derive(Debug)]
pub(super) enum Form {
    /// A parked HTTP/1 socket. `chunked` is false for HTTP/1.0.
    Parked { transport: Transport, chunked: bool },
    /// A body that hyper polls.
    Body,
}

/// What became of an event that was handed to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handed {
    /// Written, or waiting in its backlog.
    Taken,
    /// It is catching up, and will read the event in history.
    Later,
    /// It has ended, or has had the event.
    NotTaken,
    /// It must be ended, for this.
    Ends(End),
}

/// What the task of a parked stream has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Close the socket.
    Close,
    /// Close it, and say that the client went away.
    Gone,
    /// Close it soon: the stream has ended, but its last words are not written yet.
    Linger,
}

/// What a new stream is made of.
pub(super) struct Parts {
    pub(super) serial: u32,
    pub(super) settings: Rc<StreamSettings>,
    pub(super) user: Option<Box<str>>,
    pub(super) client: Box<str>,
    pub(super) channels: SmallVec<[ChannelId; 2]>,
    pub(super) cursor: EventId,
    pub(super) life: u32,
    pub(super) story: Story,
    pub(super) opened: Instant,
    pub(super) ends: Option<(Instant, End)>,
    pub(super) rechecked: Option<Box<Rechecked>>,
    pub(super) voucher: Option<Voucher>,
    pub(super) logged: Option<Box<Logged>>,
    pub(super) marking: Option<Box<Marking>>,
    pub(super) form: Form,
    /// What it opens with.
    pub(super) backlog: Backlog,
    /// Those of its worker.
    pub(super) counters: Arc<Counters>,
}

impl Subscriber {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            serial,
            settings,
            user,
            client,
            channels,
            cursor,
            life,
            story,
            opened,
            ends,
            rechecked,
            voucher,
            logged,
            marking,
            form,
            mut backlog,
            counters,
        } = parts;
        backlog.count_at(counters.clone());
        let next_heartbeat = Cell::new(settings.heartbeat_every().map(|every| opened + every));
        Self {
            key: Cell::new(0),
            serial,
            settings,
            user,
            client,
            channels: channels.into_iter().map(|id| (id, Cell::new(0))).collect(),
            epoch: Cell::new(cursor.epoch),
            life: Cell::new(life),
            cursor: Cell::new(cursor.seq),
            delivered: Cell::new(0),
            story,
            opened,
            ends,
            next_heartbeat,
            rechecked,
            voucher: RefCell::new(voucher),
            logged,
            marking,
            state: RefCell::new(State {
                form,
                backlog: Some(Box::new(backlog)),
                waker: None,
                ended: None,
                counters,
            }),
        }
    }

    /// The id of the last event handed to it.
    pub(super) fn cursor(&self) -> EventId {
        EventId { epoch: self.epoch.get(), seq: self.cursor.get() }
    }

    /// Hands it an event of the hub.
    pub(super) fn hand(&self, seq: u64, frame: &Frame) -> Handed {
        if seq <= self.cursor.get() {
            return Handed::NotTaken;
        }
        if let Some(history) = self.state.borrow_mut().history() {
            let is_new = seq > history.counted;
            history.counted = history.counted.max(seq);
            return if is_new { Handed::Later } else { Handed::NotTaken };
        }
        let handed = self.say(frame);
        if handed == Handed::Taken {
            self.cursor.set(seq);
            self.delivered.set(self.delivered.get() + 1);
        }
        handed
    }

    /// Hands it a frame that is not the hub's.
    pub(super) fn say(&self, frame: &Frame) -> Handed {
        let state = &mut *self.state.borrow_mut();
        if state.ended.is_some() {
            return Handed::NotTaken;
        }
        let was_behind = state.held() > 0;
        let waits = state.backlog.as_ref().is_some_and(|backlog| !backlog.is_empty());
        match &mut state.form {
            Form::Parked { transport, chunked } if state.backlog.is_none() => {
                let text;
                let bytes = if *chunked {
                    frame.chunk()
                } else {
                    text = frame.text();
                    &text
                };
                let sent = transport.send_now(&[IoSlice::new(bytes)]);
                if let Ok(written) = sent {
                    state.counters.stream_bytes.add(written as u64);
                }
                match sent {
                    Ok(written) if written == bytes.len() && transport.is_flushed() => return Handed::Taken,
                    Ok(0) => state.wait_with(frame),
                    Ok(written) => state.wait_with_rest(bytes, written),
                    Err(_) => return Handed::Ends(End::Gone),
                }
            }
            Form::Parked { .. } | Form::Body => state.wait_with(frame),
        }
        // A reader who had nothing waiting is not slow, however large the one event is that its socket cannot take.
        if was_behind && state.held() > self.settings.route.backlog {
            return Handed::Ends(End::Evicted);
        }
        // Who has something to write already waits for the socket, or will be asked by hyper; to wake thousands of stalled
        // readers for each event would cost the others.
        if !waits {
            state.wake();
        }
        Handed::Taken
    }

    /// How many bytes wait that count against its reader.
    pub(super) fn held(&self) -> usize {
        self.state.borrow().held()
    }

    /// How it reaches its client, for who looks.
    pub(super) fn protocol(&self) -> &'static str {
        self.state.borrow().protocol()
    }

    /// Whether something waits to be written.
    pub(super) fn is_behind(&self) -> bool {
        self.state.borrow().backlog.is_some()
    }

    /// Whether all that was handed to it has been written. Of a stream that has ended nobody knows.
    pub(super) fn is_written(&self) -> bool {
        let state = self.state.borrow();
        state.ended.is_none() && state.has_written()
    }

    /// What it reads next, if it is still catching up.
    pub(super) fn to_read(&self) -> Option<ToRead> {
        let state = &mut *self.state.borrow_mut();
        let History { read, head, unread, .. } = state.history()?;
        let after = EventId { epoch: self.epoch.get(), seq: *read };
        Some(ToRead { after, head: *head, unread: unread.clone() })
    }

    /// Whether it has written all it had and has more to read. Said once for every page.
    pub(super) fn wants_page(&self) -> bool {
        let state = &mut *self.state.borrow_mut();
        state.has_written()
            && state.history().is_some_and(|history| !std::mem::replace(&mut history.waits, true))
    }

    /// When it was given the page that it has not written yet; the present for one that waits for its next.
    pub(super) fn page_given(&self) -> Option<Instant> {
        let state = &mut *self.state.borrow_mut();
        state.history().map(|history| if history.waits { Instant::now() } else { history.given })
    }

    /// Gives it the next page of history. Once it has read up to `upto`, all that was handed out, it is live.
    pub(super) fn take_page(&self, page: &Page, upto: u64) {
        let state = &mut *self.state.borrow_mut();
        state.replay(page);
        if let Some(last) = page.records.last() {
            self.cursor.set(last.seq);
            self.delivered.set(self.delivered.get() + page.records.len() as u64);
        }
        let Some(history) = state.history() else { return };
        history.read = page.read;
        history.given = Instant::now();
        history.waits = false;
        let head = history.head;
        if page.read >= head && history.unread.take().is_some() && self.cursor.get() < head {
            // Leaves its client at the head: what lies in between is not of what it began with.
            self.cursor.set(head);
            let bytes = state.bytes_of(&place(self.cursor()));
            state.backlog().push_replay(bytes);
        }
        if page.read >= upto {
            state.go_live();
        }
        state.wake();
    }

    /// Tells it that history is gone up to `head`. From there it is live.
    pub(super) fn skip(&self, head: u64, gap: Gap) {
        self.story.miss(self.cursor.replace(head), head);
        let told = self.settings.gap(gap, self.cursor());
        let state = &mut *self.state.borrow_mut();
        if let Some(told) = told {
            state.wait(state.bytes_of(&told));
        }
        state.go_live();
        state.wake();
    }

    /// Tells it that something is missing. Says whether it concerns it.
    pub(super) fn miss(&self, notice: &GapNotice) -> bool {
        let GapNotice { at, heard, life, gap, .. } = *notice;
        let is_of_it = match gap {
            Gap::NewEpoch => self.life.get() < life,
            _ => self.life.get() == life && self.cursor.get() <= heard,
        };
        if !is_of_it {
            return false;
        }
        if gap == Gap::NewEpoch {
            self.life.set(life);
            self.epoch.set(at.epoch);
            self.marking.iter().for_each(|marking| marking.forget());
        }
        self.skip(at.seq, gap);
        if gap == Gap::NewEpoch {
            self.story.begin_anew(at.seq);
        }
        true
    }

    /// Marks it as ended, with a last frame for a client that still reads. Its task or body does the rest.
    pub(super) fn end(&self, end: End, last: Option<&Frame>) {
        let state = &mut *self.state.borrow_mut();
        if state.ended.is_some() {
            return;
        }
        state.ended = Some(end);
        state.go_live();
        if let Some(frame) = last {
            state.wait(state.bytes_of(frame));
        }
        if matches!(end, End::Gone | End::Evicted) {
            state.backlog = None;
        }
        if let (End::Evicted, Form::Parked { transport, .. }) = (end, &state.form) {
            // If it is refused, the connection is closed all the same.
            let _ = transport.reset_on_close();
        }
        state.wake();
    }

    /// Drives a parked stream: writes what waits and watches for the client's end. `budget` is how many bytes the
    /// client may still send.
    pub(super) fn poll_parked(&self, cx: &mut Context<'_>, budget: &mut u32) -> Poll<Next> {
        let state = &mut *self.state.borrow_mut();
        state.register(cx);
        if matches!(state.ended, Some(End::Gone | End::Evicted)) {
            return Poll::Ready(Next::Close);
        }
        let Form::Parked { transport, .. } = &mut state.form else { return Poll::Ready(Next::Close) };
        if transport.poll_discard(cx, budget).is_ready() {
            return Poll::Ready(Next::Gone);
        }
        match (write_backlog(transport, &mut state.backlog, &self.story, cx), state.ended) {
            (Poll::Ready(Err(_)), _) => Poll::Ready(Next::Gone),
            (Poll::Ready(Ok(())), Some(_)) => Poll::Ready(Next::Close),
            (Poll::Pending, Some(_)) => Poll::Ready(Next::Linger),
            (_, None) => Poll::Pending,
        }
    }

    /// The next piece of a stream that is a body. Ready without one when it has ended and all is taken.
    pub(super) fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let state = &mut *self.state.borrow_mut();
        state.register(cx);
        if let Some(backlog) = &mut state.backlog {
            backlog.drop_expired(Timestamp::now, |seq| self.story.outlive(seq));
            let piece = backlog.pop();
            if backlog.is_empty() && backlog.history.is_none() {
                state.backlog = None;
            }
            if piece.is_some() {
                return Poll::Ready(piece);
            }
        }
        if state.ended.is_some() { Poll::Ready(None) } else { Poll::Pending }
    }
}
