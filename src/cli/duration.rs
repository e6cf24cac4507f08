//! Durations as they are written in the configuration and on the command line: `30s`, `5m`, `1h`, `7d`.

use std::time::Duration;

/// Reads a whole number with a unit; `ms`, `s`, `m`, `h` and `d` are known. For clap, so the error is a sentence.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wanted = || "write a whole number and a unit, like 90s, 15m, 1h or 7d".to_owned();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wanted())?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(wanted()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_with_units() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "1", "h", "1 h", "-1h", "1.5h", "1w", "999999999999999999999s", "99999999999999999d"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
