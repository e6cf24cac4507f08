//! `replay` and `read`: what a subscriber gets that comes, and when it counts as read.

use crate::config::problem::Problem;
use crate::config::reader::Section;

/// The channel of the inbox, as a route's `channels` names it.
const OWN_CHANNEL: &str = "user:{user}";

/// What a subscriber gets first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// What came since its last id.
    Since,
    /// The same, and without an id what its user has not read.
    Unread(ReadWhen),
    /// Nothing.
    Nothing,
}

/// When an event of a user's own channel counts as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadWhen {
    /// When it was written to a stream of the user, or is said to be read.
    Delivered,
    /// When the app or the browser says so.
    Acknowledged,
}

impl Replay {
    /// Reads both keys of a `[route.stream]` with these channels.
    pub(super) fn read(section: &Section<'_>, channels: &[String]) -> Self {
        let unread = Self::Unread(ReadWhen::Delivered);
        let choices = [("since", Self::Since), ("unread", unread), ("none", Self::Nothing)];
        let replay = section.value("replay").map(|value| value.choice(&choices, &[]));
        let modes = [("delivered", ReadWhen::Delivered), ("ack", ReadWhen::Acknowledged)];
        let when = section.value("read").map(|value| value.choice(&modes, &[]));
        match (replay, when) {
            (Some(Some(Self::Unread(default))), when) => {
                require_a_user(section, channels);
                Self::Unread(when.flatten().unwrap_or(default))
            }
            // A `replay` that is not understood may have been meant to be the right one.
            (Some(Some(_)) | None, Some(_)) => {
                let problem =
                    Problem::new("`read` is for streams of what is unread").at(section.key_span("read"));
                section.report.add(problem.hint("add replay = \"unread\""));
                Self::Since
            }
            (replay, _) => replay.flatten().unwrap_or(Self::Since),
        }
    }

    /// Whether the route shows what is unread, and when that counts as read.
    pub fn unread(self) -> Option<ReadWhen> {
        match self {
            Self::Unread(when) => Some(when),
            Self::Since | Self::Nothing => None,
        }
    }
}

/// Reports a stream of what is unread that has no user, or not the channel that it is about.
fn require_a_user(section: &Section<'_>, channels: &[String]) {
    let at = section.value_span("replay");
    if section.is_empty_list("auth") {
        let problem =
            Problem::new("only somebody who is known has read anything, and `auth` lets anybody in");
        section.report.add(problem.at(at).hint("name a provider under `auth`"));
    } else if !channels.iter().any(|channel| channel == OWN_CHANNEL) {
        let problem =
            Problem::new("what is unread is in the user's own channel, which `channels` does not name");
        section.report.add(problem.at(at).hint(format!("add \"{OWN_CHANNEL}\" to `channels`")));
    }
}
