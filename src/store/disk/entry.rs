//! How events and what is known of channels are written. Pure.
//!
//! Keys sort as history reads: by channel, then by number. An event is kept without its `id:` line, which names the
//! epoch; that line is made anew when it is read, so history outlives an epoch.

use crate::event::{Epoch, EventId, Frame, Timestamp};
use crate::store::Record;

/// Stands for "as long as the channel's other events".
const NEVER: u64 = u64::MAX;

/// The key of an event: its channel's number and its own.
pub(super) fn event_key(channel: u64, seq: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&channel.to_be_bytes());
    key[8..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// The key under which a channel's newest event of a collapse key is found.
pub(super) fn collapse_key(channel: u64, collapse: &str) -> Vec<u8> {
    [&channel.to_be_bytes(), collapse.as_bytes()].concat()
}

/// An event as it is kept.
pub(super) fn event_value(record: &Record) -> Vec<u8> {
    let text = record.frame.text();
    let rest = text.iter().position(|byte| *byte == b'\n').map_or(&text[..], |end| &text[end + 1..]);
    let collapse = record.collapse.as_deref().unwrap_or_default().as_bytes();
    let expires = record.expires.map_or(NEVER, |at| at.0);
    // The reader of publications bounds a collapse key far below.
    let length = u16::try_from(collapse.len()).unwrap_or(u16::MAX);
    let parts =
        [&record.at.0.to_be_bytes()[..], &expires.to_be_bytes(), &length.to_be_bytes(), collapse, rest];
    parts.concat()
}

/// Reads an event back. None if the bytes are no event.
pub(super) fn event(epoch: Epoch, key: &[u8], value: &[u8]) -> Option<Record> {
    let seq = number(key.get(8..)?)?;
    let (at, expires) = (number(value)?, number(value.get(8..)?)?);
    let length = usize::from(u16::from_be_bytes(value.get(16..18)?.try_into().ok()?));
    let collapse = std::str::from_utf8(value.get(18..18 + length)?).ok()?;
    let mut text = format!("id: {}\n", EventId { epoch, seq }).into_bytes();
    text.extend_from_slice(value.get(18 + length..)?);
    Some(Record {
        seq,
        frame: Frame::new(&text),
        at: Timestamp(at),
        expires: (expires != NEVER).then_some(Timestamp(expires)),
        collapse: (length > 0).then(|| collapse.into()),
    })
}

/// Whether these bytes are an event's.
pub(super) fn is_event(value: &[u8]) -> bool {
    event(Epoch::from_bits(0), &[0; 16], value).is_some()
}

/// The first eight bytes as a number.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Numbers, one behind the other.
pub(super) fn numbers<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut all = [0; N];
    for (place, value) in all.iter_mut().enumerate() {
        *value = number(bytes.get(8 * place..)?)?;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    #[test]
    fn an_event_comes_back_as_it_was_in_whatever_epoch() {
        let event_of = |epoch| {
            let event = Event { name: None, data: "a\nb".into(), retry: Some(7) };
            event.frame(EventId { epoch, seq: 9 })
        };
        let (old, new) = (Epoch::from_bits(1), Epoch::from_bits(2));
        for (expires, collapse) in [(None, None), (Some(Timestamp(5)), Some("k".into()))] {
            let record = Record { seq: 9, frame: event_of(old), at: Timestamp(3), expires, collapse };
            let value = event_value(&record);
            for epoch in [old, new] {
                let read = event(epoch, &event_key(4, 9), &value).unwrap();
                assert_eq!(read.frame.chunk(), event_of(epoch).chunk());
                assert_eq!((read.seq, read.at, read.expires), (9, Timestamp(3), record.expires));
                assert_eq!(read.collapse, record.collapse);
            }
            for end in 0..18 {
                assert!(event(old, &event_key(4, 9), &value[..end]).is_none());
            }
        }
        assert!(event_key(1, u64::MAX) < event_key(2, 0));
    }
}
