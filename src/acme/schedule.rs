//! When a certificate is renewed, and when a failed attempt is made again. Pure: the time and the chance are arguments.

use std::time::{Duration, SystemTime};

use crate::tls::Leaf;

/// The wait after a first failure; each further one doubles it.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(60);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);
/// The longest wait that an authority is believed: more than the week after which its limits are counted anew is a mistake.
pub(super) const LONGEST_TOLD: Duration = Duration::from_secs(8 * 24 * 3600);

/// A number from 0 to 1000, by chance: it spreads over time what many do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance(u32);

impl Chance {
    /// Another one.
    pub(super) fn new() -> Self {
        Self(fastrand::u32(0..=1000))
    }

    /// That part of a time.
    pub(super) fn of(self, whole: Duration) -> Duration {
        whole * self.0 / 1000
    }
}

/// When a certificate is renewed: when a third of its life is left, or by chance up to a thirtieth earlier.
pub(super) fn due(leaf: &Leaf, chance: Chance) -> SystemTime {
    let life = leaf.not_after.duration_since(leaf.not_before).unwrap_or_default();
    let ahead = life / 3 + chance.of(life / 30);
    leaf.not_after.checked_sub(ahead).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// How long to wait after the last of `failures` in a row, of which there is one at least. `told` is what the authority asks
/// for, and is never fallen short of.
pub(super) fn wait(failures: u32, told: Option<Duration>, chance: Chance) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    // From four fifths of it to all of it.
    let wait = doubled * 4 / 5 + chance.of(doubled / 5);
    let told = told.unwrap_or_default().min(LONGEST_TOLD);
    if told > wait { told + chance.of(FIRST_WAIT) } else { wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_certificate_is_due_when_a_third_is_left() {
        let begin = SystemTime::UNIX_EPOCH + 1000 * DAY;
        let leaf = Leaf { names: Vec::new(), not_before: begin, not_after: begin + 90 * DAY };
        assert_eq!(due(&leaf, Chance(0)), begin + 60 * DAY);
        assert_eq!(due(&leaf, Chance(500)), begin + 60 * DAY - 36 * DAY / 24);
        assert_eq!(due(&leaf, Chance(1000)), begin + 57 * DAY);
        let backwards = Leaf { not_before: begin + 100 * DAY, ..leaf };
        assert_eq!(due(&backwards, Chance(0)), begin + 90 * DAY);
    }

    #[test]
    fn failures_are_waited_for_longer_and_longer() {
        let (min, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        for (failures, longest) in
            [(1, min), (2, 2 * min), (3, 4 * min), (9, 256 * min), (10, 6 * hour), (99, 6 * hour)]
        {
            assert_eq!(wait(failures, None, Chance(1000)), longest, "{failures}");
            assert_eq!(wait(failures, None, Chance(0)), longest * 4 / 5, "{failures}");
        }
        assert_eq!(wait(1, Some(hour), Chance(0)), hour);
        assert_eq!(wait(1, Some(hour), Chance(1000)), hour + min);
        assert_eq!(wait(10, Some(hour), Chance(1000)), 6 * hour);
        assert_eq!(wait(1, Some(400 * DAY), Chance(0)), 8 * DAY);
    }
}
