//! Points in time, as numbers: whoever decides by time is told it, so that tests can move it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time by the system's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// This time and `later`; the largest possible time if that is too much.
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl From<SystemTime> for Timestamp {
    /// A time before 1970 becomes 0.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    /// As in RFC 3339, in UTC with milliseconds: `2026-11-21T17:03:00.250Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: u64 = 24 * 60 * 60;
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (days, of_day) = (seconds / DAY, seconds % DAY);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// The year, month and day of a day since 1970 began. Years are counted from March, so that the day that only some have is
/// their last; 400 of them have 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    // From the first of March of the year 0.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // Months from March on: 31, 30, 31, 30, 31 days, over and over.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let is_after_new_year = month >= 10;
    let month = if is_after_new_year { month - 9 } else { month + 3 };
    (era * 400 + year + u64::from(is_after_new_year), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_a_date() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_709_251_199, "2024-02-29T23:59:59"),
            (1_795_280_580, "2026-11-21T17:03:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(Timestamp(1000 * seconds + 7).to_string(), format!("{date}.007Z"));
        }
        // Every day of some centuries, as another hand has it.
        for day in (0..150_000).step_by(13) {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400);
            let http = httpdate::fmt_http_date(time);
            let shown = Timestamp::from(time).to_string();
            assert_eq!((&shown[..4], &shown[8..10]), (&http[12..16], &http[5..7]), "{http}");
        }
    }
}
