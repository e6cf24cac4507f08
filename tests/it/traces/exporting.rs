//! The way to the collector: one that is away, that comes back, that says when; another one; and none.

use std::time::{Duration, Instant};

use super::collector::spans;
use super::{Collector, site, text};
use crate::support::port::Port;
use crate::support::{App, Client, PATIENCE, Program, Sidestream, in_front_of};

const ADMIN: &str = "[admin]\naddress = \"127.0.0.1:0\"\n";

fn app() -> App {
    App::that_says("HTTP/1.1 204 No Content\r\n\r\n")
}

/// The value of a counter of spans.
fn count(site: &Sidestream, name: &str) -> u64 {
    count_at(site.admin(), name)
}

fn count_at(mut admin: Client, name: &str) -> u64 {
    admin.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let text = admin.response().text();
    let row = format!("sidestream_trace_{name}_spans_total ");
    let line = text.lines().find_map(|line| line.strip_prefix(&row));
    line.unwrap_or_else(|| panic!("no {row} in {text}")).parse().unwrap()
}

#[test]
fn a_batch_that_is_to_be_sent_later_is() {
    let (app, collector) = (app(), Collector::start());
    let site = site(&app.origin(), &collector, "1", ADMIN);
    for status in [429, 503] {
        collector.says(status);
        let before = count(&site, "sent");
        site.connect().get("/", "").response();
        let refused = collector.batch();
        assert_eq!(refused["status"], status);
        collector.says(200);
        let again = collector.batch();
        assert_eq!((&again["status"], &again["body"]), (&200.into(), &refused["body"]));
        site.comes_true(|| "they are counted".to_owned(), || count(&site, "sent") == before + 2);
    }
    assert_eq!(count(&site, "dropped"), 0);
}

#[test]
fn a_batch_that_is_not_taken_is_counted_and_not_sent_again() {
    let (app, collector) = (app(), Collector::start());
    let site = site(&app.origin(), &collector, "1", ADMIN);
    collector.says(400);
    site.connect().get("/lost", "").response();
    assert_eq!(collector.batch()["status"], 400);
    site.comes_true(|| "they are counted".to_owned(), || count(&site, "dropped") == 2);
    collector.says(200);
    site.connect().get("/", "").response();
    assert_eq!(collector.span("GET /").get("url.path"), Some("/"));
    site.comes_true(|| "it is counted".to_owned(), || count(&site, "sent") == 2);
}

#[test]
fn a_batch_is_no_larger_than_it_may_be() {
    let (app, collector) = (app(), Collector::start());
    let site = site(&app.origin(), &collector, "1", "");
    let lines = "{\"channel\": \"all\", \"data\": 1}\n".repeat(600);
    let socket = format!("unix:{}", site.publish_socket().display());
    let fields = "Content-Type: application/x-ndjson\r\n";
    let length = lines.len();
    let mut publisher = Client::connect(&socket);
    publisher.send(format!(
        "POST /publish HTTP/1.1\r\nHost: test\r\n{fields}Content-Length: {length}\r\n\r\n{lines}"
    ));
    assert_eq!(publisher.response().status, 200);
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 600 {
        sizes.push(spans(&collector.batch()).len());
    }
    assert!(sizes.iter().all(|size| *size <= 512), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 600);
}

#[test]
fn a_collector_that_is_away_is_told_of_once_and_again_when_it_is_back() {
    let (app, port) = (app(), Port::held());
    let config = in_front_of(&app.origin(), "", "[admin]\naddress = \"unix:admin.sock\"\n");
    let log = format!("[log]\naccess = \"off\"\ntraces = \"{}/spans\"\ntrace_share = 1\n", port.origin());
    let program = Program::run(&config.replace("[log]\naccess = \"access.log\"\n", &log));
    let admin = format!("unix:{}", program.folder.path().join("admin.sock").display());
    let mut client = Client::connect(&program.address);
    for lost in [2, 4, 6] {
        client.get("/", "").response();
        let begun = Instant::now();
        while count_at(Client::connect(&admin), "dropped") < lost {
            assert!(begun.elapsed() < PATIENCE, "{}", program.said());
        }
    }
    let listener = port.listen();
    client.get("/", "").response();
    let (stream, _) = listener.accept().unwrap();
    let mut collector = Client::over(stream, None);
    assert!(collector.head().starts_with("POST /spans HTTP/1.1\r\n"));
    collector.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let place = format!("collector={}/spans", port.origin());
    program.says(&format!("the collector of traces is back {place} lost=6"));
    let said = program.said();
    let away = format!("the collector of traces takes nothing; spans are lost until it does {place}");
    assert_eq!(said.matches(&away).count(), 1, "{said}");
}

#[test]
fn a_collector_that_says_nothing_does_not_hold_up_the_end() {
    let app = app();
    let silent = App::start(|mut client| {
        client.try_head();
        // Until the other end gives up.
        client.rest();
    });
    let config = in_front_of(&app.origin(), "", "");
    let log = format!("[log]\naccess = \"off\"\ntraces = \"{}\"\ntrace_share = 1\n", silent.origin());
    let site = Sidestream::start(&config.replace("[log]\naccess = \"access.log\"\n", &log));
    site.connect().get("/", "Connection: close\r\n").response();
    let begun = Instant::now();
    site.drain();
    site.wait();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn another_configuration_has_another_collector_or_none() {
    let (app, first, second) = (App::that_echoes(), Collector::start(), Collector::start());
    let before = text(&app.origin(), &first, "1", "");
    let site = Sidestream::start(&in_front_of(&app.origin(), "", ""));
    let mut client = site.connect();
    let is_told = |client: &mut Client| client.get("/", "").response().text().contains("traceparent");
    assert!(!is_told(&mut client));
    assert!(site.reload(&before).is_ok_and(|done| done.changed == ["[log]"]));
    assert!(is_told(&mut client));
    first.span("GET /");
    site.reload(&text(&app.origin(), &second, "1", "")).unwrap();
    assert!(is_told(&mut client));
    second.span("GET /");
    site.reload_with("trace_share = 1", "trace_share = 0");
    assert!(!is_told(&mut client));
    site.reload(&in_front_of(&app.origin(), "", "")).unwrap();
    assert!(!is_told(&mut client));
    site.reload(&before).unwrap();
    assert!(is_told(&mut client));
    first.span("GET /");
    site.drain();
    site.wait();
    let rest: Vec<_> =
        first.rest().into_iter().chain(second.rest()).map(|span| span.0["name"].clone()).collect();
    assert!(rest.iter().all(|name| name == "GET"), "{rest:?}");
}
