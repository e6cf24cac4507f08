//! `replay = "unread"`: what a user has not read waits for the next stream without an id.

mod asking;
mod kept;
mod long;

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::support::h2_session::H2Session;
use crate::support::tokens::token;
use crate::support::{Client, NO_APP, PATIENCE, Sidestream, Subscriber, in_front_of, tls};

/// How long nothing must come.
const MOMENT: Duration = Duration::from_millis(100);

/// The sections of both stores.
const STORES: [&str; 2] = ["[store]\nkind = \"memory\"\n", "[store]\nkind = \"disk\"\npath = \"store\"\n"];

/// One over each store, one after the other.
fn sites(stream: &str) -> impl Iterator<Item = Sidestream> {
    STORES.into_iter().map(move |store| site(stream, store))
}

fn site(stream: &str, store: &str) -> Sidestream {
    let text = in_front_of(NO_APP, &format!("replay = \"unread\"\nheartbeat = false\n{stream}"), store);
    Sidestream::start(&text.replace("workers = 2", "workers = 4"))
}

/// The id of a publication for a user.
fn notify(site: &Sidestream, user: u64, data: &str) -> String {
    id_of(&site.publish(&json!({ "user": user, "data": data }).to_string()))
}

fn id_of(receipt: &Value) -> String {
    receipt["id"].as_str().unwrap_or_else(|| panic!("{receipt}")).to_owned()
}

/// What is unread, as the app sees it.
fn unread(site: &Sidestream, user: u64) -> Vec<String> {
    let inbox = site.ask(&format!("/inbox/{user}"));
    let events = inbox["events"].as_array().unwrap();
    assert_eq!(inbox["unread"], events.len());
    events.iter().map(|event| event["data"].as_str().unwrap().to_owned()).collect()
}

/// Waits until a user has read everything: a client has an event a little earlier than the hub is told of it.
fn all_is_read(site: &Sidestream, user: u64) {
    site.comes_true(|| format!("{user} has read all"), || site.ask(&format!("/inbox/{user}"))["unread"] == 0);
}

/// The data of the events that a stream brings before it leaves its client at the head.
fn caught_up(tab: &mut Subscriber, events: usize) -> Vec<String> {
    (0..events).map(|_| tab.data()).collect()
}

/// The list at the end of the seed: a notification appears, and does not come again when the page is refreshed.
#[test]
fn a_refresh_gets_nothing_again_and_a_reconnection_what_is_unread() {
    for site in sites("") {
        notify(&site, 2, "before anybody came");
        let mut page = Subscriber::of(site.connect(), "2");
        assert_eq!(page.data(), "before anybody came");
        notify(&site, 2, "approver group created");
        assert_eq!(page.data(), "approver group created");
        all_is_read(&site, 2);
        drop(page);
        let mut refreshed = Subscriber::of(site.connect(), "2");
        assert!(refreshed.is_silent_for(MOMENT));
        drop(refreshed);
        site.comes_true(|| "the page is gone".to_owned(), || site.streams_of("user:2") == 0);
        for data in ["a", "b"] {
            notify(&site, 2, data);
        }
        assert_eq!(unread(&site, 2), ["a", "b"]);
        assert_eq!(caught_up(&mut Subscriber::of(site.connect(), "2"), 2), ["a", "b"]);
        all_is_read(&site, 2);
    }
}

#[test]
fn every_tab_gets_a_live_event_on_whatever_worker() {
    for site in sites("") {
        let mut tabs: Vec<_> = (0..16).map(|_| Subscriber::of(site.connect(), "42")).collect();
        let mut other = Subscriber::of(site.connect(), "43");
        for data in ["one", "two"] {
            notify(&site, 42, data);
            for tab in &mut tabs {
                assert_eq!(tab.data(), data);
            }
        }
        all_is_read(&site, 42);
        assert!(other.is_silent_for(MOMENT));
        notify(&site, 43, "theirs");
        assert_eq!(other.data(), "theirs");
        // An id resumes, also from what another tab has had.
        let last = tabs[0].last_id.clone();
        notify(&site, 42, "three");
        assert_eq!(Subscriber::resume(site.connect(), "42", &last).data(), "three");
    }
}

#[test]
fn an_id_takes_a_client_on_from_where_it_was() {
    for site in sites("") {
        let all = |data: &str| site.publish(&json!({ "channel": "all", "data": data }).to_string());
        all("not for who comes later");
        let first = notify(&site, 42, "first");
        all("nor this");
        let second = notify(&site, 42, "second");
        let head = id_of(&all("nor that"));
        let mut tab = Subscriber::of(site.connect(), "42");
        // Cut off at once, it would get what it had not yet.
        assert!(tab.last_id < first, "{} {first}", tab.last_id);
        assert_eq!((tab.event().id, tab.event().id), (Some(first.clone()), Some(second)));
        // And then it is left where live events begin, by a block that fires nothing.
        let left = tab.event();
        assert_eq!((left.id.as_ref(), left.data), (Some(&head), None));
        all_is_read(&site, 42);
        all("live");
        assert_eq!(tab.data(), "live");
        assert_eq!(Subscriber::resume(site.connect(), "42", &head).data(), "live");
        // A client that says an id gets what came since, read or not.
        let mut again = Subscriber::resume(site.connect(), "42", &first);
        assert_eq!(caught_up(&mut again, 4), ["nor this", "second", "nor that", "live"]);
    }
}

#[test]
fn what_was_never_written_stays_unread() {
    // More than a socket takes, and less than the backlog: the reader is not cut off.
    const EVENTS: usize = 260;
    let site = site("backlog = \"16MiB\"", STORES[0]);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address: std::net::SocketAddr = site.address().parse().unwrap();
    socket.connect(&address.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let stuck = Subscriber::of(Client::over(stream, None), "42");
    let large = "x".repeat(60_000);
    for number in 0..EVENTS {
        notify(&site, 42, &format!("{number} {large}"));
    }
    site.becomes("deliveries", EVENTS as u64);
    drop(stuck);
    site.comes_true(|| "the reader is gone".to_owned(), || site.streams_of("user:42") == 0);
    let inbox = site.ask("/inbox/42");
    let left = usize::try_from(inbox["unread"].as_u64().unwrap()).unwrap();
    assert!(left > 1, "{left}");
    let told = caught_up(&mut Subscriber::of(site.connect(), "42"), left);
    assert_eq!(
        (told[0].as_str(), &told[left - 1]),
        (inbox["events"][0]["data"].as_str().unwrap(), &format!("{} {large}", EVENTS - 1))
    );
    all_is_read(&site, 42);
}

#[test]
fn http2_is_no_different() {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let more = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n";
    let site = Sidestream::start_in(folder, &in_front_of(NO_APP, "replay = \"unread\"", more));
    notify(&site, 42, "unread");
    let mut session = H2Session::connect(site.address_of(1));
    let mut tab = session.subscribe("42");
    notify(&site, 42, "live");
    assert_eq!(tab.data(), "unread");
    while tab.data() != "live" {}
    all_is_read(&site, 42);
}

#[test]
fn a_newer_event_of_its_key_takes_the_place_of_an_unread_one() {
    for site in sites("") {
        let keyed = |data: &str| {
            site.publish(&json!({ "user": 42, "collapse": "cart", "data": data }).to_string());
        };
        keyed("1 in the cart");
        notify(&site, 42, "news");
        keyed("2 in the cart");
        assert_eq!(unread(&site, 42), ["news", "2 in the cart"]);
        assert_eq!(caught_up(&mut Subscriber::of(site.connect(), "42"), 2), ["news", "2 in the cart"]);
        all_is_read(&site, 42);
        // One that is read is replaced by one that is not.
        keyed("3 in the cart");
        assert_eq!(unread(&site, 42), ["3 in the cart"]);
    }
}

#[test]
fn what_has_expired_is_never_told() {
    for site in sites("") {
        site.publish(r#"{"user": 42, "ttl": "3s", "data": "soon gone"}"#);
        notify(&site, 42, "stays");
        assert_eq!(unread(&site, 42), ["soon gone", "stays"]);
        site.comes_true(|| "it expires".to_owned(), || unread(&site, 42) == ["stays"]);
        assert_eq!(Subscriber::of(site.connect(), "42").data(), "stays");
    }
}

#[test]
fn with_ack_only_a_word_marks() {
    for site in sites("read = \"ack\"") {
        let id = notify(&site, 42, "one");
        notify(&site, 42, "two");
        for _ in 0..2 {
            let mut tab = Subscriber::of(site.connect(), "42");
            assert_eq!(caught_up(&mut tab, 2), ["one", "two"]);
        }
        assert_eq!(unread(&site, 42), ["one", "two"]);
        let marked = site.post("/inbox/42/read", &json!({ "read": [id] }).to_string());
        assert_eq!((marked.status, marked.json()), (200, json!({ "unread": 1 })));
        assert_eq!(Subscriber::of(site.connect(), "42").data(), "two");
    }
}

#[test]
fn a_long_absence_is_read_page_by_page_and_then_read() {
    for site in sites("") {
        let first = notify(&site, 42, "seen elsewhere");
        let missed: Vec<_> = (0..200).map(|number| format!("missed {number}")).collect();
        for data in &missed {
            notify(&site, 42, data);
        }
        let target = format!("/events?token={}", token("42"));
        let mut back = Subscriber::open(site.connect(), &target, &format!("Last-Event-ID: {first}\r\n"));
        assert_eq!(caught_up(&mut back, 200), missed);
        // Before that there is more than one answer holds.
        site.comes_true(|| "all but one is read".to_owned(), || site.ask("/inbox/42")["unread"] == 1);
        assert_eq!(unread(&site, 42), ["seen elsewhere"]);
        assert_eq!(Subscriber::of(site.connect(), "42").data(), "seen elsewhere");
        all_is_read(&site, 42);
    }
}
