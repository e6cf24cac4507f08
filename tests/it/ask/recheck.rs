//! Sessions are asked for again while their streams are open.

use super::{Sessions, answer, ok};
use crate::support::Subscriber;

const OFTEN: &str = "user = \"/id\"\nrecheck = \"100ms\"";

#[test]
fn a_session_that_is_gone_ends_its_streams() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42}"#));
    let site = sessions.site(OFTEN, "");
    let mut subscribers: Vec<_> =
        (0..3).map(|_| Subscriber::open(site.connect(), "/session", "Cookie: sessionid=a\r\n")).collect();
    sessions.until_asked(3);
    site.publish(r#"{"user": 42, "data": "still here"}"#);
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.data(), "still here");
    }
    sessions.say(&answer("401 Unauthorized", ""));
    for mut subscriber in subscribers {
        let last = subscriber.event();
        assert_eq!((last.event.as_str(), last.id), ("error", None));
        assert_eq!(last.data.unwrap(), r#"{"error":"Unauthorized","code":401}"#);
        assert_eq!(subscriber.end(), "");
    }
    assert_eq!(site.count("streams"), 0);
}

#[test]
fn a_session_that_is_another_users_now_ends_its_streams() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42}"#));
    let site = sessions.site(OFTEN, "");
    let mut subscriber = Subscriber::open(site.connect(), "/session", "Cookie: sessionid=a\r\n");
    sessions.say(&ok(r#"{"id": 43}"#));
    assert_eq!(subscriber.event().event, "error");
    assert_eq!(subscriber.end(), "");
}

#[test]
fn a_channel_that_is_taken_away_ends_the_streams_that_have_it() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42, "org": "acme", "may": ["news", "sport"]}"#));
    let auth = format!("{OFTEN}\nchannels = \"/may\"");
    let site = sessions.site(&auth, "channels = [\"user:{user}\"]\nallow = [\"{org}.orders\"]");
    let open = |asked: &str| {
        Subscriber::open(site.connect(), &format!("/session{asked}"), "Cookie: sessionid=a\r\n")
    };
    let (mut plain, mut news) = (open(""), open("?channels=news"));
    let mut orders = open("?channels=acme.orders&channels=sport");
    // Another order, and one less that nobody has asked for.
    sessions.say(&ok(r#"{"id": 42, "org": "acme", "may": ["sport", "news", "more"]}"#));
    let so_far = sessions.asked().len();
    sessions.until_asked(so_far + 6);
    assert_eq!(site.count("streams"), 3);
    sessions.say(&ok(r#"{"id": 42, "org": "other", "may": ["news"]}"#));
    assert_eq!(orders.event().event, "error");
    assert_eq!(orders.end(), "");
    sessions.say(&ok(r#"{"id": 42}"#));
    assert_eq!(news.event().event, "error");
    assert_eq!(news.end(), "");
    site.publish(r#"{"user": 42, "data": "still here"}"#);
    assert_eq!(plain.data(), "still here");
}

#[test]
fn an_app_that_is_down_ends_nothing() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42}"#));
    let site = sessions.site(OFTEN, "");
    let mut subscriber = Subscriber::open(site.connect(), "/session", "Cookie: sessionid=a\r\n");
    sessions.say(&answer("503 Service Unavailable", ""));
    // It is asked over and over, and would have ended the stream long since.
    let before = sessions.asked().len();
    sessions.until_asked(before + 5);
    site.publish(r#"{"user": 42, "data": "still here"}"#);
    assert_eq!(subscriber.data(), "still here");
    sessions.say(&answer("403 Forbidden", ""));
    assert_eq!(subscriber.event().event, "error");
    assert_eq!(subscriber.end(), "");
}

#[test]
fn streams_that_are_closed_are_asked_for_no_more() {
    let sessions = Sessions::that_say(&ok(r#"{"id": 42}"#));
    let site = sessions.site(OFTEN, "");
    let subscriber = Subscriber::open(site.connect(), "/session", "Cookie: sessionid=a\r\n");
    sessions.until_asked(2);
    drop(subscriber);
    site.becomes("streams", 0);
    let other = Subscriber::open(site.connect(), "/session", "Cookie: sessionid=b\r\n");
    let asked_for_a = || sessions.asked().iter().filter(|head| head.contains("sessionid=a")).count();
    // One question may have been under way.
    let before = asked_for_a();
    let so_far = sessions.asked().len();
    sessions.until_asked(so_far + 4);
    assert!(asked_for_a() <= before + 1, "{} and then {}", before, asked_for_a());
    drop(other);
}
