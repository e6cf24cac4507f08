//! Why a stream ended or will, and where that is counted.

use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::grant::unauthorized;
use super::settings::failed;
use crate::config::StreamRoute;
use crate::event::Frame;
use crate::metrics::{Cell, Counters};

/// `max_age` is shortened by up to this share at random, so that streams opened together do not end together.
const JITTER: f64 = 0.2;

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
        f.write_str(self.name())
    }
}

impl End {
    /// The word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Evicted => "evicted",
            Self::MaxAge => "max-age",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Kicked => "disconnected",
            Self::Operator => "operator",
            Self::StoreFailed => "store-failed",
            Self::Drain => "drain",
        }
    }

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

/// When a stream must end, and why: the earlier of its token's end and its route's `max_age`, shortened at random.
pub(super) fn ends(
    route: &StreamRoute,
    opened: Instant,
    expires: Option<SystemTime>,
) -> Option<(Instant, End)> {
    let max_age =
        route.max_age.map(|age| (opened + age.mul_f64(1.0 - JITTER * fastrand::f64()), End::MaxAge));
    let expiry = expires.map(|at| {
        let left = at.duration_since(SystemTime::now()).unwrap_or_default();
        // A token for longer than a clock can say is one that does not end.
        (opened.checked_add(left).unwrap_or(opened + Duration::from_secs(1 << 32)), End::Expired)
    });
    [max_age, expiry].into_iter().flatten().min_by_key(|(at, _)| *at)
}
