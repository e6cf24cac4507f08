//! Bytes that wait for a slow reader.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::catch_up::History;
use crate::event::{self, Timestamp};
use crate::metrics::Counters;

/// How many pieces are handed to the socket in one call. Linux takes 1024; more than a few dozen gain nothing.
pub(super) const SLICES: usize = 32;

/// What a piece that waits counts for beside its bytes, which it shares with other streams: its place here is the
/// stream's own. So many small events are bounded as well as few large ones.
const PIECE: usize = size_of::<Bytes>();

/// What waits, oldest first. Replayed history does not count against the reader: it asked for it, and its bytes are
/// shared with the store.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Pieces whose event has expired are empty.
    waiting: VecDeque<Bytes>,
    bytes: usize,
    /// How many of the bytes, from the front, are replay.
    replay: usize,
    /// How many pieces those are.
    replayed: usize,
    /// Those that are of use for a while only.
    expiring: Vec<Expiring>,
    /// How many pieces have left, and whether a part of the first has left too: half an event is never taken back.
    left: usize,
    is_begun: bool,
    /// The event of a first piece of which a part has left.
    begun: Option<u64>,
    /// What is to be read of history once all this is written; none for a stream that is live.
    pub(super) history: Option<History>,
    /// Where it is counted; none in tests.
    counters: Option<Arc<Counters>>,
}

/// A piece that is of use for a while only.
#[derive(Debug)]
struct Expiring {
    /// How many pieces had been pushed before it.
    place: usize,
    at: Timestamp,
    is_replay: bool,
}

impl Backlog {
    /// Counts it there from now on, with what it holds.
    pub(super) fn count_at(&mut self, counters: Arc<Counters>) {
        counters.streams_behind.inc();
        counters.backlog_bytes.add(self.bytes as u64);
        self.counters = Some(counters);
    }

    /// Adds what a resuming reader asked for. Only before anything live that is more than a few words.
    pub(super) fn push_replay(&mut self, bytes: Bytes) {
        self.replay += bytes.len();
        self.replayed += usize::from(!bytes.is_empty());
        self.push(bytes);
    }

    /// Says until when the piece that is pushed next is of use.
    pub(super) fn expires(&mut self, at: Timestamp, is_replay: bool) {
        self.expiring.push(Expiring { place: self.left + self.waiting.len(), at, is_replay });
    }

    /// Takes out the events that have expired while they waited, and says which. To be called before anything is written.
    pub(super) fn drop_expired(&mut self, now: impl FnOnce() -> Timestamp, dropped: impl Fn(u64)) {
        if self.expiring.is_empty() {
            return;
        }
        let now = now();
        let before = self.bytes;
        let Self { waiting, bytes, replay, expiring, left, is_begun, .. } = self;
        expiring.retain(|expiring| {
            let Some(index) = expiring.place.checked_sub(*left) else { return false };
            if now < expiring.at || (index == 0 && *is_begun) {
                return true;
            }
            let piece = waiting.get_mut(index).map(std::mem::take).unwrap_or_default();
            let length = piece.len();
            seq_of(&piece).into_iter().for_each(&dropped);
            *bytes -= length;
            // A few words before it may have been counted out as replay.
            *replay = replay.saturating_sub(if expiring.is_replay { length } else { 0 });
            false
        });
        if let Some(counters) = &self.counters {
            counters.backlog_bytes.sub((before - self.bytes) as u64);
        }
        self.pass_over();
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            if let Some(counters) = &self.counters {
                counters.backlog_bytes.add(bytes.len() as u64);
            }
            self.waiting.push_back(bytes);
        }
    }

    /// Adds what is left of a piece of which `written` bytes were taken before it came here.
    pub(super) fn push_rest(&mut self, piece: &Bytes, written: usize) {
        let rest = piece.slice(written..);
        if !rest.is_empty() {
            self.begun = seq_of(piece);
        }
        self.push(rest);
    }

    /// The oldest event of which something waits.
    pub(super) fn first_id(&self) -> Option<u64> {
        self.begun.or_else(|| self.waiting.iter().find_map(seq_of))
    }

    /// How much waits, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much counts against the reader, in bytes.
    pub(super) fn held(&self) -> usize {
        self.bytes - self.replay + PIECE * (self.waiting.len() - self.replayed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The first pieces, as the socket takes them.
    pub(super) fn slices<'b>(&'b self, slices: &mut [IoSlice<'b>; SLICES]) -> usize {
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.waiting) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    /// Takes `written` bytes off the front.
    pub(super) fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.waiting.front_mut() {
            if written < front.len() {
                if written > 0 && !self.is_begun {
                    self.begun = self.begun.or_else(|| seq_of(front));
                }
                front.advance(written);
                self.is_begun |= written > 0;
                self.count_out(written);
                break;
            }
            written -= front.len();
            self.leave();
        }
    }

    /// Takes the first piece.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let bytes = self.leave()?;
        self.pass_over();
        Some(bytes)
    }

    fn leave(&mut self) -> Option<Bytes> {
        let bytes = self.waiting.pop_front()?;
        self.left += 1;
        self.is_begun = false;
        self.begun = None;
        self.count_out(bytes.len());
        self.replayed = self.replayed.saturating_sub(1);
        Some(bytes)
    }

    fn count_out(&mut self, bytes: usize) {
        self.bytes -= bytes;
        if let Some(counters) = &self.counters {
            counters.backlog_bytes.sub(bytes as u64);
            counters.stream_bytes.add(bytes as u64);
        }
        self.replay = self.replay.saturating_sub(bytes);
    }

    /// Leaves no empty piece in front.
    fn pass_over(&mut self) {
        while self.waiting.front().is_some_and(Bytes::is_empty) {
            self.leave();
        }
    }
}

/// The number of the event that a piece begins with.
fn seq_of(piece: &Bytes) -> Option<u64> {
    event::id_in(piece).map(|id| id.seq)
}

impl Drop for Backlog {
    fn drop(&mut self) {
        if let Some(counters) = &self.counters {
            counters.streams_behind.dec();
            counters.backlog_bytes.sub(self.bytes as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_leave_in_order_whatever_the_socket_takes(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..60),
            replayed in 0usize..60,
            takes in prop::collection::vec(1usize..50, 1..200),
        ) {
            let mut backlog = Backlog::default();
            for (place, piece) in pieces.iter().enumerate() {
                let bytes = Bytes::from(piece.clone());
                if place < replayed { backlog.push_replay(bytes) } else { backlog.push(bytes) }
            }
            let live = pieces.iter().skip(replayed).filter(|piece| !piece.is_empty());
            let live: usize = live.map(|piece| piece.len() + PIECE).sum();
            prop_assert_eq!(backlog.held(), live);
            let mut written = Vec::new();
            for take in takes.into_iter().cycle() {
                if backlog.is_empty() { break }
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = backlog.slices(&mut slices);
                let all: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
                let take = take.min(all.len());
                written.extend_from_slice(&all[..take]);
                backlog.advance(take);
                prop_assert!(backlog.held() <= live);
            }
            prop_assert_eq!(written, pieces.concat());
            prop_assert_eq!(backlog.held(), 0);
        }

        #[test]
        fn what_has_expired_does_not_leave_but_whole_or_begun(
            pieces in prop::collection::vec((1usize..20, prop::option::of(0u64..30)), 1..40),
            replayed in 0usize..40,
            takes in prop::collection::vec((1usize..30, 0u64..4), 1..60),
            whole in any::<bool>(),
        ) {
            let mut backlog = Backlog::default();
            for (place, (length, expires)) in pieces.iter().enumerate() {
                if let Some(at) = expires { backlog.expires(Timestamp(*at), place < replayed) }
                let bytes = Bytes::from(vec![u8::try_from(place).unwrap(); *length]);
                if place < replayed { backlog.push_replay(bytes) } else { backlog.push(bytes) }
            }
            // When the first byte of each piece left, and how many did.
            let mut left = vec![(0, 0); pieces.len()];
            let mut now = 0;
            for (take, passes) in takes.into_iter().cycle() {
                backlog.drop_expired(|| Timestamp(now), |_| ());
                if backlog.is_empty() { break }
                let gone = if whole {
                    backlog.pop().unwrap().to_vec()
                } else {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let count = backlog.slices(&mut slices);
                    let all: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).take(take).collect();
                    backlog.advance(all.len());
                    all
                };
                for place in gone {
                    let (begun, count) = &mut left[usize::from(place)];
                    if *count == 0 { *begun = now }
                    *count += 1;
                }
                now += passes;
            }
            for ((length, expires), (begun, count)) in pieces.iter().zip(left) {
                let is_whole = count == *length;
                prop_assert!(is_whole || count == 0 && expires.is_some_and(|at| at <= now));
                prop_assert!(!is_whole || expires.is_none_or(|at| begun < at));
            }
            prop_assert_eq!((backlog.bytes, backlog.replay), (0, 0));
        }
    }

    #[test]
    fn a_heartbeat_before_a_page_is_counted_out_with_it() {
        let mut backlog = Backlog::default();
        backlog.push(Bytes::from_static(b":\n"));
        backlog.push_replay(Bytes::from_static(b"a page"));
        backlog.push(Bytes::from_static(b"live"));
        assert_eq!(backlog.held(), 2 + 4 + 2 * PIECE);
        while backlog.pop().is_some() {}
        assert_eq!((backlog.held(), backlog.bytes, backlog.replay), (0, 0, 0));
        // Also if the page expires behind it.
        backlog.push(Bytes::from_static(b":\n"));
        backlog.expires(Timestamp(1), true);
        backlog.push_replay(Bytes::from_static(b"a page"));
        assert!(backlog.pop().is_some());
        backlog.drop_expired(|| Timestamp(1), |_| ());
        assert_eq!((backlog.held(), backlog.bytes, backlog.replay, backlog.is_empty()), (0, 0, 0, true));
    }
}
