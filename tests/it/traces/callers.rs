//! What callers say of a trace: whose word holds, and what the app is told of it.

use super::{Collector, site, text};
use crate::support::client::field;
use crate::support::{App, Sidestream, in_front_of};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

fn fields(traceparent: &str) -> String {
    format!("traceparent: {traceparent}\r\ntracestate: vendor=1,other=2\r\n")
}

/// A site whose clients are all behind proxies that are trusted.
fn behind_a_proxy(app: &App, collector: &Collector, share: &str) -> Sidestream {
    let text = text(&app.origin(), collector, share, "");
    Sidestream::start(&text.replace("workers = 2\n", "workers = 2\ntrusted_proxies = [\"127.0.0.1\"]\n"))
}

/// Ends a site and says how many requests were recorded.
fn recorded(site: Sidestream, collector: &Collector) -> usize {
    site.drain();
    site.wait();
    collector.rest().iter().filter(|span| span.kind() == super::SERVER).count()
}

#[test]
fn a_trusted_proxy_decides() {
    let (app, collector) = (App::that_echoes(), Collector::start());
    let site = behind_a_proxy(&app, &collector, "0");
    let head = site.connect().get("/", &fields(&parent("01"))).response().text();
    let (client, server) = (collector.span("GET"), collector.span("GET /"));
    assert_eq!((server.trace(), server.parent()), (TRACE, Some(CALLER)));
    assert_eq!(field(&head, "traceparent"), Some(&*format!("00-{TRACE}-{}-01", client.id())));
    assert_eq!(field(&head, "tracestate"), Some("vendor=1,other=2"));
    assert_eq!(head.matches("traceparent").count(), 1);
    site.connect().get("/", "").response();
    assert_eq!(recorded(site, &collector), 0, "a request that nobody has decided of");

    let site = behind_a_proxy(&app, &collector, "1");
    let head = site.connect().get("/", &fields(&parent("00"))).response().text();
    assert_eq!(field(&head, "traceparent"), Some(&*parent("00")));
    assert_eq!(field(&head, "tracestate"), Some("vendor=1,other=2"));
    assert_eq!(recorded(site, &collector), 0, "what the proxy does not record is not recorded");
}

#[test]
fn a_client_decides_nothing() {
    let (app, collector) = (App::that_echoes(), Collector::start());
    let site = super::site(&app.origin(), &collector, "0", "");
    let head = site.connect().get("/", &fields(&parent("01"))).response().text();
    assert_eq!(field(&head, "traceparent"), Some(&*parent("00")), "nor does it with the app");
    assert_eq!(recorded(site, &collector), 0);

    let site = super::site(&app.origin(), &collector, "1", "");
    let head = site.connect().get("/", &fields(&parent("00"))).response().text();
    let (client, server) = (collector.span("GET"), collector.span("GET /"));
    assert_eq!((server.trace(), server.parent()), (TRACE, Some(CALLER)));
    assert_eq!(field(&head, "traceparent"), Some(&*format!("00-{TRACE}-{}-01", client.id())));
}

#[test]
fn what_is_no_place_in_a_trace_begins_a_new_one() {
    let (app, collector) = (App::that_echoes(), Collector::start());
    let site = site(&app.origin(), &collector, "1", "");
    let twice = format!("{}\r\ntraceparent: {}", parent("01"), parent("01"));
    let bad = [
        parent("01").replacen("00", "ff", 1),
        parent("01").replace(TRACE, &"0".repeat(32)),
        parent("01").replace(CALLER, &"0".repeat(16)),
        parent("01").replace(TRACE, &TRACE.to_uppercase()),
        format!("{}-more", parent("01")),
        parent("1"),
        "nonsense".to_owned(),
        twice,
    ];
    let heads = bad.map(|bad| (site.connect().get("/", &fields(&bad)).response().text(), bad));
    for (head, bad) in heads {
        let told = field(&head, "traceparent").unwrap().to_owned();
        let client = collector.span_where(&told, |span| told.contains(span.id()));
        let server = collector.span_where(&told, |span| Some(span.id()) == client.parent());
        assert_eq!(server.parent(), None, "{bad}");
        assert_ne!(server.trace(), TRACE, "{bad}");
        assert_eq!(told, format!("00-{}-{}-01", server.trace(), client.id()), "{bad}");
        assert_eq!(head.matches("traceparent").count(), 1, "{head}");
        assert_eq!(field(&head, "tracestate"), None, "{bad}");
    }
}

#[test]
fn a_bad_state_does_not_end_its_trace() {
    let (app, collector) = (App::that_echoes(), Collector::start());
    let site = site(&app.origin(), &collector, "1", "");
    let fields = fields(&parent("01")).replace("vendor=1", "Vendor");
    let head = site.connect().get("/", &fields).response().text();
    assert_eq!((collector.span("GET /").trace(), field(&head, "tracestate")), (TRACE, None));
}

#[test]
fn without_traces_the_app_is_told_what_the_client_says() {
    let app = App::that_echoes();
    let site = Sidestream::start(&in_front_of(&app.origin(), "", ""));
    for said in [parent("01"), parent("00"), "nonsense".to_owned()] {
        let head = site.connect().get("/", &fields(&said)).response().text();
        assert_eq!(field(&head, "traceparent"), Some(&*said));
        assert_eq!(field(&head, "tracestate"), Some("vendor=1,other=2"));
    }
}
