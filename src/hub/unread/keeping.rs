//! Marks where the store is on disk: the committer writes them, with what is published.
//!
//! Invariants: what somebody says is read is kept before it is answered and told, as safely as an event; what was
//! written to a stream counts at once and is kept with the next batch, so that a crash in between makes it unread again,
//! and nothing else can.

use std::collections::HashMap;

use smallvec::SmallVec;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::event::{ChannelName, EventId, Timestamp};
use crate::store::{DiskError, Mark, SyncMode};

use super::{MarkError, Read, Walked};
use crate::hub::{Committer, Hub, NotKept, State};

/// How many wishes may wait to be kept.
const MAX_WANTED: usize = 4096;

/// A mark that has so many events apart is settled when it is kept: reading where it can be moved to costs more than
/// they do.
const SETTLED_FROM: usize = 32;

/// A wish to mark something, which waits for the committer.
#[derive(Debug)]
pub(in crate::hub) struct Wanted {
    own: ChannelName,
    read: Read,
    unread: Walked,
    now: Timestamp,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<usize, NotKept>>;

/// Marks that were written, and what came of the wishes among them.
#[derive(Debug, Default)]
pub(in crate::hub) struct Marked {
    marks: HashMap<ChannelName, Option<Mark>>,
    wishes: Vec<Granted>,
}

#[derive(Debug)]
struct Granted {
    own: ChannelName,
    read: Read,
    newly: Vec<u64>,
    left: usize,
    answer: Answer,
}

impl Marked {
    /// Whether nothing was written.
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Whether somebody waits for it to be safe.
    pub(in crate::hub) fn is_awaited(&self) -> bool {
        self.wishes.iter().any(|wish| !wish.newly.is_empty())
    }
}

impl Hub {
    /// Leaves a wish to the committer.
    pub(super) fn want(
        &self,
        state: &mut State,
        own: ChannelName,
        read: Read,
        unread: Walked,
        now: Timestamp,
    ) -> Result<oneshot::Receiver<Result<usize, NotKept>>, MarkError> {
        if state.queue.wanted.len() >= MAX_WANTED {
            return Err(MarkError::Overloaded);
        }
        if !state.queue.is_well(Instant::now()) {
            return Err(MarkError::NotKept);
        }
        let (answer, answered) = oneshot::channel();
        state.queue.wanted.push(Wanted { own, read, unread, now, answer });
        self.0.more.notify_one();
        Ok(answered)
    }

    /// Makes it so for everybody that marks were kept: to be called in order with what is handed out.
    pub(in crate::hub) fn show_marked(&self, marked: Marked) {
        let mut wake = SmallVec::new();
        {
            let state = &mut *self.lock();
            for (own, mark) in &marked.marks {
                // Meanwhile more may have been marked; that is noted, and comes next.
                if let Some(mark) = mark {
                    state.marks.absorb(own, mark);
                }
            }
            for wish in marked.wishes {
                let Granted { own, read, newly, left, answer } = wish;
                self.tell_read(state, &own, (&newly, &read, left), &mut wake);
                // Nobody may wait any more.
                let _ = answer.send(Ok(left));
            }
        }
        self.wake(&wake);
    }
}

impl Committer {
    /// Writes the marks that have changed or are wished for. They are not safe from a power cut yet, and nobody but who
    /// made them knows of them.
    pub(in crate::hub) fn keep_marks(&mut self) -> Marked {
        let (wanted, mut changed, head) = {
            let state = &mut *self.hub.lock();
            (std::mem::take(&mut state.queue.wanted), state.marks.take_changed(), state.head)
        };
        changed.extend(self.unwritten.drain());
        let mut marked = Marked::default();
        if self.is_down() {
            // Each round would fail anew. Whoever wishes for something learns that it is not kept.
            self.unwritten = changed;
            return marked;
        }
        if wanted.is_empty() && changed.is_empty() {
            return marked;
        }
        let wanted = wanted.into_iter().filter_map(|wanted| read(self.look_on(wanted, head)));
        let wanted: Vec<_> = wanted.collect();
        {
            let state = self.hub.lock();
            for own in changed {
                let mark = state.marks.of(&own).cloned();
                marked.marks.insert(own, mark);
            }
            for wanted in wanted {
                self.grant(&state, wanted, &mut marked);
            }
        }
        for (own, mark) in &mut marked.marks {
            if let Some(mark) = mark.as_mut().filter(|mark| mark.apart() >= SETTLED_FROM) {
                read(self.writer.settle(own, mark));
            }
        }
        let marks = marked.marks.iter().map(|(own, mark)| (own, mark.as_ref()));
        if marked.is_empty() {
            return marked;
        }
        let written = self.writer.write_marks(marks);
        if self.told(written).is_some() {
            return marked;
        }
        self.doubt(marked);
        Marked::default()
    }

    /// Shows marks that were written without a batch, when they are as safe as somebody waits for.
    pub(in crate::hub) fn confirm(&mut self, marked: Marked) {
        if marked.is_awaited() && self.sync == SyncMode::Always {
            let synced = self.writer.sync();
            if self.told(synced).is_none() {
                return self.doubt(marked);
            }
        }
        self.hub.show_marked(marked);
    }

    /// Takes note that marks may be on the disk, or not, though nobody is shown them: what holds is written over them.
    pub(in crate::hub) fn doubt(&mut self, marked: Marked) {
        self.unwritten.extend(marked.marks.into_keys());
    }

    /// Looks for what was published since the one who wishes has looked. Nothing more comes until the next batch.
    fn look_on(&self, mut wanted: Wanted, head: u64) -> Result<Wanted, DiskError> {
        let Wanted { own, unread, now, .. } = &mut wanted;
        let epoch = self.hub.epoch();
        while unread.upto < head {
            let after = EventId { epoch, seq: unread.upto };
            let page = self.hub.unread_page(own, after, head, *now)?;
            unread.seqs.extend(page.records.iter().map(|record| record.seq));
            unread.upto = page.read;
        }
        Ok(wanted)
    }

    fn grant(&self, state: &State, wanted: Wanted, marked: &mut Marked) {
        let Wanted { own, read, unread, now, answer } = wanted;
        let before = marked.marks.get(&own).map_or_else(|| state.marks.of(&own), Option::as_ref);
        let (newly, left) = state.of_those(before, &unread.seqs, &read);
        if !newly.is_empty() {
            let mut mark = before.cloned().unwrap_or_default();
            mark.touch(now);
            newly.iter().for_each(|seq| mark.add(*seq));
            marked.marks.insert(own.clone(), Some(mark));
        }
        marked.wishes.push(Granted { own, read, newly, left, answer });
    }
}

/// Tells the operator what cannot be read.
fn read<T>(result: Result<T, DiskError>) -> Option<T> {
    result.inspect_err(|error| tracing::error!(%error, "history cannot be read")).ok()
}
