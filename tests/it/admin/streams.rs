//! The table of streams and channels, which needs the token.

use serde_json::Value;

use super::{ask, look, look_with_token, site};
use crate::support::h2_session::H2Session;
use crate::support::{Sidestream, Subscriber, tls, token};

/// What is found.
fn find(sidestream: &Sidestream, query: &str) -> Value {
    let found = look_with_token(sidestream, &format!("/status/streams?{query}"));
    assert_eq!(found.status, 200, "{}", found.text());
    found.json()
}

/// One field of what is found, in order.
fn each(found: &Value, field: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    found["streams"].as_array().unwrap().iter().map(|stream| text(&stream[field])).collect()
}

#[test]
fn users_are_shown_to_nobody_without_the_token() {
    let sidestream = site().start();
    for path in ["/status/streams", "/status/channels"] {
        assert_eq!(look(&sidestream, path).status, 401, "{path}");
        let wrong = "Host: localhost\r\nAuthorization: Bearer the-admin-tokem\r\n";
        assert_eq!(ask(&mut sidestream.admin(), "GET", path, wrong).status, 401, "{path}");
    }
}

#[test]
fn a_stream_is_found_by_its_user_its_channel_its_address_and_its_route() {
    let sidestream = site().workers(2).start();
    let _streams: Vec<_> = ["7", "8", "Ana"].map(|user| Subscriber::of(sidestream.connect(), user)).into();
    sidestream.becomes("streams", 3);
    let id = sidestream.publish(r#"{"user": "Ana", "data": "hello"}"#)["id"].as_str().unwrap().to_owned();
    for (text, count) in
        [("", 3), ("ana", 1), ("USER:7", 1), ("all", 3), ("127.0.0", 3), ("%2Fevents", 3), ("nobody", 0)]
    {
        let found = find(&sidestream, &format!("search={text}"));
        assert_eq!(found["count"], count, "{text}: {found}");
        assert_eq!(each(&found, "user").len(), count, "{text}");
    }
    let found =
        sidestream.comes(|| find(&sidestream, "search=ana"), |found| found["streams"][0]["events"] == 1);
    assert_eq!(found["missing_workers"], Value::Array(Vec::new()));
    let stream = &found["streams"][0];
    assert_eq!(stream["channels"], serde_json::json!(["user:Ana", "all"]));
    for (field, expected) in [
        ("user", "Ana"),
        ("route", "/events"),
        ("address", "127.0.0.1"),
        ("last_id", &id),
        ("protocol", "HTTP/1.1"),
    ] {
        assert_eq!(stream[field], expected, "{stream}");
    }
    assert_eq!(stream["backlog"], 0);
    assert!(stream["age"].as_f64().unwrap() < 600.0);
}

#[test]
fn protocols_are_told_apart() {
    let sidestream = site().tls(&[&["test"]]).start();
    let target = format!("/events?token={}", token("7"));
    let _one = Subscriber::open(tls::connect(sidestream.address(), "test"), &target, "");
    let mut session = H2Session::connect(sidestream.address());
    let _other = session.subscribe("8");
    assert_eq!(each(&find(&sidestream, "order=oldest"), "protocol"), ["HTTP/1.1, TLS", "HTTP/2"]);
}

#[test]
fn pages_follow_each_other_and_orders_are_what_they_say() {
    let sidestream = site().workers(2).start();
    let mut streams: Vec<_> =
        (0..45).map(|user| Subscriber::of(sidestream.connect(), &format!("u{user}"))).collect();
    sidestream.becomes("streams", 45);
    let mut seen = Vec::new();
    for (page, length) in [(1, 20), (2, 20), (3, 5), (4, 0)] {
        let found = find(&sidestream, &format!("order=oldest&page={page}"));
        assert_eq!((&found["count"], &found["pages"]), (&45.into(), &3.into()));
        assert_eq!(each(&found, "user").len(), length, "page {page}");
        seen.extend(each(&found, "user"));
    }
    let opened: Vec<_> = (0..45).map(|user| format!("u{user}")).collect();
    assert_eq!(seen, opened, "they were opened one after another");
    assert_eq!(each(&find(&sidestream, "order=newest"), "user")[0], "u44");
    for _ in 0..3 {
        sidestream.publish(r#"{"user": "u30", "data": "x"}"#);
        streams[30].event();
    }
    sidestream.becomes("deliveries", 3);
    assert_eq!(each(&find(&sidestream, "order=events"), "user")[0], "u30");
    for wrong in ["order=fastest", "page=0", "page=51", "page=x", &format!("search={}", "x".repeat(201))] {
        assert_eq!(look_with_token(&sidestream, &format!("/status/streams?{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn one_who_does_not_read_is_found_by_its_backlog() {
    let sidestream = site().start();
    let _reads = Subscriber::of(sidestream.connect(), "7");
    let _silent = Subscriber::of(sidestream.connect(), "8");
    sidestream.becomes("streams", 2);
    let event = format!(r#"{{"user": 8, "data": "{}"}}"#, "x".repeat(200_000));
    let found = sidestream.comes(
        || {
            // Until its socket takes no more: then one waits, however large it is.
            if sidestream.count("streams_behind") == 0 {
                sidestream.publish(&event);
            }
            find(&sidestream, "order=backlog")
        },
        |found| found["streams"][0]["backlog"].as_u64() > Some(0),
    );
    assert_eq!(each(&found, "user")[0], "8");
}

#[test]
fn channels_with_several_streams_are_told_the_largest_first() {
    let sidestream = site().workers(2).start();
    let mut streams: Vec<_> = (0..5).map(|_| Subscriber::of(sidestream.connect(), "7")).collect();
    streams.extend((0..2).map(|_| Subscriber::of(sidestream.connect(), "8")));
    streams.push(Subscriber::of(sidestream.connect(), "9"));
    sidestream.becomes("streams", 8);
    let id = sidestream.publish(r#"{"user": 8, "data": "x"}"#)["id"].clone();
    let told = look_with_token(&sidestream, "/status/channels").json();
    let channels = told["channels"].as_array().unwrap();
    let counts: Vec<_> = channels
        .iter()
        .map(|one| (one["channel"].as_str().unwrap(), one["streams"].as_u64().unwrap()))
        .collect();
    assert_eq!(counts, [("all", 8), ("user:7", 5), ("user:8", 2)]);
    assert_eq!((&channels[2]["events"], &channels[2]["last_id"]), (&1.into(), &id));
    drop(streams);
    sidestream.becomes("streams", 0);
    assert_eq!(
        look_with_token(&sidestream, "/status/channels").json()["channels"].as_array().unwrap().len(),
        0
    );
}
