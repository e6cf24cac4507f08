//! Publications: from the publisher's JSON to something the hub can take, in one pass over the text.
//!
//! Invariant: a [`Publication`] that leaves here is whole and within its bounds: at least one recipient, none twice,
//! names that are names, data without NUL that fits. Nothing unknown or doubtful is passed over in silence.
//!
//! serde walks the object once and hands out each value as the slice of text it was written in. So `data` is checked
//! to be JSON without being built in memory, and however deep it is nested, it takes no stack.

mod data;
pub(super) mod fields;
mod object;

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::hub::Publication;
use crate::publish::refusal::{Refusal, RefusalKind};

use fields::{Draft, Key};

pub use fields::{MAX_KEY, MAX_RECIPIENTS, MAX_RETRY_MS, MAX_TTL, MIN_TTL};
pub(super) use object::{Object, list, value};

/// The operator's bounds on a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of data an event may hold, as they are sent: a string decoded, other JSON as its text.
    pub max_event: usize,
}

/// Whom a publisher may publish to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom<'a> {
    /// Everybody.
    Anybody,
    /// Only the user of this id, named by `user` and by nothing else.
    Only(&'a str),
}

/// Reads one publication, a JSON object.
///
/// # Errors
/// `InvalidJson` says where the text is broken, `InvalidPublication` and `TooLarge` name the field.
pub fn parse(json: &[u8], limits: &Limits) -> Result<Publication, Refusal> {
    parse_for(json, limits, Whom::Anybody)
}

/// Reads one publication of a publisher who may not publish to everybody.
///
/// # Errors
/// As [`parse`], and `Forbidden` for another recipient.
pub fn parse_for(json: &[u8], limits: &Limits, whom: Whom<'_>) -> Result<Publication, Refusal> {
    read(json, One { limits, whom }, || {
        Refusal::new(
            RefusalKind::InvalidPublication,
            "a publication is a JSON object, such as {\"user\": 42, \"data\": \"hi\"}",
        )
    })
}

/// Reads a batch, a JSON array of at most `max_batch` publications. One wrong element refuses them all, and the
/// refusal names it: `[3].user`. An empty array is an empty batch.
///
/// # Errors
/// As [`parse`], and `TooLarge` for a batch that is too long.
pub fn parse_batch(json: &[u8], limits: &Limits, max_batch: usize) -> Result<Vec<Publication>, Refusal> {
    parse_batch_for(json, limits, Whom::Anybody, max_batch)
}

/// Reads a batch of a publisher who may not publish to everybody.
///
/// # Errors
/// As [`parse_batch`], and `Forbidden` for another recipient.
pub fn parse_batch_for(
    json: &[u8],
    limits: &Limits,
    whom: Whom<'_>,
    max_batch: usize,
) -> Result<Vec<Publication>, Refusal> {
    let at = Cell::new(None);
    let batch = Batch { limits, whom, max_batch, at: &at };
    read(json, batch, || match at.get() {
        None => no_batch(),
        Some(index) => {
            Refusal::new(RefusalKind::InvalidPublication, "must be a JSON object").in_element(index)
        }
    })
}

/// Runs a seed over the whole text. What the seed refuses is its value; what serde reports itself is broken JSON, or
/// JSON of another kind than was asked for, which `other_kind` words.
fn read<'de, S, T>(json: &'de [u8], seed: S, other_kind: impl FnOnce() -> Refusal) -> Result<T, Refusal>
where
    S: DeserializeSeed<'de, Value = Result<T, Refusal>>,
{
    let text = std::str::from_utf8(json).map_err(|error| {
        let message = format!("not UTF-8 at {}", place(json, error.valid_up_to()));
        Refusal::new(RefusalKind::InvalidJson, message)
    })?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut reader);
    match value.and_then(|value| reader.end().map(|()| value)) {
        Ok(value) => value,
        Err(error) if error.classify() == Category::Data => Err(other_kind()),
        Err(error) => Err(broken(json, &error)),
    }
}

/// Words a syntax error. serde_json's own words name what was expected and repeat nothing of the text.
fn broken(json: &[u8], error: &serde_json::Error) -> Refusal {
    let words = error.to_string();
    let what = words.split(" at line ").next().unwrap_or(&words);
    let before: usize =
        json.split_inclusive(|b| *b == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    // serde_json counts the columns it has read, so that the last of them is the culprit.
    let offset = before + error.column().saturating_sub(1);
    Refusal::new(RefusalKind::InvalidJson, format!("{what} at {}", place(json, offset)))
}

/// Where a byte is: line and column count from 1, the offset from 0; columns are bytes.
fn place(json: &[u8], offset: usize) -> String {
    let before = &json[..offset.min(json.len())];
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let column = 1 + before.len() - memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    format!("line {line} column {column} (byte {offset})")
}

/// Reads one object.
struct One<'a> {
    limits: &'a Limits,
    whom: Whom<'a>,
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = Result<Publication, Refusal>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = Result<Publication, Refusal>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a publication")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut draft = Draft::default();
        // A refused field does not end the walk: when the text turns out to be broken too, that is said first.
        let mut refused = None;
        while let Some(key) = map.next_key_seed(KeySeed)? {
            let value = map.next_value::<&RawValue>()?;
            if let Err(refusal) = draft.put(key, value.get()) {
                refused.get_or_insert(refusal);
            }
        }
        Ok(match refused {
            Some(refusal) => Err(refusal),
            None => draft.finish(self.limits, self.whom),
        })
    }
}

/// Reads a key without copying it.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Key, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        Ok(Key::new(name))
    }
}

/// Reads an array of objects.
struct Batch<'a> {
    limits: &'a Limits,
    whom: Whom<'a>,
    max_batch: usize,
    /// The element that is being read, for the message when it is not an object.
    at: &'a Cell<Option<usize>>,
}

impl<'de> DeserializeSeed<'de> for Batch<'_> {
    type Value = Result<Vec<Publication>, Refusal>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Batch<'_> {
    type Value = Result<Vec<Publication>, Refusal>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        let refusal = loop {
            self.at.set(Some(read.len()));
            if read.len() == self.max_batch {
                match elements.next_element::<IgnoredAny>()? {
                    None => return Ok(Ok(read)),
                    Some(_) => break too_long(self.max_batch),
                }
            }
            match elements.next_element_seed(One { limits: self.limits, whom: self.whom })? {
                None => return Ok(Ok(read)),
                Some(Ok(publication)) => read.push(publication),
                Some(Err(refusal)) => break refusal.in_element(read.len()),
            }
        };
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(refusal))
    }
}

/// Refuses a batch that is none.
pub(super) fn no_batch() -> Refusal {
    Refusal::new(RefusalKind::InvalidPublication, "a batch is a JSON array of publications")
}

/// Refuses a batch of more than `max` publications.
pub(super) fn too_long(max: usize) -> Refusal {
    Refusal::new(RefusalKind::TooLarge, format!("a batch holds at most {max} publications; send several"))
}

#[cfg(test)]
mod tests;
