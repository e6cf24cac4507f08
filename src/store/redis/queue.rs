//! A queue that is bounded by the bytes of what waits in it, between a connection, its session and the hub.
//!
//! Invariants: what something weighs is free again when it has been taken out; and what waits weighs no more than the
//! bound, but for one thing that is heavier than that by itself.

use std::sync::Arc;

use tokio::sync::{Semaphore, TryAcquireError, mpsc};

/// Where things are put.
pub(super) struct Sender<T> {
    queue: mpsc::UnboundedSender<(u32, T)>,
    room: Arc<Semaphore>,
    bound: u32,
    weigh: fn(&T) -> usize,
}

/// Where they are taken out, in the same order.
pub struct Receiver<T> {
    queue: mpsc::UnboundedReceiver<(u32, T)>,
    room: Arc<Semaphore>,
}

/// Why something was not put there.
#[derive(Debug)]
pub(super) enum NotSent<T> {
    /// There is no room for it now.
    Full(T),
    /// Nobody takes anything out any more, or the queue was ended.
    Closed,
}

/// A queue for as much as weighs `bound` bytes.
pub(super) fn bounded<T>(bound: u32, weigh: fn(&T) -> usize) -> (Sender<T>, Receiver<T>) {
    let room = Arc::new(Semaphore::new(bound as usize));
    let (sender, receiver) = mpsc::unbounded_channel();
    (Sender { queue: sender, room: room.clone(), bound, weigh }, Receiver { queue: receiver, room })
}

impl<T> Sender<T> {
    /// Puts something there if there is room.
    pub(super) fn try_send(&self, thing: T) -> Result<(), NotSent<T>> {
        let weight = self.weight(&thing);
        match self.room.try_acquire_many(weight) {
            Ok(room) => room.forget(),
            Err(TryAcquireError::NoPermits) => return Err(NotSent::Full(thing)),
            Err(TryAcquireError::Closed) => return Err(NotSent::Closed),
        }
        self.queue.send((weight, thing)).map_err(|_| NotSent::Closed)
    }

    /// Puts something there when there is room. Says whether somebody will take it out.
    pub(super) async fn send(&self, thing: T) -> bool {
        let weight = self.weight(&thing);
        let Ok(room) = self.room.acquire_many(weight).await else { return false };
        room.forget();
        self.queue.send((weight, thing)).is_ok()
    }

    /// Puts something there, or ends the queue behind what is there already, so that nothing is passed over in silence.
    pub(super) fn send_or_end(&self, thing: T) -> Result<(), NotSent<T>> {
        self.try_send(thing).inspect_err(|_| self.room.close())
    }

    fn weight(&self, thing: &T) -> u32 {
        u32::try_from((self.weigh)(thing)).unwrap_or(u32::MAX).clamp(1, self.bound)
    }
}

impl<T> Receiver<T> {
    /// Waits for the next; none behind the last.
    pub async fn recv(&mut self) -> Option<T> {
        // What was put there before it was ended comes first.
        match self.try_recv() {
            Some(thing) => Some(thing),
            None if self.has_ended() => None,
            None => {
                let taken = self.queue.recv().await;
                self.take(taken)
            }
        }
    }

    /// Waits for the next, and takes as many as are there, up to `most`. Says how many.
    pub async fn recv_many(&mut self, things: &mut Vec<T>, most: usize) -> usize {
        let before = things.len();
        things.extend(self.recv().await);
        while (1..most).contains(&(things.len() - before))
            && let Some(thing) = self.try_recv()
        {
            things.push(thing);
        }
        things.len() - before
    }

    /// The next, if it is there.
    pub(super) fn try_recv(&mut self) -> Option<T> {
        let taken = self.queue.try_recv().ok();
        self.take(taken)
    }

    /// Whether it was ended since there was no room.
    pub(super) fn has_ended(&self) -> bool {
        self.room.is_closed()
    }

    fn take(&self, taken: Option<(u32, T)>) -> Option<T> {
        let (weight, thing) = taken?;
        self.room.add_permits(weight as usize);
        Some(thing)
    }
}

impl<T> Drop for Receiver<T> {
    /// Whoever waits for room waits in vain.
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> (Sender<&'static str>, Receiver<&'static str>) {
        bounded(10, |word| word.len())
    }

    #[tokio::test]
    async fn what_waits_weighs_no_more_than_the_bound() {
        let (sender, mut receiver) = words();
        assert!(sender.try_send("seven..").is_ok());
        assert!(matches!(sender.try_send("four"), Err(NotSent::Full("four"))));
        assert!(sender.try_send("two").is_ok());
        let mut taken = Vec::new();
        assert_eq!(receiver.recv_many(&mut taken, 1).await, 1);
        assert!(sender.try_send("four").is_ok());
        assert_eq!(receiver.recv_many(&mut taken, 10).await, 2);
        assert_eq!(taken, ["seven..", "two", "four"]);
        // One that is too heavy by itself goes alone.
        assert!(sender.try_send("heavier than the bound").is_ok());
        assert!(matches!(sender.try_send("x"), Err(NotSent::Full("x"))));
        assert_eq!(receiver.recv().await, Some("heavier than the bound"));
        assert!(sender.try_send("x").is_ok());
    }

    #[tokio::test]
    async fn one_who_waits_for_room_goes_on_when_there_is_some_or_never_will_be() {
        let (sender, mut receiver) = words();
        assert!(sender.try_send("ten letter").is_ok());
        let (sent, taken) = tokio::join!(sender.send("more"), receiver.recv());
        assert!(sent);
        assert_eq!(taken, Some("ten letter"));
        let (sent, ()) = tokio::join!(sender.send("ten letter"), async { drop(receiver) });
        assert!(!sent);
        assert!(matches!(sender.try_send("x"), Err(NotSent::Closed)));
    }

    #[tokio::test]
    async fn a_queue_that_is_full_may_end_behind_what_is_in_it() {
        let (sender, mut receiver) = words();
        assert!(sender.send_or_end("eight...").is_ok());
        assert!(sender.send_or_end("three").is_err());
        // There would be room for it, but something before it was passed over.
        assert!(sender.send_or_end("1").is_err());
        assert_eq!(receiver.recv().await, Some("eight..."));
        assert_eq!(receiver.recv().await, None);
        assert!(receiver.has_ended());
    }

    #[tokio::test]
    async fn it_ends_with_those_who_put_things_there() {
        let (sender, mut receiver) = words();
        assert!(sender.try_send("one").is_ok());
        drop(sender);
        assert_eq!(receiver.recv().await, Some("one"));
        assert_eq!(receiver.recv().await, None);
        assert!(!receiver.has_ended());
    }
}
