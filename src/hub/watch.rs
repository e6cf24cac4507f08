//! Word of users that come, go and read, for one who keeps books elsewhere.
//!
//! Invariants: nobody who tells it waits or makes a system call under the hub's lock; what is told is bounded, and what
//! goes over the bound is counted: a user is noted once, and a mark that is lost leaves an event unread where the books
//! are, so that it comes again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::event::ChannelName;

use super::Hub;

/// The most marks that wait to be taken.
const MAX_READ: usize = 65_536;

/// What is told, until it is taken.
#[derive(Debug, Default)]
pub struct Watch {
    seen: Mutex<Seen>,
    notify: Notify,
}

/// What has happened since it was last asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The users' own channels to which a stream was subscribed, or is no more.
    pub changed: HashSet<ChannelName>,
    /// Events that their users have read, with the users' own channels; one may be there twice.
    pub read: Vec<(ChannelName, u64)>,
    /// Marks that there was no room for.
    pub lost: u64,
}

impl Watch {
    /// Waits until something was told, and takes it.
    pub async fn next(&self) -> Seen {
        loop {
            // Made before the look, so that what is told in between is not missed.
            let told = self.notify.notified();
            let seen = std::mem::take(&mut *self.seen());
            if seen != Seen::default() {
                return seen;
            }
            told.await;
        }
    }

    /// Notes streams that have begun or ended.
    pub(super) fn changed<'c>(&self, channels: impl IntoIterator<Item = &'c ChannelName>) {
        let mut own = channels.into_iter().filter(|channel| channel.belongs_to_user()).peekable();
        if own.peek().is_some() {
            self.seen().changed.extend(own.cloned());
            self.notify.notify_one();
        }
    }

    /// Notes an event that was read. It is told with the next [`Watch::wake`].
    pub(super) fn note(&self, own: &ChannelName, seq: u64) {
        let mut seen = self.seen();
        if seen.read.len() < MAX_READ {
            seen.read.push((own.clone(), seq));
        } else {
            seen.lost += 1;
        }
    }

    /// Tells what was noted.
    pub(super) fn wake(&self) {
        if !self.seen().read.is_empty() {
            self.notify.notify_one();
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Begins to tell so many which users come, go and read. To be asked once, before there are streams.
    pub fn watch(&self, count: usize) -> &[Arc<Watch>] {
        self.0.watch.get_or_init(|| (0..count).map(|_| Arc::default()).collect())
    }

    /// Which of some channels have a stream now.
    pub fn with_streams(&self, mut channels: Vec<ChannelName>) -> Vec<ChannelName> {
        let state = self.lock();
        channels.retain(|channel| state.interest.streams(channel) > 0);
        channels
    }

    pub(super) fn tell_watch(&self, tell: impl Fn(&Watch)) {
        for watch in self.0.watch.get().into_iter().flatten() {
            tell(watch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_told_is_taken_once() {
        let watch = Watch::default();
        let [one, all] = [ChannelName::of_user("1").unwrap(), ChannelName::new("all").unwrap()];
        watch.changed([&all]);
        watch.changed([&one, &all]);
        watch.changed([&one]);
        watch.note(&one, 7);
        watch.wake();
        let seen = watch.next().await;
        assert_eq!(seen.changed, HashSet::from([one.clone()]));
        assert_eq!((seen.read, seen.lost), (vec![(one.clone(), 7)], 0));
        for seq in 0..MAX_READ as u64 + 3 {
            watch.note(&one, seq);
        }
        watch.wake();
        let seen = watch.next().await;
        assert_eq!((seen.read.len(), seen.lost), (MAX_READ, 3));
    }
}
