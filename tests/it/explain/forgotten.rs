//! What history has let go of: by time, for a newer one, for want of room; and what nobody remembers.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{TOKEN, ask, assert_told, config, explain, notify, publish, sites};
use crate::support::{Client, Program, Subscriber};

#[test]
fn an_event_that_has_outlived_its_time_is_expired() {
    for site in sites("", "age = \"2s\"\n") {
        let tab = Subscriber::of(site.connect(), "42");
        let start = tab.last_id.clone();
        drop(tab);
        site.becomes("streams", 0);
        let short = publish(&site, &json!({ "user": 42, "data": "hi", "ttl": "1s" }));
        let kept = notify(&site, "42");
        assert_told(&site, ("42", &kept), "not-connected", &["ended-before"]);
        site.comes_true(
            || "its ttl is over".to_owned(),
            || explain(&site, "42", &short)["outcome"] == "expired",
        );
        let said = explain(&site, "42", &short);
        assert_eq!(said["event"]["standing"], "ttl-over", "{said}");
        assert!(said["event"]["expires"].as_u64() > said["event"]["at"].as_u64(), "{said}");
        // One that comes back for it is given what is still of use.
        let mut back = Subscriber::resume(site.connect(), "42", &start);
        assert_eq!(back.event().id.as_ref(), Some(&kept));
        assert_told(&site, ("42", &short), "expired", &["passed-over", "ended-before"]);
        assert_told(&site, ("42", &kept), "delivered", &["written", "ended-before"]);

        let old = notify(&site, "44");
        site.comes_true(
            || "it is too old".to_owned(),
            || explain(&site, "44", &old)["event"]["standing"] == "too-old",
        );
        assert_told(&site, ("44", &old), "expired", &[]);
    }
}

#[test]
fn a_later_event_of_its_key_is_named() {
    for site in sites("", "") {
        let keyed = || publish(&site, &json!({ "user": 42, "data": "hi", "collapse": "cart" }));
        let other = publish(&site, &json!({ "user": 42, "data": "hi", "collapse": "other" }));
        let tab = Subscriber::of(site.connect(), "42");
        let start = tab.last_id.clone();
        drop(tab);
        site.becomes("streams", 0);
        let [first, second] = [keyed(), keyed()];
        assert_told(&site, ("42", &first), "collapsed", &["ended-before"]);
        let reason = explain(&site, "42", &first)["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(&format!("; {second} took its place at ")), "{reason}");
        assert_told(&site, ("42", &other), "not-connected", &["opened-after"]);
        let mut back = Subscriber::resume(site.connect(), "42", &start);
        assert_eq!(back.event().id.as_ref(), Some(&second));
        assert_told(&site, ("42", &first), "collapsed", &["passed-over", "ended-before"]);
        let third = keyed();
        assert_eq!(back.event().id.as_ref(), Some(&third));
        // Who has had it has had it.
        assert_told(&site, ("42", &second), "delivered", &["written", "ended-before"]);
    }
}

#[test]
fn what_was_dropped_for_newer_ones_is_evicted_and_whoever_comes_for_it_is_told_of_a_gap() {
    for site in sites("", "events = 2\n") {
        let tab = Subscriber::of(site.connect(), "42");
        let start = tab.last_id.clone();
        drop(tab);
        site.becomes("streams", 0);
        let first = notify(&site, "42");
        for _ in 0..4 {
            notify(&site, "42");
        }
        site.comes_true(
            || "it is dropped".to_owned(),
            || explain(&site, "42", &first)["outcome"] == "evicted",
        );
        assert_told(&site, ("42", &first), "evicted", &["ended-before"]);
        let mut back = Subscriber::resume(site.connect(), "42", &start);
        assert_eq!(back.event().event, "reset");
        assert_told(&site, ("42", &first), "gap", &["gap", "ended-before"]);
        let reason = explain(&site, "42", &first)["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with("1 stream of user 42 had to be told of a gap in its place"), "{reason}");
    }
}

#[test]
fn what_is_unread_is_told_until_it_is_given() {
    for site in sites("replay = \"unread\"\n", "") {
        let id = notify(&site, "42");
        assert_told(&site, ("42", &id), "not-connected", &[]);
        assert_eq!(explain(&site, "42", &id)["event"]["unread"], true);
        let mut tab = Subscriber::of(site.connect(), "42");
        assert_eq!(tab.event().id.as_ref(), Some(&id));
        assert_told(&site, ("42", &id), "delivered", &["written"]);
        site.comes_true(|| "it is read".to_owned(), || explain(&site, "42", &id)["event"]["unread"] == false);
        let reason = explain(&site, "42", &id)["streams"][0]["reason"].clone();
        assert_eq!(
            reason,
            "it was written with what was unread when the stream was opened, or had been read by then"
        );
        // Of other channels such a stream is given what comes next.
        drop(tab);
        site.becomes("streams", 0);
        let id = publish(&site, &json!({ "channel": "all", "data": "hi" }));
        let _tab = Subscriber::of(site.connect(), "42");
        assert_told(&site, ("42", &id), "not-connected", &["opened-after", "ended-before"]);
    }
}

#[test]
fn what_was_before_the_process_is_not_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("kind = \"disk\"\npath = \"{}\"\n", folder.path().join("store").display());
    let admin = folder.path().join("admin.sock");
    let config =
        config("", &store).replace("127.0.0.1:0\"\ntoken", &format!("unix:{}\"\ntoken", admin.display()));
    let question = |id: &str| -> Value {
        let mut client = Client::connect(&format!("unix:{}", admin.display()));
        let (status, said) = ask(&mut client, &format!("/explain?user=42&id={id}"), TOKEN);
        assert_eq!(status, 200, "{said}");
        said
    };
    let notify = |program: &Program, user: u32| {
        let line = json!({ "user": user, "data": "hi" }).to_string();
        crate::support::publish(&program.publish_socket(), &line)["id"].as_str().unwrap().to_owned()
    };
    let program = Program::run(&config);
    let mut tab = Subscriber::of(Client::connect(&program.address), "42");
    let start = tab.last_id.clone();
    let (id, other) = (notify(&program, 42), notify(&program, 43));
    assert_eq!(tab.event().id.as_ref(), Some(&id));
    assert_eq!(question(&id)["outcome"], "delivered");
    program.signal(Signal::TERM);
    assert_eq!(program.end().code, Some(0));

    let program = Program::run(&config);
    let said = question(&id);
    assert_eq!((&said["outcome"], &said["event"]["standing"]), (&json!("unknown"), &json!("kept")), "{said}");
    assert!(said["reason"].as_str().unwrap().contains("streams that ended before 20"), "{said}");
    assert_eq!(said["records"]["reach_back"], false);
    let said = question(&other);
    assert_eq!(
        (&said["outcome"], &said["event"]["standing"]),
        (&json!("unknown"), &json!("unknown")),
        "{said}"
    );
    assert!(said["reason"].as_str().unwrap().contains("what it was for is not remembered"), "{said}");
    // A stream of now that is given it is known all the same.
    let mut back = Subscriber::resume(Client::connect(&program.address), "42", &start);
    assert_eq!(back.event().id.as_ref(), Some(&id));
    assert_eq!(question(&id)["outcome"], "delivered");
    drop((back, program));
}
