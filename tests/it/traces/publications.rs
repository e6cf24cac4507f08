//! The span of a publication, at each of the doors.

use super::{Collector, PRODUCER, assert_says, site};
use crate::support::{Client, NO_APP};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const KEY: &str = "publisher-token-of-the-app-with-32-bytes";

#[test]
fn a_publication_is_within_the_trace_of_the_app() {
    let collector = Collector::start();
    let site = site(NO_APP, &collector, "0", "");
    let socket = format!("unix:{}", site.publish_socket().display());
    let fields = format!("traceparent: 00-{TRACE}-{CALLER}-01\r\n");
    let mut app = Client::connect(&socket);
    let reply = app.post("/publish", &fields, r#"{"user": 42, "data": 1}"#).response().json();
    let span = collector.span("publish");
    assert_eq!(
        (span.kind(), span.trace(), span.parent(), span.has_failed()),
        (PRODUCER, TRACE, Some(CALLER), false)
    );
    assert_says(
        &span,
        &[
            ("messaging.system", "sidestream"),
            ("messaging.operation.type", "send"),
            ("messaging.message.id", reply["id"].as_str().unwrap()),
            ("sidestream.delivered", "0"),
        ],
    );
    app.post("/publish", &fields, r#"[{"user": 42, "data": 1}, {"user": 43, "data": 1}]"#).response();
    assert_says(&collector.span("publish"), &[("messaging.batch.message_count", "2")]);
    app.post("/publish", &fields, r#"{"data": 1}"#).response();
    let span = collector.span("publish");
    assert_eq!((span.get("error.type"), span.has_failed()), (Some("invalid_publication"), true));
    app.post("/publish", &fields.replace("-01\r", "-00\r"), r#"{"user": 42, "data": 1}"#).response();
    app.post("/publish", "", r#"{"user": 42, "data": 1}"#).response();
    site.drain();
    site.wait();
    assert!(
        collector.rest().is_empty(),
        "those that the app does not record, and of the others the share is 0"
    );
}

#[test]
fn a_line_has_a_trace_of_its_own() {
    let collector = Collector::start();
    let site = site(NO_APP, &collector, "1", "");
    let reply = site.publish(r#"{"channel": "all", "data": 1}"#);
    let span = collector.span("publish");
    assert_eq!((span.kind(), span.parent()), (PRODUCER, None));
    assert_says(&span, &[("messaging.message.id", reply["id"].as_str().unwrap())]);
    site.publish("{nonsense");
    assert_says(&collector.span("publish"), &[("error.type", "invalid_json")]);
}

#[test]
fn one_at_a_public_route_is_within_its_request() {
    let collector = Collector::start();
    let more = format!("[[route]]\npath = \"/push\"\n[route.publish]\ntoken = \"{KEY}\"\n");
    let site = site(NO_APP, &collector, "1", &more);
    let mut client = site.connect();
    let fields = format!("Authorization: Bearer {KEY}\r\n");
    assert_eq!(client.post("/push", &fields, r#"{"user": 42, "data": 1}"#).response().status, 200);
    let (server, produced) = (collector.span("POST /push"), collector.span("publish"));
    assert_eq!((produced.trace(), produced.parent()), (server.trace(), Some(server.id())));
    assert_eq!(client.post("/push", "", r#"{"user": 42, "data": 1}"#).response().status, 401);
    assert_says(&collector.span("publish"), &[("error.type", "unauthorized")]);
    assert_says(&collector.span("POST /push"), &[("sidestream.refused", "unauthorized")]);
}
