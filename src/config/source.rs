//! `[[source]]`: publishers that speak Redis, each read as its app writes it.
//!
//! Invariant: a source that exists knows where a publication's user comes from: a list is its user's, and what is in its
//! name is the only recipient its map has.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::{Fault, Problem};
use super::reader::{Section, Value};
use super::redis::RedisServer;
use super::route::Map;
use super::schema;
use super::{Action, Route};
use crate::event::is_user_id;

const PREFIX: &str = "sidestream:";
const GROUP: &str = "sidestream";
const LEASE: Duration = Duration::from_secs(3);
/// Shorter, and a pause of the machine would hand it on; longer, and much is lost when a node dies.
const LEASE_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
const EVERY: Duration = Duration::from_millis(500);
/// Oftener would cost Redis more than the app's own polling did.
const EVERY_BOUNDS: RangeInclusive<Duration> = EVERY..=Duration::from_secs(60);
const READ_TTL: Duration = Duration::from_secs(24 * 3600);
const READ_TTL_BOUNDS: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(365 * 24 * 3600);
/// The longest name of a key, a channel or a group, in bytes.
const MAX_NAME: usize = 200;
/// Each source has a connection or two.
const MAX_SOURCES: usize = 64;
/// What stands for the user in a name.
const USER: &str = "{user}";

/// Publications from a Redis server.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The server.
    pub redis: RedisServer,
    /// How the keys begin that Sidestream makes there.
    pub prefix: String,
    /// How a publication is made of what is read; without it, what is read is one.
    pub map: Option<Map>,
    /// What is read.
    pub kind: SourceKind,
}

/// What is read of a Redis server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// What is published to a channel. One node at a time.
    Channel {
        /// The channel's name, in which `*` stands for anything.
        name: String,
        /// For how long a node that is gone keeps the others waiting.
        lease: Duration,
    },
    /// Lists that belong to users.
    Lists {
        /// The name of the list.
        key: UserKey,
        /// Where it is noted what users have read.
        read: Option<ReadSet>,
        /// How often the lists of connected users are looked at, where the server does not tell of changes.
        every: Duration,
        /// Whether the server may be told to tell of changes.
        configure: bool,
    },
    /// A stream with a consumer group, which all nodes share.
    Stream {
        /// The stream's key.
        key: String,
        /// The group's name.
        group: String,
    },
}

/// The name of a key with the user's id in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserKey {
    /// What is before the id.
    pub before: String,
    /// What is behind it.
    pub after: String,
}

/// Where it is noted what users have read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSet {
    /// The name of the set.
    pub key: UserKey,
    /// The names that lead to the id in an entry of the list.
    pub id: Vec<String>,
    /// For how long the set is kept after the last change.
    pub ttl: Duration,
}

impl UserKey {
    /// The key of a user.
    pub fn of(&self, user: &str) -> String {
        format!("{}{user}{}", self.before, self.after)
    }

    /// The user whose key this is.
    pub fn user<'k>(&self, key: &'k str) -> Option<&'k str> {
        let user = key.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        is_user_id(user).then_some(user)
    }
}

impl Source {
    /// Reads every `[[source]]`.
    pub(super) fn read_all(sections: &[Section<'_>], routes: &[Route]) -> Vec<Self> {
        if let Some(section) = sections.get(MAX_SOURCES) {
            section.report.add(section.problem(format!("there are more than {MAX_SOURCES} sources")));
        }
        sections.iter().filter_map(|section| Self::read(section, routes)).collect()
    }

    fn read(section: &Section<'_>, routes: &[Route]) -> Option<Self> {
        let kinds =
            [("redis-pubsub", Kind::Channel), ("redis-list", Kind::Lists), ("redis-stream", Kind::Stream)];
        let help = "write kind = \"redis-pubsub\", \"redis-list\" or \"redis-stream\"";
        let kind = section.required("kind", help).and_then(|kind| kind.choice(&kinds, &[]));
        let redis = RedisServer::read(section);
        RedisServer::check(redis.as_ref(), section);
        let prefix = section.value("prefix").map_or(Some(PREFIX.to_owned()), |value| value.parse(name));
        let of_list = kind == Some(Kind::Lists);
        let map = section.value("map").map(|value| Map::read_of_source(&value, of_list));
        let lease = section.duration("lease", LEASE, LEASE_BOUNDS);
        let every = section.duration("every", EVERY, EVERY_BOUNDS);
        let configure = section.value("configure").and_then(|value| value.flag()).unwrap_or(false);
        let group = section.value("group").map_or(Some(GROUP.to_owned()), |value| value.parse(name));
        let names = ["channel", "key", "stream"].map(|key| section.value(key));
        let read = section.section("read", &schema::SOURCE_READ);
        let read = read.map(|read| ReadSet::read(&read));
        let kind = kind?;
        for (key, of) in KEYS {
            if section.has(key) && !of.contains(&kind) {
                let kinds: Vec<_> =
                    kinds.iter().filter(|(_, kind)| of.contains(kind)).map(|(name, _)| *name).collect();
                let problem = Problem::new(format!("`{key}` is of `kind = \"{}\"`", kinds.join("\" or \"")));
                section.report.add(problem.at(section.key_span(key)));
            }
        }
        let [channel, key, stream] = names;
        let missing = |key: &str, help: &str| {
            if !section.misspells(&[key]) {
                section.report.add(section.problem(format!("this source has no `{key}`")).help(help));
            }
        };
        let kind = match kind {
            Kind::Channel => {
                if channel.is_none() {
                    missing("channel", "channel = \"notifications\"");
                }
                SourceKind::Channel { name: channel?.parse(name)?, lease }
            }
            Kind::Lists => {
                if key.is_none() {
                    missing("key", "key = \"notifications:{user}\"");
                }
                if read.is_some() && !routes.iter().any(shows_unread) {
                    let problem =
                        Problem::new("`read` is of no use: no stream route has `replay = \"unread\"`");
                    section.report.add(problem.at(section.key_span("read")));
                }
                SourceKind::Lists { key: key?.parse(user_key)?, read: read.flatten(), every, configure }
            }
            Kind::Stream => {
                if stream.is_none() {
                    missing("stream", "stream = \"notifications\"");
                }
                SourceKind::Stream { key: stream?.parse(name)?, group: group? }
            }
        };
        let map = match map {
            None if of_list => Some(Map::of_list()),
            map => map.flatten(),
        };
        Some(Self { redis: redis?, prefix: prefix?, map, kind })
    }
}

impl ReadSet {
    fn read(section: &Section<'_>) -> Option<Self> {
        let key = section.required("key", "key = \"read_notifications:{user}\"");
        let key = key.and_then(|value| value.parse(user_key));
        let id = section.value("id");
        let id = id.map_or(Some(vec!["id".to_owned()]), |value| pointer(&value));
        let ttl = section.duration("ttl", READ_TTL, READ_TTL_BOUNDS);
        Some(Self { key: key?, id: id?, ttl })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Channel,
    Lists,
    Stream,
}

/// The keys that not every kind has.
const KEYS: [(&str, &[Kind]); 8] = [
    ("channel", &[Kind::Channel]),
    ("lease", &[Kind::Channel]),
    ("key", &[Kind::Lists]),
    ("read", &[Kind::Lists]),
    ("every", &[Kind::Lists]),
    ("configure", &[Kind::Lists]),
    ("stream", &[Kind::Stream]),
    ("group", &[Kind::Stream]),
];

fn shows_unread(route: &Route) -> bool {
    matches!(&route.action, Action::Stream(stream) if stream.replay.unread().is_some())
}

/// Reads the name of something in Redis.
fn name(text: &str) -> Result<String, Fault> {
    match text {
        "" => Err(Fault::new("is empty")),
        text if text.len() > MAX_NAME => Err(Fault::new(format!("is longer than {MAX_NAME} bytes"))),
        text if text.chars().any(char::is_control) => Err(Fault::new("holds a control character")),
        text => Ok(text.to_owned()),
    }
}

/// Reads the name of a key with a user's id in it.
fn user_key(text: &str) -> Result<UserKey, Fault> {
    let text = name(text)?;
    let Some((before, after)) = text.split_once(USER) else {
        return Err(Fault::new("has no `{user}`").hint("it stands for the user whose it is"));
    };
    if after.contains(USER) {
        return Err(Fault::new("has `{user}` twice"));
    }
    if before.is_empty() && after.is_empty() {
        return Err(Fault::new("is nothing but `{user}`: every key would be a user's"));
    }
    Ok(UserKey { before: before.to_owned(), after: after.to_owned() })
}

/// Reads the place of an id in an entry.
fn pointer(value: &Value<'_>) -> Option<Vec<String>> {
    let pointer = value.parse(super::route::pointer)?;
    if pointer.names.is_empty() || pointer.optional {
        value.fault(Fault::new("is no place in an entry").hint("write \"/id\""));
        return None;
    }
    Some(pointer.names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_of_its_user_and_tells_whose_it_is() {
        let key = user_key("notifications:{user}:new").unwrap();
        assert_eq!(key.of("42"), "notifications:42:new");
        for (text, user) in [
            ("notifications:42:new", Some("42")),
            ("notifications:a@b.c:new", Some("a@b.c")),
            ("notifications::new", None),
            ("notifications:1:2:new", None),
            ("notifications:42", None),
            ("read_notifications:42:new", None),
            // What is before and what is behind must not overlap.
            ("notifications:new", None),
        ] {
            assert_eq!(key.user(text), user, "{text}");
        }
        for text in ["", "{user}", "a", "{user}:{user}", "a{user}\n"] {
            assert!(user_key(text).is_err(), "{text}");
        }
    }
}
