//! Events that are of use for a while only: none is written when its time is over, wherever it waited.

use std::time::{Duration, Instant};

use crate::support::narrow::narrow_client;
use crate::support::{NO_APP, Sidestream, Subscriber, in_front_of};

/// Long enough that a busy machine delivers it in time to whom it can.
const TTL: Duration = Duration::from_secs(3);

const EVENTS: usize = 120;
const SIZE: usize = 50_000;

fn number(data: &str) -> usize {
    data.split(' ').next().unwrap().parse().unwrap()
}

/// Waits until what was published before is over.
fn outlive(since: Instant) {
    std::thread::sleep((TTL + Duration::from_millis(50)).saturating_sub(since.elapsed()));
}

#[test]
fn what_expires_behind_a_slow_reader_or_in_history_is_not_written() {
    let more = "[store]\nbytes = \"64MiB\"\n";
    let site = Sidestream::start(&in_front_of(NO_APP, "backlog = \"16MiB\"", more));
    let mut live = Subscriber::of(narrow_client(site.address()), "42");
    let mut quick = Subscriber::of(site.connect(), "42");
    let start = quick.last_id.clone();
    let text = "x".repeat(SIZE);
    for number in 0..EVENTS {
        site.publish(&format!(r#"{{"user": 42, "data": "{number} {text}"}}"#));
        assert_eq!(self::number(&quick.data()), number);
    }
    // One waits for it in its backlog, the other one in history, of which it has not read the first page.
    let mut catching_up = Subscriber::resume(narrow_client(site.address()), "42", &start);
    let short = site.publish(r#"{"user": 42, "data": "1000 short", "ttl": "3s"}"#);
    assert_eq!((short["delivered"].as_u64(), number(&quick.data())), (Some(3), 1000));
    let published = Instant::now();
    site.publish(&format!(r#"{{"user": 42, "data": "{EVENTS} after"}}"#));
    outlive(published);
    for reader in [&mut live, &mut catching_up] {
        for expected in 0..=EVENTS {
            assert_eq!(number(&reader.data()), expected);
        }
    }
    assert_eq!(number(&quick.data()), EVENTS);
    assert_eq!((site.count("evicted"), site.count("resets")), (0, 0));
}
