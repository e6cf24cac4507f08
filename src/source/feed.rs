//! From what was read to the hub: mapped, tried again while there is no room, counted.
//!
//! Invariant: what the hub refuses for now is handed in again until it is taken, in its order; what can never be taken
//! is counted, and said at most once a second without what is in it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::RedisError;
use tokio::time::sleep;

use crate::event::{Epoch, EventId, Timestamp};
use crate::hub::Publication;
use crate::limits::Quiet;
use crate::metrics::Counters;
use crate::publish::{Intake, NotTaken, Refusal};

use super::link::jittered;

/// How long the hub is left alone after it refused, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long the keys of what a source publishes are remembered at least: longer than it takes until another node takes
/// over what one has left undone.
const REMEMBERED: Duration = Duration::from_secs(300);

/// The way of one source into the hub.
#[derive(Debug)]
pub(super) struct Feed {
    intake: Intake,
    counters: Arc<Counters>,
    source: Rc<str>,
    wrong: Quiet,
    refused: Quiet,
    unreadable: Quiet,
}

impl Feed {
    pub(super) fn new(intake: Intake, counters: Arc<Counters>, source: Rc<str>) -> Self {
        Self {
            intake,
            counters,
            source,
            wrong: Quiet::new(),
            refused: Quiet::new(),
            unreadable: Quiet::new(),
        }
    }

    /// The epoch of the events.
    pub(super) fn epoch(&self) -> Epoch {
        self.intake.epoch()
    }

    /// Makes a publication of what was read; none if that is wrong.
    pub(super) fn read(&self, json: &[u8], user: Option<&str>) -> Option<Publication> {
        self.intake.read(json, user).map_err(|refusal| self.reject(&refusal)).ok()
    }

    /// Publishes, and tries again what is refused for now. What has no key is not tried again if it may have been kept.
    pub(super) async fn publish(&self, publications: Vec<Publication>) -> Vec<Option<EventId>> {
        let mut taken = vec![None; publications.len()];
        let mut left: Vec<usize> = (0..publications.len()).collect();
        let mut pause = PAUSES.0;
        loop {
            let now = Timestamp::now();
            let tried = left.iter().map(|place| publications[*place].clone());
            let results = self.intake.hand_in(tried, now, now.after(REMEMBERED)).await;
            let mut again = Vec::new();
            let mut reason = None;
            for (place, result) in left.into_iter().zip(results) {
                match result {
                    Ok(id) => {
                        self.counters.source_events.inc();
                        taken[place] = Some(id);
                    }
                    Err(NotTaken::Never(refusal)) => self.reject(&refusal),
                    Err(NotTaken::Unknown(refusal)) if publications[place].key.is_none() => {
                        self.reject(&refusal);
                    }
                    Err(NotTaken::Later(refusal) | NotTaken::Unknown(refusal)) => {
                        reason.get_or_insert(refusal);
                        again.push(place);
                    }
                }
            }
            let Some(refusal) = reason else { return taken };
            if let Some(times) = self.refused.happened(Instant::now()) {
                let why = refusal.message();
                tracing::warn!(source = %self.source, times, why, "what a source has read waits for the store");
            }
            left = again;
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Says that something in Redis cannot be read or written, and is left alone.
    pub(super) fn unreadable(&self, key: &str, error: &RedisError) {
        if let Some(times) = self.unreadable.happened(Instant::now()) {
            tracing::warn!(source = %self.source, times, key, %error, "something of a source cannot be used");
        }
    }

    /// Counts what there was no room for.
    pub(super) fn dropped(&self, count: u64) {
        self.counters.source_dropped.add(count);
        tracing::warn!(
            source = %self.source, count,
            "a source was told more than it could publish; what is over its bound is lost"
        );
    }

    fn reject(&self, refusal: &Refusal) {
        self.counters.source_rejected.inc();
        if let Some(times) = self.wrong.happened(Instant::now()) {
            let (field, why) = (refusal.field().unwrap_or_default(), refusal.message());
            tracing::warn!(
                source = %self.source, times, field, why,
                "what a source has read is no publication by its map, and is passed over"
            );
        }
    }
}
