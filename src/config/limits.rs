//! `[limits]`: how many streams and connections there may be, and how fast streams may come.

use std::num::NonZero;

use super::reader::{Section, Value};

/// More tabs and devices than a person has open, and few enough that one account cannot take the machine.
const STREAMS_PER_USER: NonZero<u32> = NonZero::new(20).unwrap();
/// More streams or connections than one machine bears.
const MAX_STREAMS: u64 = 10_000_000;
/// More than one machine opens.
const MAX_RATE: u64 = 1_000_000;

/// The limits over all workers, listeners and routes. None is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most streams at once.
    pub streams: Option<NonZero<u32>>,
    /// The most streams of one user at once; routes may have a number of their own.
    pub streams_per_user: Option<NonZero<u32>>,
    /// The most streams from one address at once.
    pub streams_per_address: Option<NonZero<u32>>,
    /// The most new streams a second.
    pub opens_per_second: Option<NonZero<u32>>,
    /// The most new streams a second from one address.
    pub opens_per_second_per_address: Option<NonZero<u32>>,
    /// The most connections from one address at once.
    pub connections_per_address: Option<NonZero<u32>>,
}

impl Limits {
    /// Reads `[limits]`.
    pub(super) fn read(section: Option<Section<'_>>) -> Self {
        let default = Self::default();
        let Some(section) = section else {
            return default;
        };
        let number = |key, default, most| number(section.value(key).as_ref(), default, most);
        Self {
            streams: number("streams", default.streams, MAX_STREAMS),
            streams_per_user: number("streams_per_user", default.streams_per_user, MAX_STREAMS),
            streams_per_address: number("streams_per_address", default.streams_per_address, MAX_STREAMS),
            opens_per_second: number("opens_per_second", default.opens_per_second, MAX_RATE),
            opens_per_second_per_address: number(
                "opens_per_second_per_address",
                default.opens_per_second_per_address,
                MAX_RATE,
            ),
            connections_per_address: number(
                "connections_per_address",
                default.connections_per_address,
                MAX_STREAMS,
            ),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: None,
            streams_per_user: Some(STREAMS_PER_USER),
            streams_per_address: None,
            opens_per_second: None,
            opens_per_second_per_address: None,
            connections_per_address: None,
        }
    }
}

/// Reads the most streams of a user, as a route says it; 0 is no limit.
pub(super) fn streams(value: &Value<'_>) -> Option<Option<NonZero<u32>>> {
    let count = value.count(0..=MAX_STREAMS)?;
    Some(u32::try_from(count).ok().and_then(NonZero::new))
}

/// A number of which 0 is no limit.
fn number(value: Option<&Value<'_>>, default: Option<NonZero<u32>>, most: u64) -> Option<NonZero<u32>> {
    match value.map(|value| value.count(0..=most)) {
        Some(Some(count)) => u32::try_from(count).ok().and_then(NonZero::new),
        Some(None) | None => default,
    }
}
