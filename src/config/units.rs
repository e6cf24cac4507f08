//! Durations and sizes as people write them: `"30s"`, `"64KiB"`. Pure.
//!
//! Invariant: a number never goes without its unit, so nobody has to know which unit a key is in.

use std::time::Duration;

use super::problem::Fault;

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads a duration: a whole number and one of `ms`, `s`, `m`, `h`, `d`.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    let (number, unit) = split(text);
    let scale = DURATION_UNITS.iter().find(|(name, _)| *name == unit);
    match (number, scale) {
        (Some(number), Some((_, scale))) => {
            number.checked_mul(*scale).map(Duration::from_millis).ok_or_else(|| Fault::new("is too long"))
        }
        (Some(number), None) if unit.is_empty() => Err(bare_duration(number)),
        (Some(number), None) => Err(Fault::new(format!("has no unit `{unit}`"))
            .hint(format!("write \"{number}\" and one of ms, s, m, h, d"))),
        (None, _) => {
            Err(Fault::new("is not a duration").hint("write a whole number and a unit, like \"30s\""))
        }
    }
}

/// Reads a size in bytes: a whole number and one of `B`, `KiB`, `MiB`, `GiB`.
pub(super) fn size(text: &str) -> Result<u64, Fault> {
    let (number, unit) = split(text);
    let scale = SIZE_UNITS.iter().find(|(name, _)| *name == unit);
    match (number, scale) {
        (Some(number), Some((_, scale))) => {
            number.checked_mul(*scale).ok_or_else(|| Fault::new("is too large"))
        }
        (Some(number), None) if unit.is_empty() => Err(bare_size(number)),
        (Some(number), None) => {
            let near = match unit.chars().next().map(|c| c.to_ascii_lowercase()) {
                Some('k') => "KiB",
                Some('m') => "MiB",
                Some('g') => "GiB",
                _ => "B",
            };
            Err(Fault::new(format!("has no unit `{unit}`"))
                .hint(format!("units are B, KiB, MiB, GiB: write \"{number}{near}\"")))
        }
        (None, _) => Err(Fault::new("is not a size").hint("write a whole number and a unit, like \"64KiB\"")),
    }
}

/// A duration without its unit.
pub(super) fn bare_duration(number: u64) -> Fault {
    Fault::new("needs its unit").hint(format!("write \"{number}s\" if seconds are meant"))
}

/// A size without its unit.
pub(super) fn bare_size(number: u64) -> Fault {
    Fault::new("needs its unit").hint(format!("write \"{}\" if bytes are meant", show_size(number)))
}

/// Writes a duration the way it is read.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, scale) = largest(&DURATION_UNITS, millis).unwrap_or(("s", 1_000));
    format!("{}{unit}", millis / scale)
}

/// Writes a size the way it is read.
pub(super) fn show_size(bytes: u64) -> String {
    let (unit, scale) = largest(&SIZE_UNITS, bytes).unwrap_or(("B", 1));
    format!("{}{unit}", bytes / scale)
}

/// The largest unit that divides a number; none for 0.
fn largest(units: &[(&'static str, u64)], number: u64) -> Option<(&'static str, u64)> {
    units.iter().rev().find(|(_, scale)| number > 0 && number.is_multiple_of(*scale)).copied()
}

/// The number at the start and what follows it. No number is also one that does not fit.
fn split(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.parse().ok(), unit.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_back() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(show_duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn sizes_are_read_and_written_back() {
        for (text, bytes) in
            [("512B", 512), ("64KiB", 65_536), ("10MiB", 10_485_760), ("1GiB", 1_073_741_824), ("0B", 0)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(show_size(bytes), text);
        }
    }

    #[test]
    fn what_is_no_unit_is_told_what_is() {
        for (text, message, hint) in [
            ("30", "needs its unit", "write \"30s\" if seconds are meant"),
            ("30 sec", "has no unit `sec`", "write \"30\" and one of ms, s, m, h, d"),
            ("1.5s", "has no unit `.5s`", "write \"1\" and one of ms, s, m, h, d"),
            ("-1s", "is not a duration", "write a whole number and a unit, like \"30s\""),
            ("", "is not a duration", "write a whole number and a unit, like \"30s\""),
        ] {
            assert_eq!(duration(text), Err(Fault::new(message).hint(hint)), "{text}");
        }
        assert_eq!(duration("999999999999999999d"), Err(Fault::new("is too long")));
        for (text, message, hint) in [
            ("65536", "needs its unit", "write \"64KiB\" if bytes are meant"),
            ("10MB", "has no unit `MB`", "units are B, KiB, MiB, GiB: write \"10MiB\""),
            ("10k", "has no unit `k`", "units are B, KiB, MiB, GiB: write \"10KiB\""),
            ("big", "is not a size", "write a whole number and a unit, like \"64KiB\""),
        ] {
            assert_eq!(size(text), Err(Fault::new(message).hint(hint)), "{text}");
        }
        assert_eq!(size("99999999999999999GiB"), Err(Fault::new("is too large")));
    }
}
