//! Marking as read what has been written, on routes with `read = "delivered"`.
//!
//! Invariant: an event is marked only after the last byte of it, and of all before it, was taken by the socket (or, on
//! HTTP/2, by the connection); what a stream ends with unwritten stays unread. Marks are handed to the hub in batches.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::subscriber::Handed;
use super::{Streams, Subscriber};
use crate::config::{ReadWhen, StreamRoute};
use crate::event::{ChannelName, Timestamp};
use crate::hub::{ChannelId, Delivery, ReadNotice, Subscription};
use crate::store::Record;

/// What one stream is to mark.
#[derive(Debug)]
pub(super) struct Marking {
    /// The channel of its user.
    own: ChannelId,
    /// Handed to it and not marked yet. No more than its backlog holds, or its replay.
    waiting: RefCell<Vec<u64>>,
}

impl Marking {
    /// What a new stream is to mark: none if its route does not ask for it, or it does not have its user's channel.
    pub(super) fn of(
        route: &StreamRoute,
        user: Option<&str>,
        channels: &[ChannelName],
        subscription: &Subscription,
        replay: &[Arc<Record>],
    ) -> Option<Box<Self>> {
        if route.replay.unread() != Some(ReadWhen::Delivered) {
            return None;
        }
        let own = ChannelName::of_user(user?).ok()?;
        let (own, _) = subscription.channels().zip(channels).find(|(_, name)| **name == own)?;
        // The hub knows which of them are of the user's channel.
        let waiting = RefCell::new(replay.iter().map(|record| record.seq).collect());
        Some(Box::new(Self { own, waiting }))
    }
}

/// The streams of a batch that have something to mark.
#[derive(Debug, Default)]
pub(super) struct Written(Vec<Rc<Subscriber>>);

impl Written {
    /// Notes a delivery that a stream has taken.
    pub(super) fn note(&mut self, subscriber: &Rc<Subscriber>, delivery: &Delivery) {
        if let Some(marking) = &subscriber.marking
            && delivery.channels.contains(&marking.own)
        {
            marking.waiting.borrow_mut().push(delivery.seq);
            self.0.push(subscriber.clone());
        }
    }
}

impl Streams {
    /// Marks what was written of a batch. The streams that are behind do it themselves, later.
    pub(super) fn mark(&self, written: &mut Written) {
        if written.0.is_empty() {
            return;
        }
        let taken: Vec<_> = written
            .0
            .drain(..)
            .filter_map(|subscriber| {
                let waiting = take_written(&subscriber)?;
                Some((subscriber, waiting))
            })
            .collect();
        let all = taken.iter().flat_map(|(subscriber, waiting)| {
            let user = subscriber.user.as_deref().unwrap_or_default();
            waiting.iter().map(move |seq| (user, *seq))
        });
        if !taken.is_empty() {
            self.0.hub.mark_delivered(all, Timestamp::now());
        }
    }

    /// Marks what a stream was behind with, once it has written all of it.
    pub(super) fn mark_written(&self, subscriber: &Subscriber) {
        if let (Some(waiting), Some(user)) = (take_written(subscriber), subscriber.user.as_deref()) {
            self.0.hub.mark_delivered(waiting.iter().map(|seq| (user, *seq)), Timestamp::now());
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

/// What a stream has to mark, if all of it is written.
fn take_written(subscriber: &Subscriber) -> Option<Vec<u64>> {
    let marking = subscriber.marking.as_ref()?;
    if marking.waiting.borrow().is_empty() || !subscriber.is_written() {
        return None;
    }
    Some(marking.waiting.take())
}
