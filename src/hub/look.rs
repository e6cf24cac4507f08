//! A look at a user's streams: those that are open, and those that have ended as far as they are remembered.
//!
//! Invariant: the question stands in each worker's inbox behind what was handed out before it, so what is said of a stream
//! holds for all events up to the head of that moment. A worker that does not answer is not waited for without end.

use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::event::{ChannelName, Epoch, EventId, Timestamp};

use super::inbox::Work;
use super::{Hub, INBOX_LIMIT};

/// How long the workers have to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most streams that one worker tells of.
pub const MAX_SEEN: usize = 256;

/// A question to one worker.
#[derive(Debug)]
pub struct Look {
    /// Whose streams.
    pub user: Box<str>,
    /// Of which event it is to be said when it was written.
    pub id: EventId,
    worker: usize,
    answers: mpsc::UnboundedSender<(usize, Answer)>,
}

/// What one worker answers.
#[derive(Debug)]
pub struct Answer {
    /// The user's streams, the newest first, no more than [`MAX_SEEN`].
    pub streams: Vec<StreamRecord>,
    /// How many more there were.
    pub left_out: usize,
    /// All of its streams that have ended since are remembered.
    pub since: Timestamp,
    /// Whether some that ended before are not; else it began then.
    pub has_forgotten: bool,
    /// When it had written the event to all streams that were live then, if that is remembered.
    pub written: Option<Timestamp>,
}

/// With what a stream began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Began {
    /// With what came next.
    Now,
    /// With what its client had missed, by the id that it brought.
    Resumed,
    /// With what its user had not read.
    Unread,
}

/// A stream, as much of it as tells what it was given.
#[derive(Debug, Clone)]
pub struct StreamRecord {
    /// Its number on its worker.
    pub serial: u32,
    /// Its route.
    pub route: Box<str>,
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/1.1, TLS` or `HTTP/2`.
    pub protocol: &'static str,
    /// Its channels.
    pub channels: SmallVec<[ChannelName; 2]>,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it ended, and why.
    pub ended: Option<(Timestamp, &'static str)>,
    /// The epoch that its numbers are of.
    pub epoch: Epoch,
    /// With what it began.
    pub began: Began,
    /// From which event on, that one not included, it was given all of its channels.
    pub first: u64,
    /// The head when it was registered: what is newer came to it live.
    pub head: u64,
    /// Whether it had more of history to read than it was given at once.
    pub was_behind: bool,
    /// The last event handed to it.
    pub cursor: u64,
    /// What was handed out on its worker up to now, or to its end.
    pub handed: u64,
    /// What it was told was missing, each from behind the first up to and with the second.
    pub gaps: SmallVec<[(u64, u64); 1]>,
    /// Events whose `ttl` was over while they waited for it.
    pub outlived: SmallVec<[u64; 1]>,
    /// Of such up to and with this one it is not known any more which they were.
    pub outlived_before: u64,
    /// Whether it was still reading history.
    pub is_reading: bool,
    /// The oldest event handed to it that has not left as a whole.
    pub unwritten: Option<u64>,
    /// How many events it was handed.
    pub events: u64,
    /// How many bytes wait for its client.
    pub waiting: usize,
}

impl Look {
    /// Answers. One that is dropped without is a worker that does not answer.
    pub fn answer(self, answer: Answer) {
        // Nobody may wait any more.
        let _ = self.answers.send((self.worker, answer));
    }
}

impl Hub {
    /// Asks all workers for the streams of a user, and when they wrote an event. Gives the answers by worker: none of one that
    /// did not answer in time.
    pub async fn look(&self, user: &str, id: EventId) -> Vec<Option<Answer>> {
        let (answers, mut answered) = mpsc::unbounded_channel();
        let until = Instant::now() + PATIENCE;
        let asked: SmallVec<[usize; 8]> = {
            // Under the lock, which makes the order.
            let _order = self.lock();
            let inboxes = self.0.inboxes.iter().enumerate();
            let ready = inboxes.filter(|(_, inbox)| inbox.len() < INBOX_LIMIT);
            ready
                .map(|(worker, inbox)| {
                    let look = Look { user: user.into(), id, worker, answers: answers.clone() };
                    inbox.push(Work::Look(Box::new(look)));
                    worker
                })
                .collect()
        };
        drop(answers);
        self.wake(&asked);
        let mut seen: Vec<_> = self.0.inboxes.iter().map(|_| None).collect();
        while let Ok(Some((worker, answer))) = timeout_at(until, answered.recv()).await {
            seen[worker] = Some(answer);
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Limits, Memory};

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_does_not_answer_is_told_from_one_that_has_nothing() {
        let limits = Limits { age: Duration::MAX, events: 9, bytes: 999, max_bytes: 999, max_channels: 9 };
        let hub = Hub::new(3, Memory::new(limits), Epoch::from_bits(1));
        let id = EventId { epoch: hub.epoch(), seq: 1 };
        let working = {
            let hub = hub.clone();
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for worker in 0..3 {
                    let mut batch = Vec::new();
                    hub.inbox(worker).take(&mut batch).await;
                    let Some(Work::Look(look)) = batch.pop() else { panic!("{batch:?}") };
                    assert_eq!((&*look.user, look.id), ("42", id));
                    let nothing = Answer {
                        streams: Vec::new(),
                        left_out: 0,
                        since: Timestamp(7),
                        has_forgotten: false,
                        written: None,
                    };
                    match worker {
                        0 => look.answer(nothing),
                        1 => drop(look),
                        _ => kept.push(look),
                    }
                }
                std::future::pending::<()>().await;
            })
        };
        let seen = hub.look("42", id).await;
        let since: Vec<_> = seen.iter().map(|seen| seen.as_ref().map(|answer| answer.since)).collect();
        assert_eq!(since, [Some(Timestamp(7)), None, None]);
        working.abort();
    }
}
