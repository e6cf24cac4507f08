//! Why a stream ended, and where that is counted.

use std::fmt;

use super::grant::unauthorized;
use super::settings::failed;
use crate::event::Frame;
use crate::metrics::{Cell, Counters};

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client went away.
    Gone,
    /// The client did not read, and its backlog was full.
    Evicted,
    /// It was open for as long as the route allows.
    MaxAge,
    /// Its token expired.
    Expired,
    /// What it was let in by is not the configuration's any more.
    Revoked,
    /// The app asked for it.
    Kicked,
    /// The operator asked for it.
    Operator,
    /// History cannot be read.
    StoreFailed,
    /// The process is ending.
    Drain,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "gone",
            Self::Evicted => "evicted",
            Self::MaxAge => "max-age",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Kicked => "disconnected",
            Self::Operator => "operator",
            Self::StoreFailed => "store-failed",
            Self::Drain => "drain",
        })
    }
}

impl End {
    /// What a client is told before its stream ends.
    pub(super) fn last_words(self) -> Option<Frame> {
        let event = match self {
            Self::Expired => unauthorized(),
            Self::StoreFailed => failed(),
            Self::Gone | Self::Evicted | Self::MaxAge | Self::Revoked => return None,
            Self::Kicked | Self::Operator | Self::Drain => return None,
        };
        Some(event.frame_without_id())
    }

    /// Where it is counted.
    pub(super) fn cell(self, counters: &Counters) -> &Cell {
        match self {
            Self::Gone => &counters.gone,
            Self::Evicted => &counters.evicted,
            Self::MaxAge => &counters.ended_by_age,
            Self::Expired => &counters.ended_by_expiry,
            Self::Revoked => &counters.revoked,
            Self::Kicked => &counters.disconnected,
            Self::Operator => &counters.ended_by_operator,
            Self::StoreFailed => &counters.ended_by_store,
            Self::Drain => &counters.drained,
        }
    }
}
