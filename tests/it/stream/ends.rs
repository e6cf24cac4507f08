//! How a stream ends: always abruptly, so that every client comes back.

use std::time::Instant;

use serde_json::json;

use crate::support::tokens::{in_a, signed};
use crate::support::{NO_APP, Said, Sidestream, Subscriber, at_some_pace, in_front_of};

const EXACT: &str = r#"
[auth.exact]
kind = "jwt"
secret = "a secret of the tests, thirty-two bytes and more"
leeway = "0s"
[[route]]
path = "/exact"
[route.stream]
auth = ["exact"]
"#;

#[test]
fn a_token_that_expires_ends_it_with_a_word() {
    at_some_pace(|pace| {
        let site = Sidestream::start(&in_front_of(NO_APP, "", EXACT));
        let begun = Instant::now();
        let left = pace.ms(300);
        let token = signed(&json!({"sub": "42", "exp": in_a(left)}));
        let mut subscriber = Subscriber::open(site.connect(), &format!("/exact?token={token}"), "");
        site.publish(r#"{"user": 42, "data": "one"}"#);
        assert_eq!(subscriber.data(), "one");
        let last_words = subscriber.event();
        assert!(begun.elapsed() >= left, "it ended after {:?}", begun.elapsed());
        let expected = json!({"error": "Unauthorized", "code": 401});
        assert_eq!((last_words.event.as_str(), &last_words.id), ("error", &None));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&last_words.data.unwrap()).unwrap(), expected);
        assert_eq!(subscriber.end(), "");
        assert_eq!(site.count("streams"), 0);
        // The same token opens no other.
        assert_eq!(site.connect().get(&format!("/exact?token={token}"), "").response().status, 401);
    });
}

#[test]
fn streams_that_opened_together_do_not_end_together() {
    at_some_pace(|pace| {
        let site = Sidestream::start(&in_front_of(NO_APP, &pace.of("max_age = \"500ms\""), ""));
        let begun = Instant::now();
        let streams: Vec<_> = (0..16).map(|_| Subscriber::of(site.connect(), "42")).collect();
        let waiting: Vec<_> = streams
            .into_iter()
            .map(|stream| {
                std::thread::spawn(move || {
                    assert_eq!(stream.end(), "");
                    begun.elapsed()
                })
            })
            .collect();
        let mut ends: Vec<_> = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
        ends.sort();
        // 80 to 100 % of the age. All sixteen in the same fifth of that range would be a chance in a billion.
        assert!(ends[0] >= pace.ms(400), "{ends:?}");
        assert!(ends[15] - ends[0] > pace.ms(20), "{ends:?}");
        assert_eq!(site.count("streams"), 0);
    });
}

#[test]
fn it_can_be_resumed_where_it_ended() {
    let site = Sidestream::start(&in_front_of(NO_APP, "max_age = \"60ms\"", ""));
    let mut subscriber = Subscriber::of(site.connect(), "42");
    for n in 0..3 {
        let last_id = subscriber.last_id.clone();
        assert_eq!(subscriber.end(), "");
        site.publish(&format!(r#"{{"user": 42, "data": "{n}"}}"#));
        subscriber = Subscriber::resume(site.connect(), "42", &last_id);
        let said = subscriber.event();
        assert_eq!(said, Said { id: said.id.clone(), event: String::new(), data: Some(n.to_string()) });
    }
}

#[test]
fn the_end_of_the_process_is_abrupt_too() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let subscribers: Vec<_> = (0..3).map(|_| Subscriber::of(site.connect(), "42")).collect();
    site.stop();
    for subscriber in subscribers {
        assert_eq!(subscriber.end(), "");
    }
}
