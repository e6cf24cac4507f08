//! JSON that is not a publication, taken apart one level at a time: names, and the text of each value as it was
//! written. Nothing is built in memory of what is not looked into.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::read;
use crate::publish::refusal::{Refusal, RefusalKind};

/// An object: its entries in the order they were written, also those of the same name.
#[derive(Debug)]
pub(in crate::publish) struct Object<'a>(pub(in crate::publish) Vec<(String, &'a str)>);

impl<'a> Object<'a> {
    /// Reads one. `other_kind` words what is said of JSON that is no object.
    ///
    /// # Errors
    /// `InvalidJson` says where the text is broken.
    pub(in crate::publish) fn read(
        json: &'a [u8],
        other_kind: impl FnOnce() -> Refusal,
    ) -> Result<Self, Refusal> {
        read(json, Any(PhantomData), other_kind)
    }

    /// Takes text apart that is known to be JSON. None if it is no object.
    pub(in crate::publish) fn of(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The value of a name; of several, the last, as most readers of JSON have it.
    pub(in crate::publish) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rfind(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    entries.push((name, value.get()));
                }
                Ok(Object(entries))
            }
        }

        from.deserialize_map(Entries)
    }
}

/// Reads one value of any kind: its text.
///
/// # Errors
/// `InvalidJson` says where the text is broken.
pub(in crate::publish) fn value(json: &[u8]) -> Result<&str, Refusal> {
    // There is JSON of no other kind than a value.
    let other_kind = || Refusal::new(RefusalKind::InvalidJson, "the body is not JSON");
    read::<_, &RawValue>(json, Any(PhantomData), other_kind).map(RawValue::get)
}

/// Reads a list, of which no more than `max` entries are kept. The flag says whether there are more.
pub(in crate::publish) fn list(
    json: &[u8],
    max: usize,
    other_kind: impl FnOnce() -> Refusal,
) -> Result<(Vec<&str>, bool), Refusal> {
    read(json, List { max }, other_kind)
}

struct List {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for List {
    type Value = Result<(Vec<&'de str>, bool), Refusal>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List {
    type Value = Result<(Vec<&'de str>, bool), Refusal>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < self.max {
            match entries.next_element::<&'de RawValue>()? {
                Some(entry) => kept.push(entry.get()),
                None => return Ok(Ok((kept, false))),
            }
        }
        let mut more = false;
        while entries.next_element::<IgnoredAny>()?.is_some() {
            more = true;
        }
        Ok(Ok((kept, more)))
    }
}

/// Reads any type as it reads itself.
struct Any<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Any<T> {
    type Value = Result<T, Refusal>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        T::deserialize(from).map(Ok)
    }
}
