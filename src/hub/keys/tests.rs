//! Keys with a clock and a bound of a test's own.

use super::*;
use crate::event::Epoch;
use crate::hub::Delivered;

fn keys(most: usize) -> Keys {
    let mut keys = Keys::default();
    keys.bound(Duration::from_secs(10), most);
    keys
}

fn receipt(seq: u64) -> Given {
    Given { id: EventId { epoch: Epoch::from_bits(1), seq }, delivered: Delivered::now(0) }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1000)
}

/// Uses a key as a publication does.
fn take(keys: &mut Keys, key: &str, seq: u64, now: Timestamp) -> Result<(), Duration> {
    keys.make_room(1, now)?;
    keys.insert(key, 0, receipt(seq), keys.until(now));
    Ok(())
}

fn is_known(keys: &Keys, key: &str, now: Timestamp) -> bool {
    matches!(keys.get(key, 0, now), Seen::Same(_))
}

#[test]
fn without_room_a_new_key_is_refused_and_no_old_one_forgotten() {
    let mut keys = keys(2);
    take(&mut keys, "a", 1, at(0)).unwrap();
    take(&mut keys, "b", 2, at(4)).unwrap();
    assert_eq!(take(&mut keys, "c", 3, at(7)), Err(Duration::from_secs(3)));
    assert_eq!(keys.make_room(3, at(7)), Err(Duration::from_secs(3)));
    assert_eq!(keys.make_room(0, at(7)), Ok(()));
    assert!(is_known(&keys, "a", at(9)) && is_known(&keys, "b", at(9)));
    assert_eq!(keys.counts(), KeyCounts { remembered: 2, refused: 4 });
    // Room comes with time, whether or not a sweep has come by.
    take(&mut keys, "c", 3, at(10)).unwrap();
    assert!(!is_known(&keys, "a", at(10)));
    assert_eq!(keys.counts(), KeyCounts { remembered: 2, refused: 4 });
}

#[test]
fn what_is_done_at_once_is_bounded() {
    let mut keys = keys(usize::MAX);
    for seq in 0..SWEPT as u64 + 100 {
        keys.insert(&seq.to_string(), 0, receipt(seq), at(1));
    }
    keys.sweep(at(2));
    assert_eq!(keys.counts().remembered, 100);
    take(&mut keys, "new", 1 << 40, at(2)).unwrap();
    assert_eq!(keys.counts().remembered, 99);
    keys.sweep(at(2));
    assert!(is_known(&keys, "new", at(2)) && keys.counts().remembered == 1);
}

#[test]
fn a_key_is_remembered_for_the_longest_time_that_was_asked() {
    let mut keys = keys(9);
    take(&mut keys, "a", 1, at(0)).unwrap();
    assert!(keys.extend("a", at(30)).is_some());
    assert!(keys.extend("a", at(20)).is_none() && keys.extend("b", at(30)).is_none());
    keys.sweep(at(29));
    assert!(is_known(&keys, "a", at(29)) && !is_known(&keys, "a", at(30)));
    keys.sweep(at(30));
    assert_eq!((keys.known.len(), keys.due.len()), (0, 0));
}

#[test]
fn what_came_to_nothing_leaves_nothing() {
    let mut keys = keys(2);
    for seq in 1..100 {
        take(&mut keys, "a", seq, at(0)).unwrap();
        // Another one's, which came to nothing earlier.
        keys.take_back("a", receipt(seq - 1).id);
        assert!(is_known(&keys, "a", at(0)));
        keys.take_back("a", receipt(seq).id);
    }
    assert_eq!((keys.known.len(), keys.due.len()), (0, 0));
}

#[test]
fn a_key_that_is_used_again_after_its_time_is_new() {
    let mut keys = keys(9);
    keys.insert("a", 0, receipt(1), at(10));
    assert!(!is_known(&keys, "a", at(10)));
    keys.insert("a", 0, receipt(2), at(20));
    assert_eq!((keys.known.len(), keys.due.len()), (1, 1));
    keys.sweep(at(19));
    assert!(matches!(keys.get("a", 0, at(19)), Seen::Same(receipt) if receipt.id.seq == 2));
}
