//! The fields of a publication: which there are, what each may hold.
//!
//! Invariant: each field is given at most once, and a value is either what the field says or a refusal that names
//! it; nothing is converted but an integer user id to its decimal.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::data::{self, InvalidData};
use super::{Limits, Whom};
use crate::event::{ChannelName, Event, EventName, InvalidName};
use crate::hub::Publication;
use crate::publish::refusal::{Refusal, RefusalKind};

/// The most recipients of one publication.
pub const MAX_RECIPIENTS: usize = 1000;

/// The longest idempotency or collapse key, in bytes.
pub const MAX_KEY: usize = 255;

/// The longest reconnection time a publication can ask for, in milliseconds: a day.
pub const MAX_RETRY_MS: u32 = 86_400_000;

/// The shortest time to live.
pub const MIN_TTL: Duration = Duration::from_secs(1);

/// The longest time to live.
pub const MAX_TTL: Duration = Duration::from_secs(30 * 86_400);

/// How far a name may be from a field's for that field to be suggested.
const MAX_TYPOS: usize = 2;

/// What is said when there is not exactly one recipient field.
const ONE_RECIPIENT: &str = "a publication needs exactly one of user, users, channel, channels";

/// A field of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    User,
    Users,
    Channel,
    Channels,
    Event,
    Data,
    Ttl,
    Key,
    Collapse,
    Retry,
}

impl Field {
    /// All fields, each at its own number.
    const ALL: [Self; 10] = [
        Self::User,
        Self::Users,
        Self::Channel,
        Self::Channels,
        Self::Event,
        Self::Data,
        Self::Ttl,
        Self::Key,
        Self::Collapse,
        Self::Retry,
    ];

    const RECIPIENTS: [Self; 4] = [Self::User, Self::Users, Self::Channel, Self::Channels];

    fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Users => "users",
            Self::Channel => "channel",
            Self::Channels => "channels",
            Self::Event => "event",
            Self::Data => "data",
            Self::Ttl => "ttl",
            Self::Key => "key",
            Self::Collapse => "collapse",
            Self::Retry => "retry",
        }
    }

    fn refuse(self, message: impl Into<Cow<'static, str>>) -> Refusal {
        invalid(self.name(), message)
    }
}

/// A key of the object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// One of ours.
    Known(Field),
    /// Any other, and what is said of it.
    Unknown(Refusal),
}

impl Key {
    pub(super) fn new(name: &str) -> Self {
        match Field::ALL.into_iter().find(|field| field.name() == name) {
            Some(field) => Self::Known(field),
            None => Self::Unknown(unknown(name)),
        }
    }
}

fn unknown(name: &str) -> Refusal {
    let closest = Field::ALL
        .into_iter()
        // Long names are compared with nothing: the distance takes time by the product of both lengths.
        .filter(|field| name.len() <= field.name().len() + MAX_TYPOS)
        .map(|field| (strsim::damerau_levenshtein(field.name(), &name.to_lowercase()), field))
        .filter(|(typos, field)| *typos <= MAX_TYPOS && *typos < field.name().len())
        .min_by_key(|(typos, _)| *typos);
    match closest {
        Some((_, field)) => invalid(name, format!("is unknown; did you mean {}?", field.name())),
        None => {
            let all = Field::ALL.map(Field::name).join(", ");
            invalid(name, format!("is unknown; there are {all}"))
        }
    }
}

/// The fields that were given, each as the text it was written in.
#[derive(Debug, Default)]
pub(super) struct Draft<'a>([Option<&'a str>; Field::ALL.len()]);

impl<'a> Draft<'a> {
    /// Takes a field in.
    pub(super) fn put(&mut self, key: Key, value: &'a str) -> Result<(), Refusal> {
        let field = match key {
            Key::Known(field) => field,
            Key::Unknown(refusal) => return Err(refusal),
        };
        match self.0[field as usize].replace(value) {
            None => Ok(()),
            Some(_) => Err(field.refuse("is given twice")),
        }
    }

    /// Makes the publication of what was given.
    pub(super) fn finish(&self, limits: &Limits, whom: Whom<'_>) -> Result<Publication, Refusal> {
        Ok(Publication {
            channels: self.channels(whom)?,
            event: Event {
                name: self.value(Field::Event).map(event_name).transpose()?.flatten(),
                data: match self.value(Field::Data) {
                    Some(json) => data(json, limits.max_event)?,
                    None => return Err(Field::Data.refuse("is missing; it may be any JSON, also null")),
                },
                retry: self.read(Field::Retry, retry)?,
            },
            ttl: self.read(Field::Ttl, ttl)?,
            key: self.read(Field::Key, key)?,
            collapse: self.read(Field::Collapse, key)?,
        })
    }

    fn value(&self, field: Field) -> Option<&'a str> {
        self.0[field as usize]
    }

    fn read<T>(
        &self,
        field: Field,
        read: impl FnOnce(Field, &'a str) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        self.value(field).map(|json| read(field, json)).transpose()
    }

    fn channels(&self, whom: Whom<'_>) -> Result<SmallVec<[ChannelName; 1]>, Refusal> {
        let mut given = Field::RECIPIENTS.into_iter().filter_map(|field| Some((field, self.value(field)?)));
        let (field, json) = given.next().ok_or_else(|| Field::User.refuse(ONE_RECIPIENT))?;
        if let Some((second, _)) = given.next() {
            let message = format!("{} is given as well; {ONE_RECIPIENT}", field.name());
            return Err(second.refuse(message));
        }
        if let Whom::Only(caller) = whom {
            let is_caller = field == Field::User && *user_id(field.name(), json)? == *caller;
            if !is_caller {
                let message = "must be yourself: on this route a publication goes to the user who sends it";
                return Err(Refusal::of_field(RefusalKind::Forbidden, field.name(), message));
            }
        }
        match field {
            Field::User => user(field.name(), json).map(|name| SmallVec::from_buf([name])),
            Field::Users => several(field, json, user),
            Field::Channel => channel(field.name(), json).map(|name| SmallVec::from_buf([name])),
            _ => several(field, json, channel),
        }
    }
}

/// Reads a list of recipients. Each is kept once, in the order they were given.
fn several(
    field: Field,
    json: &str,
    one: impl Fn(&str, &str) -> Result<ChannelName, Refusal>,
) -> Result<SmallVec<[ChannelName; 1]>, Refusal> {
    if !json.starts_with('[') {
        return Err(field.refuse(format!("must be a list, not {}", kind(json))));
    }
    let values: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| field.refuse("must be a list"))?;
    if values.is_empty() {
        return Err(field.refuse("must not be empty"));
    }
    if values.len() > MAX_RECIPIENTS {
        return Err(field.refuse(format!("holds more than {MAX_RECIPIENTS} recipients")));
    }
    let mut names: SmallVec<[ChannelName; 1]> = SmallVec::with_capacity(values.len());
    let mut seen = HashSet::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let name = one("", value.get()).map_err(|refusal| {
            let at = format!("{}[{index}]", field.name());
            Refusal::of_field(refusal.kind(), &at, refusal.message().to_owned())
        })?;
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    Ok(names)
}

fn user(field: &str, json: &str) -> Result<ChannelName, Refusal> {
    let id = user_id(field, json)?;
    ChannelName::of_user(&id).map_err(|why| named(field, &why))
}

/// Reads a user's id, which can stand in the name of a channel.
pub(in crate::publish) fn user_id<'a>(field: &str, json: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let id = match integer(json) {
        Some(id) => Cow::Owned(id),
        None => match kind(json) {
            "a string" => text(field, json)?,
            "an integer" => return Err(invalid(field, "is beyond 64 bits; send it as a string")),
            kind => return Err(invalid(field, format!("must be a string or an integer, not {kind}"))),
        },
    };
    ChannelName::of_user(&id).map_err(|why| named(field, &why))?;
    Ok(id)
}

/// The decimal of an integer within 64 bits, as JSON writes it; none for every other value.
fn integer(json: &str) -> Option<String> {
    match json.parse::<i64>() {
        Ok(number) => Some(number.to_string()),
        Err(_) => json.parse::<u64>().ok().map(|number| number.to_string()),
    }
}

fn channel(field: &str, json: &str) -> Result<ChannelName, Refusal> {
    ChannelName::new(&text(field, json)?).map_err(|why| named(field, &why))
}

/// Reads an event name. `message` is what an event without a name is to every client, so it is left out.
pub(in crate::publish) fn event_name(json: &str) -> Result<Option<EventName>, Refusal> {
    let field = Field::Event.name();
    match &*text(field, json)? {
        "message" => Ok(None),
        name => EventName::published(name).map(Some).map_err(|why| named(field, &why)),
    }
}

/// Makes data of JSON, of at most `max` bytes as it is sent.
pub(in crate::publish) fn data(json: &str, max: usize) -> Result<bytes::Bytes, Refusal> {
    data::data(json, max).map_err(|why| match why {
        InvalidData::Nul => Field::Data.refuse("must not hold the character U+0000"),
        InvalidData::LoneSurrogate => Field::Data.refuse(NO_CHARACTER),
        InvalidData::TooLong => Refusal::of_field(
            RefusalKind::TooLarge,
            Field::Data.name(),
            format!("is longer than {max} bytes (max_event)"),
        ),
    })
}

fn ttl(field: Field, json: &str) -> Result<Duration, Refusal> {
    let ttl = duration(field.name(), json)?;
    if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
        return Err(field.refuse("must be between 1s and 30d"));
    }
    Ok(ttl)
}

/// Reads a duration, a string such as `"30s"`.
pub(in crate::publish) fn duration(field: &str, json: &str) -> Result<Duration, Refusal> {
    units(&text(field, json)?).ok_or_else(|| {
        let form = "must be a whole number and a unit of ms, s, m, h, d, such as \"30s\" or \"1h\"";
        invalid(field, form)
    })
}

fn units(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

fn key(field: Field, json: &str) -> Result<Box<str>, Refusal> {
    let key = text(field.name(), json)?;
    if !(1..=MAX_KEY).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(field.refuse(format!("must be 1 to {MAX_KEY} visible ASCII characters without spaces")));
    }
    Ok(key.into())
}

fn retry(field: Field, json: &str) -> Result<u32, Refusal> {
    match json.parse() {
        Ok(millis @ 0..=MAX_RETRY_MS) => Ok(millis),
        _ => Err(field.refuse(format!("must be a whole number of milliseconds, at most {MAX_RETRY_MS}"))),
    }
}

/// What is said of `\ud800` without its other half.
const NO_CHARACTER: &str = "holds half of a surrogate pair, which is no character";

/// Reads a string, a number or a boolean, as a text has it.
pub(in crate::publish) fn scalar<'a>(field: &str, json: &'a str) -> Result<Cow<'a, str>, Refusal> {
    match kind(json) {
        "a string" => text(field, json),
        kind @ ("an object" | "a list" | "null") => {
            Err(invalid(field, format!("stands in a text, which cannot hold {kind}")))
        }
        _ => Ok(Cow::Borrowed(json)),
    }
}

/// Reads a string.
fn text<'a>(field: &str, json: &'a str) -> Result<Cow<'a, str>, Refusal> {
    if !json.starts_with('"') {
        return Err(invalid(field, format!("must be a string, not {}", kind(json))));
    }
    data::decoded(json).ok_or_else(|| invalid(field, NO_CHARACTER))
}

/// What kind of value a JSON text is, as a person says it.
fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ if json.bytes().all(|b| b == b'-' || b.is_ascii_digit()) => "an integer",
        _ => "a fraction",
    }
}

fn named(field: &str, why: &InvalidName) -> Refusal {
    invalid(field, why.to_string())
}

fn invalid(field: &str, message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::of_field(RefusalKind::InvalidPublication, field, message)
}
