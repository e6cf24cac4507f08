//! The entries of a user's list: which are new, and what each is called. Pure.

use aws_lc_rs::digest::{SHA256, digest};

/// The most entries of a list that are looked at in one go; of a longer one the newest when its user comes.
pub(super) const MOST: usize = 1000;

/// What tells an entry of a list from the others, in hexadecimal.
pub(super) type Digest = String;

/// How far a list was seen.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// How many entries it had, and the last of them; none if it is to be looked at as a whole.
    seen: Option<(usize, Digest)>,
    /// It was looked at and was empty.
    is_empty: bool,
}

/// What came of a look at a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// It goes on where it was seen: these are new, the first of them at that place.
    On(usize, Vec<Vec<u8>>),
    /// It was looked at as a whole; what of it is new is not known. The first of them is at that place.
    Whole(usize, Vec<Vec<u8>>),
    /// It is another list than the one that was seen, and is to be looked at as a whole.
    Other,
    /// It is empty, or gone, and was not known to be.
    Empty,
}

impl Place {
    /// The first and the last index to ask for.
    pub(super) fn range(&self) -> (i64, i64) {
        let most = i64::try_from(MOST).unwrap_or(i64::MAX);
        match &self.seen {
            None => (-most, -1),
            Some((length, _)) => {
                let last = i64::try_from(length.saturating_sub(1)).unwrap_or(i64::MAX);
                (last, last.saturating_add(most))
            }
        }
    }

    /// Understands what was found there. `length` is asked for only where a list looked at as a whole may be longer.
    pub(super) fn look(&mut self, mut found: Vec<Vec<u8>>, length: usize) -> Looked {
        match &self.seen {
            None if found.is_empty() && self.is_empty => Looked::On(0, found),
            None if found.is_empty() => {
                self.is_empty = true;
                Looked::Empty
            }
            None => Looked::Whole(length.max(found.len()) - found.len(), found),
            Some((length, last)) => match found.first() {
                Some(first) if hash(first) == *last => {
                    found.remove(0);
                    Looked::On(*length, found)
                }
                _ => Looked::Other,
            },
        }
    }

    /// Notes that a list was seen up to an entry.
    pub(super) fn up_to(&mut self, place: usize, entry: &[u8]) {
        *self = Self { seen: Some((place + 1, hash(entry))), is_empty: false };
    }
}

/// The name of an entry: by its content, and without an id of its own by its place too, since the same may be said twice.
pub(super) fn name(entry: &[u8], has_id: bool, place: usize) -> Digest {
    if has_id { hash(entry) } else { format!("{}-{place}", hash(entry)) }
}

fn hash(entry: &[u8]) -> Digest {
    let digest = digest(&SHA256, entry);
    // Half of it is enough to tell the entries of one user apart.
    digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<Vec<u8>> {
        entries.iter().map(|entry| entry.as_bytes().to_vec()).collect()
    }

    /// What Redis answers to a range.
    fn range(list: &[Vec<u8>], (first, last): (i64, i64)) -> Vec<Vec<u8>> {
        let place = |index: i64| usize::try_from(if index < 0 { index + list.len() as i64 } else { index });
        let first = place(first).unwrap_or(0);
        let end = place(last).map_or(0, |last| (last + 1).min(list.len()));
        if first < end { list[first..end].to_vec() } else { Vec::new() }
    }

    #[test]
    fn what_was_appended_is_new_and_another_list_is_seen_to_be_one() {
        let mut place = Place::default();
        assert_eq!(place.look(range(&[], place.range()), 0), Looked::Empty);
        assert_eq!(place.look(range(&[], place.range()), 0), Looked::On(0, Vec::new()));
        let two = list(&["a", "b"]);
        assert_eq!(place.look(range(&two, place.range()), 2), Looked::Whole(0, two.clone()));
        place.up_to(1, b"b");
        assert_eq!(place.look(range(&two, place.range()), 0), Looked::On(2, Vec::new()));
        let four = list(&["a", "b", "c", "c"]);
        assert_eq!(place.look(range(&four, place.range()), 0), Looked::On(2, list(&["c", "c"])));
        place.up_to(3, b"c");
        for other in [&[][..], &["c"], &["b", "c", "c"], &["x", "y", "z", "d", "e"]] {
            assert_eq!(place.look(range(&list(other), place.range()), 0), Looked::Other, "{other:?}");
        }
    }

    #[test]
    fn a_long_list_is_looked_at_from_its_end() {
        let mut place = Place::default();
        let long: Vec<_> = (0..MOST + 5).map(|number| number.to_string().into_bytes()).collect();
        let Looked::Whole(first, found) = place.look(range(&long, place.range()), long.len()) else {
            panic!()
        };
        assert_eq!((first, found.len()), (5, MOST));
        assert_eq!(found[0], b"5");
        // From a place on, no more than that are taken, and the rest the next time.
        let mut place = Place::default();
        place.up_to(0, b"0");
        let Looked::On(first, found) = place.look(range(&long, place.range()), 0) else { panic!() };
        assert_eq!((first, found.len()), (1, MOST));
    }

    #[test]
    fn the_same_said_twice_is_two_only_without_an_id() {
        assert_ne!(name(b"hi", false, 0), name(b"hi", false, 1));
        assert_eq!(name(b"{\"id\":1}", true, 0), name(b"{\"id\":1}", true, 5));
        assert_ne!(name(b"a", true, 0), name(b"b", true, 0));
    }
}
