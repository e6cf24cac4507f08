//! Maps, tried on made-up and on random bodies.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{Action, Config};
use crate::event::ChannelName;

const LIMITS: Limits = Limits { max_event: 10_000 };

/// Reads a map as it stands in a file.
fn try_map(text: &str) -> Result<Map, String> {
    let file = format!(
        "[[listen]]\naddress = \":80\"\n[[route]]\npath = \"/hook\"\n[route.publish]\ntoken = \"hunter2-hunter2\"\nmap = {text}\n"
    );
    let config = Config::parse(&file, "test.toml", Path::new("")).map_err(|problems| problems.to_string())?;
    match &config.routes[0].action {
        Action::Publish(route) => Ok(route.map.clone().unwrap()),
        other => panic!("{other:?}"),
    }
}

fn map(text: &str) -> Map {
    try_map(text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn made(text: &str, body: &Value) -> Result<Publication, Refusal> {
    publication(&map(text), &body.to_string(), &LIMITS, Whom::Anybody)
}

/// The data that a map makes of a body.
fn data(template: &str, body: &str) -> String {
    let map = map(&format!("{{ user = 1, data = {template} }}"));
    let made = publication(&map, body, &LIMITS, Whom::Anybody).unwrap_or_else(|refusal| panic!("{refusal}"));
    String::from_utf8(made.event.data.to_vec()).unwrap()
}

fn channels(publication: &Publication) -> Vec<&str> {
    publication.channels.iter().map(ChannelName::as_str).collect()
}

#[track_caller]
fn refused(text: &str, body: &Value, field: &str) {
    let refusal = made(text, body).unwrap_err();
    assert_eq!(
        (refusal.kind(), refusal.field()),
        (RefusalKind::InvalidPublication, Some(field)),
        "{refusal}"
    );
}

/// The map of the design, for the trigger of the first system.
const TRIGGER: &str = r#"{ user = "/user_id", event = "notification", data = { type = "notification", title = "{/title?}", message = "{/message}" } }"#;

#[test]
fn the_trigger_of_the_first_system_is_a_publication() {
    let body = json!({"user_id": 1, "title": "Test SSE", "message": "Real-time works!", "type": "info"});
    let publication = made(TRIGGER, &body).unwrap();
    assert_eq!(channels(&publication), ["user:1"]);
    assert_eq!(publication.event.name.unwrap().as_str(), "notification");
    // In the order of the map, so that what is sent can be foretold byte for byte.
    assert_eq!(
        publication.event.data,
        r#"{"type":"notification","title":"Test SSE","message":"Real-time works!"}"#
    );
    for body in [json!({"user_id": 1, "message": "m"}), json!({"user_id": 1, "message": "m", "title": null})]
    {
        assert_eq!(made(TRIGGER, &body).unwrap().event.data, r#"{"type":"notification","message":"m"}"#);
    }
}

#[test]
fn what_is_wrong_is_named_as_it_was_sent() {
    refused(TRIGGER, &json!({"user_id": 1}), "/message");
    refused(TRIGGER, &json!({"user_id": 1, "message": null}), "/message");
    refused(TRIGGER, &json!({"user_id": 1, "message": {"a": 1}}), "/message");
    refused(TRIGGER, &json!({"message": "m"}), "/user_id");
    refused(TRIGGER, &json!({"user_id": null, "message": "m"}), "/user_id");
    refused(TRIGGER, &json!({"user_id": "a b", "message": "m"}), "/user_id");
    refused(TRIGGER, &json!({"user_id": [1], "message": "m"}), "/user_id");
    refused(TRIGGER, &json!("text"), "/user_id");
    let users = r#"{ users = "/to/all", data = 1 }"#;
    refused(users, &json!({"to": {"all": [1, 2, "a b"]}}), "/to/all/2");
    refused(users, &json!({"to": {"all": []}}), "/to/all");
    // What the map itself made is named as the map has it.
    refused(r#"{ user = 1, data = 1, ttl = "{/n}x" }"#, &json!({"n": 5}), "ttl");
}

#[test]
fn values_are_copied_as_they_are() {
    let body = r#" {"n": 1.10, "big": 123456789012345678901234567890, "l": [ 1, {"a/b": {"m~n": true}} ], "o": {"a" : 1},
        "s": "\u00fc\n", "": {"": "deep"}, "z": null, "n": 1.20} "#;
    for (template, sent) in [
        (r#""/big""#, "123456789012345678901234567890"),
        // Of the same name twice, the last counts.
        (r#""/n""#, "1.20"),
        (r#""/o""#, r#"{"a" : 1}"#),
        (r#""/l/1/a~1b/m~0n""#, "true"),
        (r#""//""#, "deep"),
        (r#""/s""#, "ü\n"),
        (
            r#"{ x = "/o", y = ["/n", "/z?", "/l/9?", 2, -0.5, true, "t"], z = "/z?" }"#,
            r#"{"x":{"a" : 1},"y":[1.20,2,-0.5,true,"t"]}"#,
        ),
        (r#""{/s}{/z?}-{/big} {x}""#, "ü\n-123456789012345678901234567890 {x}"),
        (r#"{ b = "{/z?}", a = "{/z?}!", at = 1979-05-27 }"#, r#"{"a":"!","at":"1979-05-27"}"#),
        ("{}", "{}"),
        ("[[], {}]", "[[],{}]"),
    ] {
        assert_eq!(data(template, body), sent, "{template}");
    }
    assert_eq!(data("\"\"", " [ 1, 2 ] "), "[ 1, 2 ]");
    assert_eq!(data("{ all = \"\" }", r#"{"a":1}"#), r#"{"all":{"a":1}}"#);
    for pointer in ["/l/01", "/l/-", "/l/2", "/l/x", "/s/0", "/n/a", "/O"] {
        refused(
            &format!("{{ user = 1, data = {pointer:?} }}"),
            &serde_json::from_str(body).unwrap(),
            pointer,
        );
    }
}

#[test]
fn every_field_can_be_mapped() {
    let text = r#"{ channels = ["a", "/c"], event = "/e", data = "", ttl = "{/t}s", key = "/k", collapse = "c-{/k}", retry = "/r?" }"#;
    let body = json!({"c": "b", "e": "x", "t": 5, "k": "k1", "r": 250});
    let publication = made(text, &body).unwrap();
    assert_eq!(channels(&publication), ["a", "b"]);
    assert_eq!(publication.ttl, Some(std::time::Duration::from_secs(5)));
    assert_eq!((publication.key.as_deref(), publication.collapse.as_deref()), (Some("k1"), Some("c-k1")));
    assert_eq!(publication.event.retry, Some(250));
    refused(text, &json!({"c": "b", "e": "error", "t": 5, "k": "k1"}), "/e");
}

#[test]
fn the_fields_of_a_map_are_those_of_a_publication() {
    let text = try_map("{ user = 1, data = 1, x = 1 }").unwrap_err();
    let all = "user, users, channel, channels, event, data, ttl, key, collapse, retry";
    assert!(text.contains(&format!("allowed here: {all}")), "{text}");
    let refusal = publication::parse(b"{\"xyzzy\": 1}", &LIMITS).unwrap_err();
    assert!(refusal.message().ends_with(all), "{refusal}");
}

#[test]
fn a_part_of_a_recipient_cannot_make_another_one_of_it() {
    let text = r#"{ channel = "org.{/org}", data = 1 }"#;
    assert_eq!(channels(&made(text, &json!({"org": "acme"})).unwrap()), ["org.acme"]);
    assert_eq!(channels(&made(text, &json!({"org": 7})).unwrap()), ["org.7"]);
    for org in
        [json!(""), json!("a:b"), json!("*"), json!("a b"), json!("a/b"), json!(null), json!([1]), json!({})]
    {
        refused(text, &json!({ "org": org }), "/org");
    }
}

#[test]
fn only_the_caller_can_be_reached_where_it_is_so() {
    let caller = |text: &str, body: &Value| {
        publication(&map(text), &body.to_string(), &LIMITS, Whom::Only("42"))
            .map_err(|refusal| refusal.kind())
    };
    let user = r#"{ user = "/to", data = 1 }"#;
    assert!(caller(user, &json!({"to": 42})).is_ok() && caller(user, &json!({"to": "42"})).is_ok());
    assert_eq!(caller(user, &json!({"to": 43})), Err(RefusalKind::Forbidden));
    assert_eq!(caller(user, &json!({})), Err(RefusalKind::InvalidPublication));
    for other in ["users = [42]", "channel = \"user:42\"", "channels = [\"user:42\"]"] {
        assert_eq!(caller(&format!("{{ {other}, data = 1 }}"), &json!({})), Err(RefusalKind::Forbidden));
    }
}

fn body() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z:{}/*.]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]?", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A recipient as it may stand in a map.
fn recipient() -> impl Strategy<Value = String> {
    let part =
        prop_oneof!["/[a-c]?", "/[a-c]/[a-c0-1]", "[a-z]{1,4}", "[a-z.]{1,3}\\{/[a-c]\\}", "\\{/[a-c]\\}"];
    let list = prop::collection::vec(part.clone(), 0..3);
    prop_oneof![
        ("user|channel", part).prop_map(|(field, text)| format!("{field} = {text:?}")),
        ("users|channels", list).prop_map(|(field, texts)| format!("{field} = {texts:?}")),
    ]
}

/// Every scalar in a body, as text.
fn scalars(body: &Value, found: &mut Vec<String>) {
    match body {
        Value::Null => {}
        Value::String(text) => found.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|value| scalars(value, found)),
        Value::Object(map) => map.values().for_each(|value| scalars(value, found)),
        other => found.push(other.to_string()),
    }
}

proptest! {
    #[test]
    fn a_recipient_is_in_the_map_or_in_the_body(recipient in recipient(), body in body()) {
        let text = format!("{{ {recipient}, data = \"\" }}");
        // Some maps are refused by the configuration, and then nothing is made by them.
        let Ok(map) = try_map(&text) else { return Ok(()) };
        let Ok(made) = publication(&map, &body.to_string(), &LIMITS, Whom::Anybody) else { return Ok(()) };
        let mut known = Vec::new();
        scalars(&body, &mut known);
        let texts: Vec<&str> = recipient.split('"').skip(1).step_by(2).collect();
        let bare: Vec<&str> = made
            .channels
            .iter()
            .map(|name| if recipient.starts_with("user") { &name.as_str()[5..] } else { name.as_str() })
            .collect();
        prop_assert!(!bare.is_empty());
        for name in bare {
            let by_map = texts.iter().any(|text| match text.split_once("{/") {
                None => *text == name || text.starts_with('/') && known.iter().any(|value| value == name),
                Some((before, _)) => {
                    name.strip_prefix(before).is_some_and(|rest| known.iter().any(|value| value == rest))
                }
            });
            prop_assert!(by_map, "{name:?} by {text} of {body}");
        }
    }

    #[test]
    fn no_body_is_too_much(json in "[\\[\\]{}\",:0-9a-z \\\\]{0,40}") {
        let map = map(TRIGGER);
        if let Ok(body) = publication::value(json.as_bytes()) {
            let _ = publication(&map, body, &LIMITS, Whom::Anybody);
        }
    }
}
