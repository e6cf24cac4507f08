//! Spans as they arrive at a collector: what they say, whose children they are, and which requests have them.

mod collector;

use collector::Collector;

use crate::support::{App, Sidestream, in_front_of};

pub(crate) const INTERNAL: u64 = 1;
pub(crate) const SERVER: u64 = 2;
pub(crate) const CLIENT: u64 = 3;
pub(crate) const PRODUCER: u64 = 4;

/// A site in front of an app, with a stream at `/events`, whose requests are all recorded, or that share of them.
fn site(app: &str, collector: &Collector, share: &str, more: &str) -> Sidestream {
    Sidestream::start(&text(app, collector, share, more))
}

fn text(app: &str, collector: &Collector, share: &str, more: &str) -> String {
    let text = in_front_of(app, "", more);
    text.replace("[log]\naccess = \"access.log\"\n", &collector.log(share))
}

/// What an echoing app was told.
fn told<'t>(head: &'t str, name: &str) -> Option<&'t str> {
    crate::support::client::field(head, name)
}

#[test]
fn a_request_has_a_span_and_so_has_what_the_app_was_asked() {
    let (app, collector) = (App::that_echoes(), Collector::start());
    let site = site(&app.origin(), &collector, "1", "");
    let head = site.connect().get("/shop?token=secret", "User-Agent: test/1\r\n").response().text();
    let (client, server) = (collector.span("GET"), collector.span("GET /"));
    assert_eq!((server.kind(), client.kind()), (SERVER, CLIENT));
    assert_eq!((server.parent(), client.parent()), (None, Some(server.id())));
    assert_eq!(server.trace(), client.trace());
    let expected = format!("00-{}-{}-01", server.trace(), client.id());
    assert_eq!(
        told(&head, "traceparent"),
        Some(&*expected),
        "the app is within the span of what it was asked"
    );
    let port = site.address().rsplit(':').next().unwrap();
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/shop"),
        ("url.scheme", "http"),
        ("http.route", "/"),
        ("http.response.status_code", "200"),
        ("http.response.body.size", &head.len().to_string()),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "test/1"),
        ("sidestream.request_id", told(&head, "x-request-id").unwrap()),
    ] {
        assert_eq!(server.get(key), Some(value), "{key} of {server:?}");
    }
    let app_port = app.origin().rsplit(':').next().unwrap().to_owned();
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("server.address", "127.0.0.1"),
        ("server.port", &app_port),
        ("sidestream.upstream", "app"),
    ] {
        assert_eq!(client.get(key), Some(value), "{key} of {client:?}");
    }
    assert!(!server.has_failed() && !client.has_failed(), "{server:?}");
    let ((begun, ended), (asked, heard)) = (server.times(), client.times());
    assert!(begun <= asked && asked <= heard && heard <= ended, "{server:?} {client:?} {port}");
}
