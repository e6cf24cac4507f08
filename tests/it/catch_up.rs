//! Long replays: they come as the reader takes them, live events wait in history meanwhile, and nobody else notices.

use crate::support::h2_session::H2Session;
use crate::support::narrow::{narrow_client, narrow_tls_client};
use crate::support::{NO_APP, Said, Sidestream, Subscriber, in_front_of, publish, tls, token};

const EVENTS: usize = 200;
const SIZE: usize = 20_000;

fn event(number: usize) -> String {
    format!(r#"{{"user": 42, "data": "{number} {}"}}"#, "x".repeat(SIZE))
}

fn number(data: &str) -> usize {
    data.split(' ').next().unwrap().parse().unwrap()
}

fn site() -> Sidestream {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let more = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n\
                [store]\nbytes = \"64MiB\"\n";
    Sidestream::start_in(folder, &in_front_of(NO_APP, "backlog = \"1KiB\"", more))
}

#[test]
fn a_long_replay_comes_in_pages_and_what_is_published_meanwhile_comes_behind_it() {
    let site = site();
    let start = Subscriber::of(site.connect(), "42").last_id;
    for number in 0..EVENTS {
        site.publish(&event(number));
    }
    let mut plain = Subscriber::resume(narrow_client(site.address()), "42", &start);
    let mut over_tls = Subscriber::resume(narrow_tls_client(site.address_of(1)), "42", &start);
    let mut session = H2Session::connect(site.address_of(1));
    let mut h2 = session.resume("42", &start);
    let mut healthy = Subscriber::of(site.connect(), "42");
    // Far more than may wait for a reader who is live.
    for number in EVENTS..EVENTS + 20 {
        assert_eq!(site.publish(&event(number))["delivered"], 4);
        assert_eq!(self::number(&healthy.data()), number);
    }
    assert!(site.count("replayed") < 3 * EVENTS as u64, "history was read before anybody took it");
    for expected in 0..EVENTS + 20 {
        assert_eq!(number(&plain.data()), expected);
        assert_eq!(number(&over_tls.data()), expected);
        assert_eq!(number(&h2.data()), expected);
    }
    // Live now, all of them.
    let id =
        publish(&site.publish_socket(), r#"{"user": 42, "data": "live"}"#)["id"].as_str().unwrap().to_owned();
    let live = Said { id: Some(id), event: String::new(), data: Some("live".to_owned()) };
    assert_eq!([plain.event(), over_tls.event(), healthy.event()], [(); 3].map(|()| live.clone()));
    assert_eq!(h2.event(), live);
    assert_eq!((site.count("evicted"), site.count("resets")), (0, 0));
    assert_eq!(site.count("replayed"), 3 * (EVENTS as u64 + 20));
}

#[test]
fn history_that_goes_while_it_is_read_is_told_in_its_place() {
    // Whenever it finds out: it is live from there on, and all that comes then may wait for it.
    let stream = "backlog = \"16MiB\"";
    let site = Sidestream::start(&in_front_of(NO_APP, stream, "[store]\nevents = 200\nbytes = \"64MiB\"\n"));
    let start = Subscriber::of(site.connect(), "42").last_id;
    for number in 0..EVENTS {
        site.publish(&event(number));
    }
    let mut slow = Subscriber::resume(narrow_client(site.address()), "42", &start);
    for number in EVENTS..2 * EVENTS {
        site.publish(&event(number));
    }
    let mut next = 0;
    let reset = loop {
        let said = slow.event();
        if said.event == "reset" {
            break said;
        }
        assert_eq!(number(&said.data.unwrap()), next);
        next += 1;
    };
    assert!(next < EVENTS, "all of it was read");
    assert_eq!(reset.data.as_deref(), Some(r#"{"reason": "expired"}"#));
    let id = site.publish(&event(9999))["id"].as_str().unwrap().to_owned();
    // The last of them may have been on their way to it: then they come behind the reset, and nothing is missing.
    let seq = |id: Option<&str>| id.unwrap().rsplit_once('-').unwrap().1.parse::<u64>().unwrap();
    let mut cursor = seq(reset.id.as_deref());
    loop {
        let said = slow.event();
        cursor += 1;
        assert_eq!(seq(said.id.as_deref()), cursor);
        if said.id.as_deref() == Some(&*id) {
            assert_eq!(number(&said.data.unwrap()), 9999);
            break;
        }
    }
    assert_eq!(site.count("resets"), 1);
}

#[test]
fn a_stream_that_ends_while_it_catches_up_resumes_where_it_was() {
    let site = site();
    let first = Subscriber::of(site.connect(), "42");
    for number in 0..EVENTS {
        site.publish(&event(number));
    }
    let mut slow = Subscriber::resume(narrow_client(site.address()), "42", &first.last_id);
    site.post("/disconnect", r#"{"user": 42}"#);
    let mut next = 0;
    while let Some(said) = slow.try_event() {
        assert_eq!(number(&said.data.unwrap()), next);
        next += 1;
    }
    assert!(next < EVENTS, "it was told more after its end");
    let target = format!("/events?token={}", token("42"));
    let fields = format!("Last-Event-ID: {}\r\n", slow.last_id);
    let mut again = Subscriber::open(site.connect(), &target, &fields);
    for expected in next..EVENTS {
        assert_eq!(number(&again.data()), expected);
    }
}
