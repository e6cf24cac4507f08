//! Foreign bodies on public routes, which a map makes publications of.

use serde_json::{Value, json};

use crate::support::{NO_APP, Response, Sidestream, Subscriber, in_front_of, token};

/// A route for the app, with a map.
fn site(map: &str) -> Sidestream {
    let route = format!(
        "[[route]]\npath = \"/hook\"\n[route.publish]\ntoken = \"hook-token-hook-token\"\nmap = {map}\n"
    );
    Sidestream::start(&in_front_of(NO_APP, "allow = [\"*\"]", &route))
}

fn post(site: &Sidestream, body: &str) -> Response {
    site.connect().post("/hook", "Authorization: Bearer hook-token-hook-token\r\n", body).response()
}

#[track_caller]
fn refused(response: &Response, field: &str) {
    let said = response.json();
    assert_eq!(response.status, 400, "{said}");
    assert_eq!((&said["error"], &said["field"]), (&json!("invalid_publication"), &json!(field)), "{said}");
}

#[test]
fn a_foreign_body_reaches_whom_it_is_for() {
    let site = site(
        r#"{ users = "/to", event = "order-{/status}", data = { id = "/order/id", url = "/orders/{/order/id}", note = "/note?" }, ttl = "1h" }"#,
    );
    let mut subscribers = ["1", "2"].map(|user| Subscriber::of(site.connect(), user));
    let mut other = Subscriber::of(site.connect(), "3");
    let body = r#"{"to": [1, "2"], "status": "paid", "order": {"id": 7.0, "secret": "x"}, "more": [1, 2]}"#;
    let reply = post(&site, body);
    assert_eq!((reply.status, &reply.json()["delivered"]), (200, &json!(2)));
    for subscriber in &mut subscribers {
        let said = subscriber.event();
        assert_eq!(said.event, "order-paid");
        assert_eq!(said.data.as_deref(), Some(r#"{"id":7.0,"url":"/orders/7.0"}"#));
    }
    site.publish(r#"{"channel": "all", "data": "after"}"#);
    assert_eq!(other.data(), "after");
}

#[test]
fn each_element_of_a_batch_is_mapped_and_all_are_published_or_none() {
    let site = site(r#"{ channel = "room.{/room}", data = "/text" }"#);
    let target = format!("/events?channels=room.a,room.b&token={}", token("42"));
    let mut subscriber = Subscriber::open(site.connect(), &target, "");
    let half = post(&site, r#"[{"room": "a", "text": "lost"}, {"room": "b"}]"#);
    refused(&half, "[1]./text");
    let half = post(&site, r#"[{"room": "a", "text": "lost"}, 5]"#);
    refused(&half, "[1]./room");
    let whole = post(&site, r#"[{"room": "a", "text": "one"}, {"room": "b", "text": {"n": 2}}]"#);
    let ids: Vec<Value> = whole.json().as_array().unwrap().iter().map(|said| said["id"].clone()).collect();
    assert_eq!(ids.len(), 2);
    let said = [subscriber.event(), subscriber.event()];
    assert_eq!(said.each_ref().map(|said| said.data.as_deref().unwrap()), ["one", r#"{"n": 2}"#]);
    assert_eq!(said.map(|said| json!(said.id.unwrap())).to_vec(), ids);
    assert_eq!(post(&site, "[]").json(), json!([]));
}

#[test]
fn a_missing_recipient_reaches_nobody() {
    let site = site(r#"{ channel = "all.{/team}", data = "" }"#);
    let mut subscriber =
        Subscriber::open(site.connect(), &format!("/events?channels=all.&token={}", token("42")), "");
    for body in [r#"{"x": 1}"#, r#"{"team": null}"#, r#"{"team": ""}"#, r#"{"team": "a,all"}"#, "5", "\"x\""]
    {
        refused(&post(&site, body), "/team");
    }
    // What is no JSON is not said to be without a team.
    assert_eq!(post(&site, "{\"team\": 1,}").json()["error"], "invalid_json");
    site.publish(r#"{"channel": "all", "data": "after"}"#);
    assert_eq!(subscriber.data(), "after");
}

#[test]
fn what_is_too_large_is_refused_as_ever() {
    let site = site(r#"{ user = 1, data = "/text" }"#);
    let long = format!(r#"{{"text": "{}"}}"#, "x".repeat(300 * 1024));
    let reply = post(&site, &long);
    assert_eq!((reply.status, reply.json()["field"].as_str()), (413, Some("/text")));
    let many = format!("[{}]", vec![r#"{"text": 1}"#; 1001].join(","));
    let reply = post(&site, &many);
    assert_eq!((reply.status, reply.json()["error"].as_str()), (413, Some("too_large")));
}
