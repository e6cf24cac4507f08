//! What a client gets for whom there is no stream at the moment: the beginning of one, when to come back, and an abrupt
//! end.
//!
//! A native EventSource never comes back from a status that is not 200, and from a clean end a fetch-based client
//! does not.

use std::time::Duration;

use bytes::Bytes;

use super::settings::failed;
use crate::event::Event;
use crate::limits::{LimitKind, Limited};

/// The least that a client is asked to wait: the `retry` of a route may be a millisecond.
const LEAST: Duration = Duration::from_secs(1);
/// For a limit of the user's own, the wait is so many times as long: it takes a closed tab to change anything.
const OWN: u32 = 6;

/// The text of such a stream. The wait is that of the route, and up to twice as long at random: those who were refused
/// together are not to come back together.
pub(super) fn limited_text(limited: Limited, retry: Duration) -> Bytes {
    let base = retry.max(LEAST) * if limited.kind == LimitKind::User { OWN } else { 1 };
    let retry = (base.mul_f64(1.0 + fastrand::f64()) + limited.wait).as_millis();
    format!(": {limited}\nretry: {retry}\n\n").into()
}

/// The text of a stream whose history cannot be read. The wait is as random, for the same reason.
pub(super) fn unready_text(retry: Duration) -> Bytes {
    let retry = retry.max(LEAST).mul_f64(1.0 + fastrand::f64()).as_millis();
    let event = Event { retry: u32::try_from(retry).ok(), ..failed() };
    event.frame_without_id().text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_why_and_when_to_come_back() {
        let wait = Duration::from_millis(700);
        for (kind, retry, least, most) in [
            (LimitKind::Streams, 5000, 5700, 10_700),
            (LimitKind::User, 5000, 30_700, 60_700),
            (LimitKind::Rate, 1, 1700, 2700),
        ] {
            let limited = Limited { kind, wait };
            let text = limited_text(limited, Duration::from_millis(retry));
            let text = std::str::from_utf8(&text).unwrap();
            let (comment, rest) = text.split_once('\n').unwrap();
            assert_eq!(comment, format!(": {limited}"));
            let retry: u64 = rest.strip_prefix("retry: ").unwrap().trim_end().parse().unwrap();
            assert!((least..=most).contains(&retry), "{text}");
            assert!(rest.ends_with("\n\n"));
        }
    }

    #[test]
    fn one_without_history_says_so_and_when_to_come_back() {
        let text = unready_text(Duration::from_secs(5));
        let lines: Vec<_> = std::str::from_utf8(&text).unwrap().lines().collect();
        let retry: u64 = lines[1].strip_prefix("retry: ").unwrap().parse().unwrap();
        assert!((5000..=10_000).contains(&retry));
        assert_eq!(
            [lines[0], lines[2]],
            ["event: error", r#"data: {"error":"Internal Server Error","code":500}"#]
        );
    }
}
