//! Marking as read what has been written, on routes with `read = "delivered"`.
//!
//! Invariant: an event is marked only after the last byte of it, and of all before it, was taken by the socket (or, on
//! HTTP/2, by the connection); what a stream ends with unwritten stays unread. Marks are handed to the hub in batches.

use std::cell::RefCell;
use std::rc::Rc;

use super::subscriber::Handed;
use super::{Streams, Subscriber};
use crate::config::{ReadWhen, StreamRoute};
use crate::event::{ChannelName, Timestamp};
use crate::hub::{ChannelId, Delivery, ReadNotice, Subscription};
use crate::store::Page;

/// What one stream is to mark.
#[derive(Debug)]
pub(super) struct Marking {
    /// The channel of its user, as deliveries name it.
    id: ChannelId,
    /// The same, as the hub knows it.
    own: ChannelName,
    /// Handed to it and not marked yet. No more than its backlog holds, or its replay.
    waiting: RefCell<Vec<u64>>,
}

impl Marking {
    /// What a new stream of the user of `own` is to mark: none if its route does not ask for it.
    pub(super) fn of(
        route: &StreamRoute,
        own: ChannelName,
        channels: &[ChannelName],
        subscription: &Subscription,
    ) -> Option<Box<Self>> {
        if route.replay.unread() != Some(ReadWhen::Delivered) {
            return None;
        }
        let (id, _) = subscription.channels().zip(channels).find(|(_, name)| **name == own)?;
        Some(Box::new(Self { id, own, waiting: RefCell::default() }))
    }
}

impl Marking {
    /// Forgets what waits: it is of a history that is gone.
    pub(super) fn forget(&self) {
        self.waiting.borrow_mut().clear();
    }
}

/// The streams of a batch that have something to mark.
#[derive(Debug, Default)]
pub(super) struct Written(Vec<Rc<Subscriber>>);

impl Written {
    /// Notes a delivery that a stream has taken.
    pub(super) fn note(&mut self, subscriber: &Rc<Subscriber>, delivery: &Delivery) {
        if let Some(marking) = &subscriber.marking
            && delivery.channels.contains(&marking.id)
        {
            marking.waiting.borrow_mut().push(delivery.seq);
            self.0.push(subscriber.clone());
        }
    }
}

impl Streams {
    /// Notes what a stream is given of history, which may be of its user's channel only.
    pub(super) fn note(
        &self,
        subscriber: &Subscriber,
        subscription: &Subscription,
        page: &Page,
        is_own: bool,
    ) {
        let Some(marking) = &subscriber.marking else { return };
        let mut waiting = marking.waiting.borrow_mut();
        if is_own {
            waiting.extend(page.records.iter().map(|record| record.seq));
        } else {
            waiting.extend(subscription.carried(&marking.own, page));
        }
    }

    /// Marks what was written of a batch. The streams that are behind do it themselves, later.
    pub(super) fn mark(&self, written: &mut Written) {
        if written.0.is_empty() {
            return;
        }
        let taken: Vec<_> = written.0.drain(..).filter_map(|subscriber| take_written(&subscriber)).collect();
        self.mark_all(&taken);
    }

    /// Marks what a stream was behind with, once it has written all of it.
    pub(super) fn mark_written(&self, subscriber: &Subscriber) {
        self.mark_all(take_written(subscriber).as_slice());
    }

    fn mark_all(&self, taken: &[(ChannelName, Vec<u64>)]) {
        if !taken.is_empty() {
            let all = taken.iter().flat_map(|(own, seqs)| seqs.iter().map(move |seq| (own, *seq)));
            self.0.hub.mark_delivered(all, Timestamp::now());
        }
    }

    /// Tells the streams of a user what was read, on the routes that show what is not.
    pub(super) fn tell_read(&self, notice: &ReadNotice) {
        let targets: Vec<_> = {
            let table = self.0.table.borrow();
            let of_channel = table.channels.get(&notice.channel).into_iter().flatten();
            of_channel.filter(|one| one.settings.route.replay.unread().is_some()).cloned().collect()
        };
        for subscriber in targets {
            if let Handed::Ends(end) = subscriber.say(&notice.frame) {
                self.end(&subscriber, end);
            }
        }
    }
}

/// What a stream has to mark, and the channel of its user, if all of it is written.
fn take_written(subscriber: &Subscriber) -> Option<(ChannelName, Vec<u64>)> {
    let marking = subscriber.marking.as_ref()?;
    if marking.waiting.borrow().is_empty() || !subscriber.is_written() {
        return None;
    }
    Some((marking.own.clone(), marking.waiting.take()))
}
