//! Deliveries and kicks: from a worker's inbox to its streams.

use std::rc::Rc;

use tokio::task::yield_now;
use tokio::time::Instant;

use super::marking::Written;
use super::subscriber::Handed;
use super::{End, Streams, Subscriber, unauthorized_event};
use crate::event::{Frame, Timestamp};
use crate::hub::{Delivery, Gap, GapNotice, Kick, Work};

/// So many streams are written to before other tasks of the worker get their turn. At five microseconds a write this
/// is how long a proxied request may wait behind a fan-out: a sixth of a millisecond.
pub(super) const DELIVERIES_A_TURN: usize = 32;

impl Streams {
    /// Delivers what the hub puts into the worker's inbox, for ever. One task a worker, so that order is kept.
    pub async fn deliver(&self) {
        let inbox = self.0.hub.inbox(self.0.worker).clone();
        let mut batch = Vec::new();
        let mut targets = Vec::new();
        let mut written = Written::default();
        let mut turn = 0;
        loop {
            if inbox.take(&mut batch).await {
                turn = 0;
            }
            for work in batch.drain(..) {
                match work {
                    Work::Deliver(delivery) => {
                        self.deliver_one(delivery, &mut targets, &mut written, &mut turn).await;
                    }
                    // Boxed: rare beside deliveries.
                    Work::Kick(kick) => {
                        // What was written before does not come again to a user who comes back.
                        self.mark(&mut written);
                        Box::pin(self.kick(*kick, &mut turn)).await;
                    }
                    Work::Read(notice) => self.tell_read(&notice),
                    Work::Look(look) => self.show(*look),
                    Work::Gap(notice) => {
                        self.mark(&mut written);
                        self.tell_gap(&notice);
                    }
                }
            }
            self.mark(&mut written);
        }
    }

    async fn deliver_one(
        &self,
        delivery: Delivery,
        targets: &mut Vec<Rc<Subscriber>>,
        written: &mut Written,
        turn: &mut usize,
    ) {
        // From here on, who goes live must have read this in history.
        self.0.handed.set(delivery.seq);
        if delivery.frame.expires().is_some() && !delivery.is_of_use(Timestamp::now()) {
            delivery.counted(0);
            return;
        }
        {
            // Copied out: a stream that is ended on the way leaves the table.
            let table = self.0.table.borrow();
            let subscribed = delivery.channels.iter().filter_map(|channel| table.channels.get(channel));
            // Those of a later epoch have nothing to do with this one's.
            let life = self.0.life.get();
            targets.extend(subscribed.flatten().filter(|one| one.life.get() == life).cloned());
        }
        let (mut handed, mut later) = (0, 0);
        for subscriber in targets.drain(..) {
            match subscriber.hand(delivery.seq, &delivery.frame) {
                Handed::Taken => {
                    handed += 1;
                    written.note(&subscriber, &delivery);
                }
                Handed::Later => later += 1,
                Handed::NotTaken => {}
                Handed::Ends(end) => self.end(&subscriber, end),
            }
            *turn += 1;
            if *turn >= DELIVERIES_A_TURN {
                *turn = 0;
                self.mark(written);
                yield_now().await;
            }
        }
        if handed > 0 {
            let now = Instant::now();
            self.0.records.written(delivery.seq, now);
            self.0.counters.delivery.note(now - delivery.since);
            self.0.counters.deliveries.add(handed as u64);
        }
        delivery.counted(handed + later);
    }

    /// Tells streams that something is missing.
    fn tell_gap(&self, notice: &GapNotice) {
        let targets: Vec<_> = match notice.channel {
            None => self.all(),
            Some(channel) => {
                let table = self.0.table.borrow();
                table.channels.get(&channel).into_iter().flatten().cloned().collect()
            }
        };
        if notice.gap == Gap::NewEpoch {
            // The numbers begin anew.
            self.0.handed.set(notice.at.seq);
            self.0.life.set(notice.life);
            self.0.records.begin_anew();
        }
        for subscriber in targets {
            if subscriber.miss(notice) {
                self.0.counters.resets.inc();
            }
        }
    }

    /// Ends the streams of a user. All that are open now are collected at once: those that are opened meanwhile have
    /// been let in after the kick.
    async fn kick(&self, kick: Kick, turn: &mut usize) {
        let targets: Vec<_> = {
            let table = self.0.table.borrow();
            let all = table.streams.iter().map(|(_, entry)| &entry.subscriber);
            all.filter(|subscriber| subscriber.user.as_deref() == Some(&*kick.user)).cloned().collect()
        };
        let last = last_words(&kick);
        let mut ended = 0;
        for subscriber in targets {
            ended += usize::from(self.end_saying(&subscriber, End::Kicked, last.as_ref()));
            *turn += 1;
            if *turn >= DELIVERIES_A_TURN {
                *turn = 0;
                yield_now().await;
            }
        }
        kick.counted(ended);
    }
}

/// What a stream says before it is ended for its user: the app's event, and if the user is blocked, not to come back
/// soon. They go together, so that a reader cannot get one and not the other.
fn last_words(kick: &Kick) -> Option<Frame> {
    let event = kick.event.as_ref().map(|event| event.frame_without_id().text());
    let blocked = kick.blocked.then(|| unauthorized_event().text());
    let text: Vec<u8> = event.into_iter().chain(blocked).flatten().collect();
    (!text.is_empty()).then(|| Frame::new(&text))
}

#[cfg(test)]
mod tests;
