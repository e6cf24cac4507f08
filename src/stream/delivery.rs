//! Deliveries: from a worker's inbox to its streams.

use std::rc::Rc;

use tokio::task::yield_now;

use super::subscriber::Handed;
use super::{Streams, Subscriber};
use crate::hub::Delivery;

/// So many streams are written to before other tasks of the worker get their turn. At five microseconds a write this
/// is how long a proxied request may wait behind a fan-out: a sixth of a millisecond.
pub(super) const DELIVERIES_A_TURN: usize = 32;

impl Streams {
    /// Delivers what the hub puts into the worker's inbox, for ever. One task a worker, so that order is kept.
    pub async fn deliver(&self) {
        let inbox = self.0.hub.inbox(self.0.worker).clone();
        let mut batch = Vec::new();
        let mut targets = Vec::new();
        let mut turn = 0;
        loop {
            inbox.take(&mut batch).await;
            for delivery in batch.drain(..) {
                self.deliver_one(delivery, &mut targets, &mut turn).await;
            }
        }
    }

    async fn deliver_one(&self, delivery: Delivery, targets: &mut Vec<Rc<Subscriber>>, turn: &mut usize) {
        {
            // Copied out: a stream that is ended on the way leaves the table.
            let table = self.0.table.borrow();
            let subscribed = delivery.channels.iter().filter_map(|channel| table.channels.get(channel));
            targets.extend(subscribed.flatten().cloned());
        }
        let mut handed = 0;
        for subscriber in targets.drain(..) {
            match subscriber.hand(delivery.seq, &delivery.frame) {
                Handed::Taken => handed += 1,
                Handed::NotTaken => {}
                Handed::Ends(end) => self.end(&subscriber, end),
            }
            *turn += 1;
            if *turn >= DELIVERIES_A_TURN {
                *turn = 0;
                yield_now().await;
            }
        }
        self.0.counters.deliveries.add(handed as u64);
        delivery.counted(handed);
    }
}
