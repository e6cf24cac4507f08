//! What a quiet stream says.

use crate::support::{NO_APP, Said, Sidestream, Subscriber, in_front_of};

fn site(heartbeat: &str) -> Sidestream {
    Sidestream::start(&in_front_of(NO_APP, &format!("heartbeat = {heartbeat}"), ""))
}

#[test]
fn a_comment_is_one_line_and_no_blank_one() {
    let site = site("{ every = \"15ms\", comment = \"still here\" }");
    let mut subscriber = Subscriber::of(site.connect(), "42");
    for _ in 0..3 {
        assert_eq!(subscriber.line(), ":still here");
    }
}

#[test]
fn an_event_has_no_id_unless_it_is_to_have_one() {
    let site = site("{ every = \"15ms\", event = \"ping\", data = '{\"type\": \"ping\"}' }");
    let mut subscriber = Subscriber::of(site.connect(), "42");
    let ping = Said { id: None, event: "ping".to_owned(), data: Some("{\"type\": \"ping\"}".to_owned()) };
    for _ in 0..3 {
        assert_eq!(subscriber.event(), ping);
    }
}

#[test]
fn an_id_in_a_heartbeat_is_the_subscribers_own_and_not_the_newest() {
    let site = site("{ every = \"15ms\", data = \"ping\", id = true }");
    let mut subscriber = Subscriber::of(site.connect(), "42");
    let opened_with = subscriber.last_id.clone();
    assert_eq!(subscriber.event().id, Some(opened_with));
    let own = site.publish(r#"{"user": 42, "data": "one"}"#)["id"].as_str().unwrap().to_owned();
    while subscriber.data() != "one" {}
    // What others get must not move the place from which this one resumes, or tell it how much there is.
    site.publish(r#"{"user": 43, "data": "two"}"#);
    for _ in 0..3 {
        let said = subscriber.event();
        assert_eq!((said.data.as_deref(), said.id.as_ref()), (Some("ping"), Some(&own)));
    }
}

#[test]
fn a_stream_may_have_no_heartbeat() {
    let site = site("false");
    let mut subscriber = Subscriber::of(site.connect(), "42");
    assert!(subscriber.is_silent_for(std::time::Duration::from_millis(60)));
    site.publish(r#"{"user": 42, "data": "one"}"#);
    assert_eq!(subscriber.data(), "one");
}
