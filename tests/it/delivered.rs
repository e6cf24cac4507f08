//! The count that a publisher is told: the streams that its event was handed to, once each, whichever store keeps it.

use crate::support::{NO_APP, Sidestream, Subscriber, in_front_of, token};

fn open(site: &Sidestream, user: &str, channels: &str, last_id: &str) -> Subscriber {
    let target = format!("/events?token={}&channels={channels}", token(user));
    Subscriber::open(site.connect(), &target, &format!("Last-Event-ID: {last_id}\r\n"))
}

fn counted_on(store: &str) {
    let site = Sidestream::start(&in_front_of(NO_APP, "allow = [\"c*\"]", store));
    let count = |to: &str, more: &str| {
        let reply = site.publish(&format!(r#"{{"channels": [{to}], "data": "x"{more}}}"#));
        reply["delivered"].as_u64().unwrap_or_else(|| panic!("{reply}"))
    };
    assert_eq!(count(r#""c1""#, ""), 0);
    // On both workers, as it happens: some with one of the channels and some with both.
    let mut streams: Vec<_> =
        (0..12).map(|n| open(&site, &n.to_string(), ["c1", "c2", "c1,c2"][n % 3], "")).collect();
    let keyed = r#", "key": "k""#;
    for (to, more, expected) in [
        (r#""c1""#, "", 8),
        (r#""c1", "c2""#, "", 12),
        (r#""c1", "c2", "c3""#, keyed, 12),
        // Of use for a while, so that only the workers know.
        (r#""c2""#, r#", "ttl": "1h""#, 8),
        (r#""c3""#, "", 0),
    ] {
        assert_eq!(count(to, more), expected, "{to}{more}");
    }
    // One that is cut off is counted no more, nor is one that has gone; who comes back and catches up is.
    let kicked = site.post("/disconnect", r#"{"user": "2"}"#).text();
    assert_eq!(kicked, r#"{"disconnected":1}"#);
    assert_eq!(count(r#""c1", "c2""#, ""), 11);
    let last_id = streams.remove(0).last_id;
    site.becomes("streams", 10);
    assert_eq!((count(r#""c1""#, ""), count(r#""c1", "c2""#, "")), (6, 10));
    let mut back = open(&site, "0", "c1", &last_id);
    assert_eq!((count(r#""c1""#, ""), back.data()), (7, "x".to_owned()));
    // The same publication again reaches nobody, and its publisher gets the first answer.
    assert_eq!(count(r#""c1", "c2", "c3""#, keyed), 12);
}

#[test]
fn it_is_true_in_memory() {
    counted_on("");
}

#[test]
fn it_is_true_on_disk() {
    for sync in ["always", "interval"] {
        counted_on(&format!("[store]\nkind = \"disk\"\npath = \"store\"\nsync = \"{sync}\"\n"));
    }
}
