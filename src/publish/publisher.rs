//! The publisher's way in: JSON to the hub and the receipt back. Every door ends here.
//!
//! Invariant: what is refused has published nothing, and what is acknowledged has its true count.

use std::sync::Arc;

use bytes::Bytes;

use crate::event::Timestamp;
use crate::hub::{Hub, Publication, PublishError, Receipt};
use crate::metrics::{Counters, Totals};
use crate::publish::publication::{self, Limits};
use crate::publish::refusal::{Refusal, RefusalKind};
use crate::publish::{Bounds, reply};

/// The handle. Cloning it is cheap; workers and the control thread each have one.
#[derive(Debug, Clone)]
pub struct Publisher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hub: Hub,
    bounds: Bounds,
    limits: Limits,
    counters: Arc<[Arc<Counters>]>,
}

impl Publisher {
    /// A way into the hub. The counters are those of all workers, told by `GET /healthz`.
    pub fn new(hub: Hub, bounds: Bounds, counters: Arc<[Arc<Counters>]>) -> Self {
        let limits = Limits { max_event: bounds.max_event };
        Self(Arc::new(Shared { hub, bounds, limits, counters }))
    }

    /// Publishes one JSON object.
    ///
    /// # Errors
    /// What is wrong with it, `KeyReused`, or `Unavailable`; then nothing was published.
    pub fn publish_one(&self, json: &[u8], now: Timestamp) -> Result<Receipt, Refusal> {
        let publication = publication::parse(json, &self.0.limits)?;
        self.0.hub.publish(publication, now).map_err(|error| refused(error, false))
    }

    /// Reads the body of a request: an array is a batch, all else is one publication.
    pub(super) fn read(&self, json: &[u8]) -> Result<Posted, Refusal> {
        if is_array(json) {
            publication::parse_batch(json, &self.0.limits, self.0.bounds.max_batch).map(Posted::Batch)
        } else {
            publication::parse(json, &self.0.limits).map(|one| Posted::One(Box::new(one)))
        }
    }

    /// Publishes what was read, all or nothing, and writes the answer: a receipt or an array of them.
    pub(super) async fn answer(&self, posted: Posted, now: Timestamp) -> Result<Bytes, Refusal> {
        let mut text = Vec::new();
        match posted {
            Posted::One(publication) => {
                let receipt = self.0.hub.publish(*publication, now).map_err(|error| refused(error, false))?;
                reply::put_receipt(&mut text, receipt.id, receipt.delivered.count().await);
            }
            Posted::Batch(batch) => {
                let receipts = self.0.hub.publish_all(batch, now).map_err(|error| refused(error, true))?;
                text.push(b'[');
                for (index, receipt) in receipts.iter().enumerate() {
                    if index > 0 {
                        text.push(b',');
                    }
                    reply::put_receipt(&mut text, receipt.id, receipt.delivered.count().await);
                }
                text.push(b']');
            }
        }
        Ok(text.into())
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.0.bounds
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    pub(super) fn totals(&self) -> Totals {
        Totals::of(&self.0.counters)
    }
}

/// What a request's body turned out to be.
#[derive(Debug)]
pub(super) enum Posted {
    One(Box<Publication>),
    Batch(Vec<Publication>),
}

/// Whether JSON text begins an array.
pub(super) fn is_array(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'[')
}

fn refused(error: PublishError, batch: bool) -> Refusal {
    let (message, index) = match error {
        PublishError::Overloaded => {
            return Refusal::new(
                RefusalKind::Unavailable,
                "a worker is too far behind to take more events; nothing was published, try again in a second",
            );
        }
        PublishError::KeyReused { index } => {
            ("was used for another publication in the last 5 minutes; a new one needs a new key", index)
        }
        PublishError::KeyTwiceInBatch { index } => {
            ("stands twice in this batch; each publication needs its own key", index)
        }
    };
    let refusal = Refusal::of_field(RefusalKind::KeyReused, "key", message);
    if batch { refusal.in_element(index) } else { refusal }
}
