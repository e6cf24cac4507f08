//! What the status page does: a test event, and the end of a stream.

use serde_json::json;

use super::{TOKEN, look_with_token, press, press_with, site};
use crate::support::{Sidestream, Subscriber};

/// The name of a user's stream.
fn stream_of(sidestream: &Sidestream, user: &str) -> String {
    let found = look_with_token(sidestream, &format!("/status/streams?search=user:{user}")).json();
    assert_eq!(found["count"], 1, "{found}");
    found["streams"][0]["stream"].as_str().unwrap().to_owned()
}

#[test]
fn an_event_is_published_like_any_other() {
    let sidestream = site().start();
    let mut stream = Subscriber::of(sidestream.connect(), "7");
    let sent = press(&sidestream, "/status/publish", r#"{"user": 7, "event": "test", "data": {"a": 1}}"#);
    let said = stream.event();
    assert_eq!((said.event.as_str(), said.data.as_deref()), ("test", Some(r#"{"a": 1}"#)));
    assert_eq!((sent.status, sent.json()), (200, json!({ "id": said.id.unwrap(), "delivered": 1 })));

    let refused = press(&sidestream, "/status/publish", r#"{"event": "test"}"#);
    assert_eq!((refused.status, refused.json()["error"].as_str()), (400, Some("invalid_publication")));
    let large = format!(r#"{{"user": 7, "data": "{}"}}"#, "x".repeat(70_000));
    assert_eq!(press(&sidestream, "/status/publish", &large).status, 413);
}

#[test]
fn the_stream_that_was_seen_is_ended_and_no_other() {
    let sidestream = site().workers(2).start();
    let mut others: Vec<_> = (0..4).map(|_| Subscriber::of(sidestream.connect(), "7")).collect();
    let ended = Subscriber::of(sidestream.connect(), "8");
    sidestream.becomes("streams", 5);
    let (name, last_id) = (stream_of(&sidestream, "8"), ended.last_id.clone());
    let body = json!({ "stream": name }).to_string();
    let said = press(&sidestream, "/status/end", &body);
    assert_eq!((said.status, said.json()), (200, json!({ "ended": true })));
    assert_eq!(ended.end(), "");
    sidestream.becomes("streams", 4);
    assert_eq!(sidestream.count("ended_by_operator"), 1);
    sidestream.comes_true(
        || "the log says so".to_owned(),
        || sidestream.access_log().contains(r#""reason":"operator""#),
    );

    // Its client comes back with its last id, perhaps to the same place: that is another stream.
    sidestream.publish(r#"{"user": 8, "data": "missed"}"#);
    let mut back = Subscriber::resume(sidestream.connect(), "8", &last_id);
    assert_eq!(back.data(), "missed");
    assert_eq!(press(&sidestream, "/status/end", &body).json(), json!({ "ended": false }));
    assert_ne!(stream_of(&sidestream, "8"), name);
    sidestream.publish(r#"{"channel": "all", "data": "x"}"#);
    assert!(others.iter_mut().chain([&mut back]).all(|stream| stream.data() == "x"));

    for wrong in ["{}", r#"{"stream": "x"}"#, r#"{"stream": "9-0-0"}"#, r#"{"stream": 1}"#, "nonsense"] {
        assert_eq!(press(&sidestream, "/status/end", wrong).status, 400, "{wrong}");
    }
}

#[test]
fn nothing_is_done_for_another_page_or_by_a_form() {
    let sidestream = site().start();
    let _stream = Subscriber::of(sidestream.connect(), "7");
    let end = json!({ "stream": stream_of(&sidestream, "7") }).to_string();
    let authorized = format!("Authorization: Bearer {TOKEN}\r\n");
    for (fields, status) in [
        ("Content-Type: application/json\r\n".to_owned(), 401),
        (format!("{authorized}Content-Type: application/json\r\nOrigin: https://evil.example\r\n"), 403),
        (format!("{authorized}Content-Type: application/json\r\nOrigin: http://localhost:1\r\n"), 403),
        (format!("{authorized}Content-Type: application/json\r\nSec-Fetch-Site: same-site\r\n"), 403),
        (format!("{authorized}Content-Type: text/plain\r\n"), 415),
        (format!("{authorized}Content-Type: application/x-www-form-urlencoded\r\n"), 415),
        (authorized.clone(), 415),
    ] {
        for (path, body) in [("/status/end", &*end), ("/status/publish", r#"{"user": 7, "data": 1}"#)] {
            assert_eq!(press_with(&sidestream, path, &fields, body).status, status, "{path} {fields}");
        }
    }
    assert_eq!((sidestream.count("streams"), sidestream.count("deliveries")), (1, 0));
    let own = format!("{authorized}Content-Type: application/json\r\nOrigin: http://localhost\r\n");
    assert_eq!(press_with(&sidestream, "/status/end", &own, &end).status, 200);
    let foreign = format!("{authorized}Origin: https://evil.example\r\n");
    assert_eq!(press_with(&sidestream, "/reload", &foreign, "").status, 403);
}
