//! Names that travel: of channels and of events.

use std::fmt;
use std::sync::Arc;

/// The prefix of the channels that belong to one user.
const USER_PREFIX: &str = "user:";

/// Names that the protocol itself uses; a publisher cannot send events under them.
const RESERVED_EVENTS: [&str; 4] = ["error", "open", "reset", "read"];

/// What a publication is addressed to. Cheap to clone.
///
/// 1 to [`ChannelName::MAX`] bytes of visible ASCII without `,` (it separates names in `?channels=`), `*`, `{` and
/// `}` (they are the configuration's patterns).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// The longest channel name, in bytes.
    pub const MAX: usize = 200;

    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        if name.is_empty() {
            return Err(InvalidName::Empty);
        }
        if name.len() > Self::MAX {
            return Err(InvalidName::TooLong { max: Self::MAX });
        }
        match name.chars().find(|c| !c.is_ascii_graphic() || matches!(c, ',' | '*' | '{' | '}')) {
            Some(found) => Err(InvalidName::Character { found }),
            None => Ok(Self(name.into())),
        }
    }

    /// The channel that belongs to one user. The id is held to [`is_user_id`].
    pub fn of_user(user: &str) -> Result<Self, InvalidName> {
        if user.is_empty() {
            return Err(InvalidName::Empty);
        }
        if let Some(found) = user.chars().find(|c| !is_user_char(*c)) {
            return Err(InvalidName::Character { found });
        }
        if user.len() > Self::MAX - USER_PREFIX.len() {
            return Err(InvalidName::TooLong { max: Self::MAX - USER_PREFIX.len() });
        }
        Ok(Self(format!("{USER_PREFIX}{user}").into()))
    }

    /// The name as it was published to.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is one user's own channel, which no wildcard covers and no query can ask for.
    pub fn belongs_to_user(&self) -> bool {
        self.0.starts_with(USER_PREFIX)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Whether a value of a token may stand in a channel name: `[A-Za-z0-9_.@-]`, at least one, at most what fits.
pub fn is_user_id(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= ChannelName::MAX - USER_PREFIX.len()
        && value.chars().all(is_user_char)
}

fn is_user_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '@' | '-')
}

/// The `event:` field of an event: 1 to [`EventName::MAX`] bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventName(Box<str>);

impl EventName {
    /// The longest event name, in bytes.
    pub const MAX: usize = 128;

    /// Checks a name that a publisher chose: also not one of the protocol's own.
    pub fn published(name: &str) -> Result<Self, InvalidName> {
        if RESERVED_EVENTS.contains(&name) {
            return Err(InvalidName::Reserved);
        }
        Self::configured(name)
    }

    /// Checks a name that the operator chose, which may be any.
    pub fn configured(name: &str) -> Result<Self, InvalidName> {
        if name.is_empty() {
            return Err(InvalidName::Empty);
        }
        if name.len() > Self::MAX {
            return Err(InvalidName::TooLong { max: Self::MAX });
        }
        match name.chars().find(|c| c.is_control()) {
            Some(found) => Err(InvalidName::Character { found }),
            None => Ok(Self(name.into())),
        }
    }

    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidName {
    /// Nothing there.
    Empty,
    /// More bytes than allowed.
    TooLong {
        /// The bound, in bytes.
        max: usize,
    },
    /// A character that a name cannot hold.
    Character {
        /// The first such character.
        found: char,
    },
    /// One of the protocol's own event names.
    Reserved,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::TooLong { max } => write!(f, "is longer than {max} bytes"),
            Self::Character { found } => write!(f, "must not hold {found:?}"),
            Self::Reserved => write!(f, "is one of Sidestream's own: {}", RESERVED_EVENTS.join(", ")),
        }
    }
}

impl std::error::Error for InvalidName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_names_hold_visible_ascii_only() {
        for good in ["a", "user:42", "orders.eu/1", "A@b-c_d", &"x".repeat(ChannelName::MAX)] {
            assert_eq!(ChannelName::new(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", InvalidName::Empty),
            ("a b", InvalidName::Character { found: ' ' }),
            ("a,b", InvalidName::Character { found: ',' }),
            ("a*", InvalidName::Character { found: '*' }),
            ("a\nb", InvalidName::Character { found: '\n' }),
            ("ü", InvalidName::Character { found: 'ü' }),
            (&"x".repeat(ChannelName::MAX + 1), InvalidName::TooLong { max: ChannelName::MAX }),
        ] {
            assert_eq!(ChannelName::new(bad).unwrap_err(), why, "{bad:?}");
        }
    }

    #[test]
    fn a_user_id_cannot_leave_its_channel() {
        assert_eq!(ChannelName::of_user("a@b.c").unwrap().as_str(), "user:a@b.c");
        for bad in ["", "a:b", "a/b", "a b", "{user}", "*"] {
            assert!(ChannelName::of_user(bad).is_err(), "{bad:?}");
            assert!(!is_user_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn publishers_cannot_use_the_protocols_event_names() {
        assert_eq!(EventName::published("error"), Err(InvalidName::Reserved));
        assert!(EventName::configured("error").is_ok());
        assert!(EventName::published("order shipped").is_ok());
        for bad in ["", "a\nb", "a\rb", "a\0b", &"x".repeat(EventName::MAX + 1)] {
            assert!(EventName::published(bad).is_err(), "{bad:?}");
        }
    }
}
