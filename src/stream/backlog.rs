//! Bytes that wait for a slow reader.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf as _, Bytes};

use super::catch_up::History;

/// How many pieces are handed to the socket in one call. Linux takes 1024; more than a few dozen gain nothing.
pub(super) const SLICES: usize = 32;

/// What a piece that waits counts for beside its bytes, which it shares with other streams: its place here is the
/// stream's own. So many small events are bounded as well as few large ones.
const PIECE: usize = size_of::<Bytes>();

/// What waits, oldest first. Replayed history does not count against the reader: it asked for it, and its bytes are
/// shared with the store.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    /// How many of the bytes, from the front, are replay.
    replay: usize,
    /// How many pieces those are.
    replayed: usize,
    /// What is to be read of history once all this is written; none for a stream that is live.
    pub(super) history: Option<History>,
}

impl Backlog {
    /// Adds what a resuming reader asked for. Only before anything live that is more than a few words.
    pub(super) fn push_replay(&mut self, bytes: Bytes) {
        self.replay += bytes.len();
        self.replayed += usize::from(!bytes.is_empty());
        self.push(bytes);
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.waiting.push_back(bytes);
        }
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
                front.advance(written);
                self.count_out(written);
                break;
            }
            written -= front.len();
            self.pop();
        }
    }

    /// Takes the first piece.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let bytes = self.waiting.pop_front()?;
        self.count_out(bytes.len());
        self.replayed = self.replayed.saturating_sub(1);
        Some(bytes)
    }

    fn count_out(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.replay = self.replay.saturating_sub(bytes);
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
    }
}
