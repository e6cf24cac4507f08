//! What waits for a reader who does not read, and what becomes of it.

use serde_json::json;

use super::{assert_told, config, explain, publish};
use crate::support::narrow::narrow_client;
use crate::support::{Sidestream, Subscriber};

#[test]
fn what_waits_is_queued_and_cut_off_with_its_stream() {
    let site = Sidestream::start(&config("backlog = \"4MiB\"", "bytes = \"64MiB\"\n"));
    let mut slow = Subscriber::of(narrow_client(site.address()), "42");
    let text = "x".repeat(50_000);
    let big = || publish(&site, &json!({ "user": 42, "data": text }));
    let first = big();
    let mut last = first.clone();
    while explain(&site, "42", &last)["outcome"] != "queued" {
        last = big();
    }
    let behind = big();
    assert_told(&site, ("42", &behind), "queued", &["queued"]);
    let said = explain(&site, "42", &behind);
    let waiting = said["streams"][0]["waiting_bytes"].as_u64().unwrap();
    assert!(waiting > 50_000, "{said}");
    assert_eq!(said["streams"][0]["reason"], format!("it waits in the stream's backlog: {waiting} bytes do"));
    // All before what waits has been taken by the socket.
    if first != last {
        assert_told(&site, ("42", &first), "delivered", &["written"]);
    }

    // It reads again.
    while slow.event().id.as_ref() != Some(&behind) {}
    assert_told(&site, ("42", &behind), "delivered", &["written"]);

    // It does not, until it is cut off.
    let mut last = big();
    while explain(&site, "42", &last)["outcome"] != "queued" {
        last = big();
    }
    while site.count("evicted") == 0 {
        big();
    }
    assert_told(&site, ("42", &last), "cut-off", &["cut-off"]);
    let said = explain(&site, "42", &last);
    assert_eq!(said["streams"][0]["reason"], "it waited when the stream ended: evicted");
    let reason = said["reason"].as_str().unwrap();
    assert!(reason.starts_with("1 stream of user 42 ended before it was written; it is kept"), "{reason}");
    // The client comes back with the last id that it has.
    let mut back = Subscriber::resume(site.connect(), "42", &behind);
    while back.event().id.as_ref() != Some(&last) {}
    assert_told(&site, ("42", &last), "delivered", &["written", "cut-off"]);
}

#[test]
fn one_who_catches_up_has_it_waiting_in_history() {
    let site = Sidestream::start(&config("", "bytes = \"64MiB\"\n"));
    let mut tab = Subscriber::of(site.connect(), "42");
    let start = tab.last_id.clone();
    let text = "x".repeat(50_000);
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(publish(&site, &json!({ "user": 42, "data": text })));
        assert_eq!(tab.event().id.as_ref(), ids.last());
    }
    drop(tab);
    site.becomes("streams", 0);
    let mut back = Subscriber::resume(narrow_client(site.address()), "42", &start);
    let last = &ids[99];
    let said = explain(&site, "42", last);
    assert_eq!(said["streams"][1]["state"], "queued", "{said}");
    assert_eq!(
        said["streams"][1]["reason"],
        "the stream reads what its client missed, and has not come to it"
    );
    while back.event().id.as_ref() != Some(last) {}
    assert_told(&site, ("42", last), "delivered", &["written", "written"]);
}

#[test]
fn what_expires_in_a_backlog_is_not_called_written() {
    let site = Sidestream::start(&config("backlog = \"16MiB\"", "bytes = \"64MiB\"\n"));
    let mut slow = Subscriber::of(narrow_client(site.address()), "42");
    let text = "x".repeat(50_000);
    let mut last = publish(&site, &json!({ "user": 42, "data": text }));
    while explain(&site, "42", &last)["outcome"] != "queued" {
        last = publish(&site, &json!({ "user": 42, "data": text }));
    }
    let short = publish(&site, &json!({ "user": 42, "data": "hi", "ttl": "1s" }));
    assert_told(&site, ("42", &short), "queued", &["queued"]);
    let after = publish(&site, &json!({ "user": 42, "data": "after" }));
    let is_over = || explain(&site, "42", &short)["event"]["standing"] == "ttl-over";
    site.comes_true(|| "it is over".to_owned(), is_over);
    while slow.event().id.as_ref() != Some(&after) {}
    assert_told(&site, ("42", &short), "expired", &["passed-over"]);
    assert_told(&site, ("42", &after), "delivered", &["written"]);
}
