//! The span of a stream: from its opening to its end, within the span of the request that opened it.

use super::{Collector, INTERNAL, SERVER, assert_says, site, site_with_h2};
use crate::support::h2_session::H2Session;
use crate::support::{NO_APP, Sidestream, Subscriber};

fn assert_spans(collector: &Collector, end: &str) {
    let (server, stream) = (collector.span("GET /events"), collector.span("stream /events"));
    assert_eq!((server.kind(), stream.kind()), (SERVER, INTERNAL));
    assert_eq!((stream.trace(), stream.parent()), (server.trace(), Some(server.id())));
    assert_says(&server, &[("http.response.status_code", "200"), ("http.route", "/events")]);
    assert_says(
        &stream,
        &[
            ("http.route", "/events"),
            ("sidestream.stream.events", "2"),
            ("sidestream.stream.channels", "2"),
            ("sidestream.stream.end", end),
        ],
    );
    assert!(server.times().0 <= stream.times().0 && server.times().1 <= stream.times().1);
    assert!(!stream.has_failed());
}

fn publish(site: &Sidestream) {
    for data in ["one", "two"] {
        site.publish(&format!("{{\"user\": 42, \"data\": \"{data}\"}}"));
    }
}

#[test]
fn a_parked_stream_has_a_span() {
    let collector = Collector::start();
    let site = site(NO_APP, &collector, "1", "");
    let mut tab = Subscriber::of(site.connect(), "42");
    publish(&site);
    assert_eq!((tab.data(), tab.data()), ("one".to_owned(), "two".to_owned()));
    assert_eq!(site.post("/disconnect", r#"{"user": 42}"#).status, 200);
    assert_spans(&collector, "disconnected");
}

#[test]
fn a_stream_on_http_2_has_a_span_also_without_a_log() {
    let collector = Collector::start();
    let site = site_with_h2(NO_APP, &collector, "");
    site.reload_with("access = \"access.log\"", "access = \"off\"");
    let mut session = H2Session::connect(site.address_of(1));
    let mut tab = session.subscribe("42");
    publish(&site);
    assert_eq!((tab.data(), tab.data()), ("one".to_owned(), "two".to_owned()));
    drop((tab, session));
    assert_spans(&collector, "gone");
}

#[test]
fn a_stream_that_is_not_opened_has_none() {
    let collector = Collector::start();
    let site = site(NO_APP, &collector, "1", "");
    assert_eq!(site.connect().get("/events", "").response().status, 401);
    let server = collector.span("GET /events");
    assert_says(&server, &[("sidestream.refused", "unauthorized"), ("http.response.status_code", "401")]);
    site.drain();
    site.wait();
    assert!(collector.rest().is_empty());
}
