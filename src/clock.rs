//! The time as one poll of a task sees it.
//!
//! What a task does when it is woken takes microseconds, and on the way of a request the time is wanted again and again. So it
//! is read once a poll, by who wants it first. Invariants: a time is never older than the poll that it is asked in; who is
//! not within such a poll, or wants to know how long something took within it, reads the clock.

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    static SEEN: Cell<Seen> = const { Cell::new(Seen::Outside) };
}

#[derive(Clone, Copy)]
enum Seen {
    /// Whoever asks reads the clock.
    Outside,
    /// Nobody has asked yet.
    Nothing,
    Time(Instant),
}

/// Polls a task: within it, all that ask for the time are told the same.
pub fn seen_once<T>(poll: impl FnOnce() -> T) -> T {
    let _before = Before(SEEN.replace(Seen::Nothing));
    poll()
}

/// The time.
pub fn now() -> Instant {
    match SEEN.get() {
        Seen::Time(at) => at,
        Seen::Outside => Instant::now(),
        Seen::Nothing => {
            let at = Instant::now();
            SEEN.set(Seen::Time(at));
            at
        }
    }
}

/// What was there before a poll, and is again after it, be it by a panic.
struct Before(Seen);

impl Drop for Before {
    fn drop(&mut self) {
        SEEN.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time, once it is another than this.
    fn after(at: Instant) -> Instant {
        std::iter::repeat_with(now).find(|now| *now > at).unwrap()
    }

    #[test]
    fn the_clock_is_read_once_a_poll_and_always_elsewhere() {
        let begun = Instant::now();
        let before = after(begun);
        let first = seen_once(|| {
            let first = now();
            assert!(first > before);
            while Instant::now() == first {}
            assert_eq!(now(), first);
            // One that is polled by another.
            assert!(seen_once(now) > first);
            assert_eq!(now(), first);
            first
        });
        assert!(seen_once(now) > first, "the next poll has a time of its own");
        let _ = std::panic::catch_unwind(|| seen_once(|| panic!("on purpose, at {:?}", now())));
        after(now());
    }
}
