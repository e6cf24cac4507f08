//! `GET /explain`: why an event was or was not delivered to a user. One test for each outcome, over both stores where it is
//! the store's to know.

mod asking;
mod forgotten;
mod slow;

use serde_json::{Value, json};

use crate::support::h2_session::H2Session;
use crate::support::{Client, NO_APP, Sidestream, Subscriber, in_front_of, tls};

const TOKEN: &str = "the-admin-token";

/// The keys of both stores.
const STORES: [&str; 2] = ["kind = \"memory\"\n", "kind = \"disk\"\npath = \"store\"\n"];

/// A configuration with an admin address, with keys for its stream and its store.
fn config(stream: &str, store: &str) -> String {
    let more = format!("[admin]\naddress = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n[store]\n{store}");
    in_front_of(NO_APP, &format!("heartbeat = false\n{stream}"), &more)
}

/// One over each store, one after the other.
fn sites(stream: &str, store: &str) -> impl Iterator<Item = Sidestream> {
    STORES.into_iter().map(move |kind| Sidestream::start(&config(stream, &format!("{kind}{store}"))))
}

/// The answer to a question of somebody who has the token.
fn explain(site: &Sidestream, user: &str, id: &str) -> Value {
    let answer = ask(&mut site.admin(), &format!("/explain?user={user}&id={id}"), TOKEN);
    assert_eq!(answer.0, 200, "{}", answer.1);
    answer.1
}

fn ask(client: &mut Client, target: &str, token: &str) -> (u16, Value) {
    let fields = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n");
    let answer = client.send(format!("GET {target} HTTP/1.1\r\n{fields}\r\n")).response();
    (answer.status, answer.json())
}

/// The outcome, and what became of the event for each stream.
fn told(site: &Sidestream, user: &str, id: &str) -> (String, Vec<String>) {
    let said = explain(site, user, id);
    assert_eq!(said["event"]["id"], id, "{said}");
    assert!(said["reason"].as_str().is_some_and(|reason| reason.len() > 20), "{said}");
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{said}")).to_owned();
    let states = said["streams"].as_array().unwrap().iter().map(|stream| text(&stream["state"]));
    (text(&said["outcome"]), states.collect())
}

#[track_caller]
fn assert_told(site: &Sidestream, (user, id): (&str, &str), outcome: &str, states: &[&str]) {
    let (is, of_streams) = told(site, user, id);
    assert!(is == outcome && of_streams == states, "{}", explain(site, user, id));
}

fn publish(site: &Sidestream, publication: &Value) -> String {
    let receipt = site.publish(&publication.to_string());
    receipt["id"].as_str().unwrap_or_else(|| panic!("{receipt}")).to_owned()
}

fn notify(site: &Sidestream, user: &str) -> String {
    publish(site, &json!({ "user": user, "data": "hi" }))
}

#[test]
fn what_was_written_is_told_with_each_stream_and_its_times() {
    for site in sites("", "") {
        let mut tabs = [Subscriber::of(site.connect(), "42"), Subscriber::of(site.connect(), "42")];
        let other = Subscriber::of(site.connect(), "43");
        let start = tabs[0].last_id.clone();
        let id = notify(&site, "42");
        tabs.iter_mut().for_each(|tab| assert_eq!(tab.event().id.as_ref(), Some(&id)));
        let said = explain(&site, "42", &id);
        assert_eq!((&said["outcome"], &said["user"]), (&json!("delivered"), &json!("42")), "{said}");
        assert_eq!(said["reason"], "it was written to 2 streams of user 42");
        let event = &said["event"];
        assert_eq!(
            (&event["standing"], &event["channels"], &event["more_channels"], &event["unread"]),
            (&json!("kept"), &json!(["user:42"]), &json!(0), &json!(true)),
        );
        let at = event["at"].as_u64().unwrap();
        let streams = said["streams"].as_array().unwrap();
        assert_eq!(streams.len(), 2);
        for stream in streams {
            let said = |name: &str| stream[name].clone();
            assert_eq!((said("state"), said("route")), (json!("written"), json!("/events")), "{stream}");
            assert_eq!((said("protocol"), said("channels")), (json!("HTTP/1.1"), json!(["user:42", "all"])));
            assert_eq!((said("first_id"), said("last_id")), (json!(start), json!(id)));
            assert_eq!((said("events"), said("ended"), said("end")), (json!(1), Value::Null, Value::Null));
            let time = |name: &str| stream["written"][name].as_u64().unwrap();
            assert!(stream["opened"].as_u64().unwrap() <= at && at <= time("from"), "{stream}");
            // Both ends are a moment, for what was written live.
            assert!(time("from") <= time("to") && time("to") < at + 60_000, "{stream}");
        }
        assert_eq!(said["records"]["this_node_only"], false);
        assert_eq!(
            (&said["records"]["reach_back"], &said["records"]["silent_workers"]),
            (&json!(true), &json!(0))
        );
        drop((tabs, other));
        site.becomes("streams", 0);
        let said = explain(&site, "42", &id);
        assert_eq!(said["outcome"], "delivered", "{said}");
        for stream in said["streams"].as_array().unwrap() {
            assert_eq!((&stream["state"], &stream["end"]), (&json!("written"), &json!("gone")));
            assert!(stream["ended"].as_u64() >= stream["written"]["to"].as_u64(), "{stream}");
        }
    }
}

#[test]
fn the_protocol_is_told() {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let listen =
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n[store]";
    let site = Sidestream::start_in(folder, &config("", "").replace("[store]", listen));
    let mut session = H2Session::connect(site.address_of(1));
    let mut tab = session.subscribe("42");
    let id = notify(&site, "42");
    assert_eq!(tab.event().id.as_ref(), Some(&id));
    let said = explain(&site, "42", &id);
    assert_eq!(said["streams"][0]["protocol"], "HTTP/2");
    assert_eq!(said["streams"][0]["reason"], "it was taken by the client's connection");
}

#[test]
fn who_was_not_connected_has_it_when_they_come_back() {
    for site in sites("", "") {
        let tab = Subscriber::of(site.connect(), "42");
        let start = tab.last_id.clone();
        drop(tab);
        site.becomes("streams", 0);
        let id = notify(&site, "42");
        assert_told(&site, ("42", &id), "not-connected", &["ended-before"]);
        let _new = Subscriber::of(site.connect(), "42");
        assert_told(&site, ("42", &id), "not-connected", &["opened-after", "ended-before"]);
        let mut back = Subscriber::resume(site.connect(), "42", &start);
        assert_eq!(back.event().id.as_ref(), Some(&id));
        assert_told(&site, ("42", &id), "delivered", &["written", "opened-after", "ended-before"]);
        // From history, which is said honestly.
        let said = explain(&site, "42", &id);
        assert_eq!(said["streams"][0]["written"]["from"], said["streams"][0]["opened"]);
        drop(back);
        let back = Subscriber::resume(site.connect(), "42", &id);
        let states = told(&site, "42", &id).1;
        assert!(states.iter().any(|state| state == "resumed-after"), "{states:?}");
        drop(back);
    }
}

#[test]
fn a_channel_that_the_stream_does_not_have_is_named() {
    for site in sites("", "") {
        let tab = Subscriber::of(site.connect(), "42");
        let id = publish(&site, &json!({ "channel": "news", "data": "hi" }));
        assert_told(&site, ("42", &id), "not-granted", &["not-granted"]);
        let said = explain(&site, "42", &id);
        let reason =
            "it was for news, which 1 stream of user 42 did not have: see channels and allow of the route";
        assert_eq!(said["reason"], reason);
        assert_eq!(said["streams"][0]["reason"], "the stream has none of its channels, but user:42, all");
        // Whoever is not there cannot have had it either.
        assert_told(&site, ("44", &id), "not-connected", &[]);

        let id = notify(&site, "43");
        drop(tab);
        site.becomes("streams", 0);
        assert_told(&site, ("42", &id), "not-granted", &["not-granted"]);
        let reason = "it was for user:43: a user's own channel is given to nobody else";
        assert_eq!(explain(&site, "42", &id)["reason"], reason);
        assert_told(&site, ("44", &id), "not-granted", &[]);
    }
}

#[test]
fn an_id_that_no_event_has_is_told_from_one_of_another_history() {
    for site in sites("", "") {
        let id = notify(&site, "42");
        let (epoch, seq) = id.split_once('-').unwrap();
        let later = format!("{epoch}-{}", seq.parse::<u64>().unwrap() + 1);
        assert_told(&site, ("42", &later), "never-published", &[]);
        let reason = explain(&site, "42", &later)["reason"].as_str().unwrap().to_owned();
        assert!(reason.ends_with(&format!("the newest that was handed out is {id}")), "{reason}");
        assert_told(&site, ("42", &format!("{epoch}-0")), "never-published", &[]);
        let tab = Subscriber::of(site.connect(), "42");
        assert_told(&site, ("42", "000000-1"), "other-epoch", &[]);
        drop(tab);
    }
}
