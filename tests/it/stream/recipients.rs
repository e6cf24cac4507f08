//! Who gets an event, and how often: once.

use crate::support::{NO_APP, Sidestream, Subscriber, in_front_of, token};

#[test]
fn all_streams_of_a_user_get_it_and_nobody_else() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    // More streams than workers, so that some share one and some do not.
    let mut tabs: Vec<_> = (0..6).map(|_| Subscriber::of(site.connect(), "42")).collect();
    let mut others: Vec<_> = ["4", "420", "43"].map(|user| Subscriber::of(site.connect(), user)).into();
    let reply = site.publish(r#"{"user": "42", "event": "note", "data": "for 42"}"#);
    assert_eq!(reply["delivered"], 6);
    site.publish(r#"{"channel": "all", "data": "for all"}"#);
    for tab in &mut tabs {
        let said = tab.event();
        assert_eq!((said.event.as_str(), said.data.as_deref()), ("note", Some("for 42")));
        assert_eq!(said.id.as_deref(), reply["id"].as_str());
    }
    for subscriber in tabs.iter_mut().chain(&mut others) {
        // The first that the others hear: what went before it was not for them.
        assert_eq!(subscriber.data(), "for all");
    }
}

#[test]
fn an_event_that_several_channels_carry_comes_once() {
    let site = Sidestream::start(&in_front_of(NO_APP, "allow = [\"news\", \"sport\"]", ""));
    let open = |user: &str, channels: &str| {
        let target = format!("/events?token={}{channels}", token(user));
        Subscriber::open(site.connect(), &target, "")
    };
    let mut both = open("1", "&channels=news,sport");
    let mut twice = open("2", "&channels=news&channels=sport,news");
    let mut news = open("3", "&channels=news");
    let mut neither = open("4", "");
    let reply = site.publish(r#"{"channels": ["news", "sport", "news"], "data": "one"}"#);
    assert_eq!(reply["delivered"], 3);
    let reply = site.publish(r#"{"users": [1, 2, 3, 4, 4], "data": "two"}"#);
    assert_eq!(reply["delivered"], 4);
    for subscriber in [&mut both, &mut twice, &mut news] {
        assert_eq!((subscriber.data(), subscriber.data()), ("one".to_owned(), "two".to_owned()));
    }
    assert_eq!(neither.data(), "two");
}

#[test]
fn a_stream_may_have_a_hundred_channels() {
    let site = Sidestream::start(&in_front_of(NO_APP, "allow = [\"c.*\"]", ""));
    // With the two that everybody has.
    let asked: Vec<_> = (0..98).map(|n| format!("c.{n}")).collect();
    let target = format!("/events?token={}&channels={}", token("42"), asked.join(","));
    let mut subscriber = Subscriber::open(site.connect(), &target, "");
    for name in ["c.0", "c.97", "all", "user:42"] {
        assert_eq!(site.publish(&format!(r#"{{"channel": "{name}", "data": "{name}"}}"#))["delivered"], 1);
        assert_eq!(subscriber.data(), name);
    }
    assert_eq!(site.publish(r#"{"channel": "c.98", "data": ""}"#)["delivered"], 0);
}

#[test]
fn a_client_that_goes_away_is_gone_everywhere() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let mut streams: Vec<_> = (0..4).map(|_| Subscriber::of(site.connect(), "42")).collect();
    assert_eq!((site.count("streams"), site.streams_of("user:42")), (4, 4));
    // One closes, one only its sending side, as a browser that is killed or a proxy that gives up do.
    drop(streams.pop());
    streams[2].client().finish();
    site.becomes("streams", 2);
    assert_eq!((site.streams_of("user:42"), site.streams_of("all")), (2, 2));
    assert_eq!(site.publish(r#"{"user": 42, "data": "one"}"#)["delivered"], 2);
    for stream in &mut streams[..2] {
        assert_eq!(stream.data(), "one");
    }
    drop(streams);
    site.becomes("streams", 0);
    site.becomes("connections", 0);
    assert_eq!((site.streams_of("user:42"), site.count("streams_opened")), (0, 4));
}
