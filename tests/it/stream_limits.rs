//! `[limits]`: what a client gets that is one too many, and that whatever a stream took is given back.

use crate::support::frames::{Frames, RST_STREAM};
use crate::support::h2_session::H2Session;
use crate::support::{Client, NO_APP, Sidestream, Subscriber, in_front_of, tls, token};

const TLS: &str =
    "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n";

fn site(stream: &str, more: &str) -> Sidestream {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    Sidestream::start_in(folder, &in_front_of(NO_APP, stream, &format!("{TLS}{more}")))
}

fn target(user: &str) -> String {
    format!("/events?token={}", token(user))
}

/// Opens a stream that is not refused.
fn let_in(client: Client, target: &str, fields: &str) -> Subscriber {
    let stream = Subscriber::open(client, target, fields);
    assert!(stream.opening.starts_with("retry: "), "{}", stream.opening);
    stream
}

/// Opens the stream of a user.
fn of(client: Client, user: &str) -> Subscriber {
    let_in(client, &target(user), "")
}

/// Asks for a stream, and returns what is said if it is refused at a limit: until the abrupt end.
fn refused(mut client: Client, target: &str, fields: &str) -> Option<String> {
    client.get(target, fields);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    let first = String::from_utf8(client.chunk()).unwrap();
    if !first.starts_with(": ") {
        return None;
    }
    // No last chunk.
    client.closed();
    Some(first)
}

/// How long a refused client is to wait, in milliseconds.
fn retry(said: &str) -> u64 {
    let (comment, rest) = said.split_once('\n').unwrap();
    assert!(comment.starts_with(": "), "{said}");
    rest.strip_prefix("retry: ").unwrap().strip_suffix("\n\n").unwrap().parse().unwrap()
}

/// Opens a stream as soon as there is room for it.
fn let_in_soon(site: &Sidestream, user: &str) -> Client {
    let mut found = None;
    site.comes_true(
        || format!("a stream of {user} is let in"),
        || {
            let mut client = site.connect();
            client.get(&target(user), "").head();
            let is_in = client.chunk().starts_with(b"retry: ");
            found = is_in.then_some(client);
            is_in
        },
    );
    found.unwrap()
}

#[test]
fn a_user_has_so_many_streams_on_all_workers_and_protocols() {
    let site = site("retry = \"2s\"", "[limits]\nstreams_per_user = 3\n");
    let mut session = H2Session::connect(site.address_of(1));
    let plain = of(site.connect(), "42");
    let secure = of(tls::connect(site.address_of(1), "test"), "42");
    let shared = session.subscribe("42");
    for client in [site.connect(), tls::connect(site.address_of(1), "test")] {
        let said = refused(client, &target("42"), "").unwrap();
        assert!(said.starts_with(": this user has too many streams open\n"), "{said}");
        assert!((12_000..=24_000).contains(&retry(&said)), "{said}");
    }
    // HTTP/1.0 reads until the end.
    let mut old = site.connect();
    old.send(format!("GET {} HTTP/1.0\r\n\r\n", target("42")));
    assert!(old.head().starts_with("HTTP/1.0 200 OK\r\n"));
    assert!(String::from_utf8(old.rest()).unwrap().ends_with("\n\n"));
    assert_eq!(site.count("streams_limited_user"), 3);
    assert_eq!(site.count("streams"), 3);
    let _other = of(site.connect(), "43");
    drop((plain, secure, shared, session));
    site.becomes("streams", 1);
    let _again: Vec<_> = (0..3).map(|_| of(site.connect(), "42")).collect();
}

#[test]
fn on_http2_the_one_too_many_is_reset_after_its_words() {
    let site = site("", "[limits]\nstreams_per_user = 1\n");
    let _held = of(site.connect(), "42");
    let mut frames = Frames::connect(site.address_of(1));
    frames.get(1, &target("42"));
    let head = frames.next().unwrap();
    assert!(head.is_ok(), "{head:?}");
    let words = frames.next().unwrap();
    assert!(words.content.starts_with(b": this user has too many streams open\nretry: "), "{words:?}");
    assert_eq!(words.flags & 1, 0, "END_STREAM would be a clean end");
    assert_eq!(frames.next_of(1, RST_STREAM).stream, 1);
    frames.get(3, &target("43"));
    assert!(frames.next_of(3, 1).is_ok(), "the connection goes on");
}

#[test]
fn twenty_are_enough_for_anybody_unless_it_is_said_otherwise() {
    let more = "[[route]]\npath = \"/own\"\n[route.stream]\nauth = [\"jwt\"]\nmax_per_user = 2\n\
                [[route]]\npath = \"/anybody\"\n[route.stream]\nauth = []\n";
    let site = site("", more);
    let _held: Vec<_> = (0..20).map(|_| of(site.connect(), "42")).collect();
    assert!(refused(site.connect(), &target("42"), "").is_some());
    let own = format!("/own?token={}", token("42"));
    let _own: Vec<_> = (0..2).map(|_| let_in(site.connect(), &own, "")).collect();
    assert!(refused(site.connect(), &own, "").is_some());
    let _anybody: Vec<_> = (0..25).map(|_| let_in(site.connect(), "/anybody", "")).collect();
    assert_eq!(site.count("streams_limited_user"), 2);
}

#[test]
fn all_streams_and_those_of_an_address_have_a_bound() {
    let site = site("", "[limits]\nstreams = 2\n");
    let one = of(site.connect(), "1");
    let _two = of(site.connect(), "2");
    let said = refused(site.connect(), &target("3"), "").unwrap();
    assert!((5000..=10_000).contains(&retry(&said)), "{said}");
    assert_eq!(site.count("streams_limited"), 1);
    drop(one);
    let_in_soon(&site, "3");
}

#[test]
fn the_address_is_the_one_behind_trusted_proxies() {
    let config = in_front_of(NO_APP, "", "[limits]\nstreams_per_address = 1\n");
    let site =
        Sidestream::start(&config.replace("workers = 2", "workers = 2\ntrusted_proxies = [\"127.0.0.1\"]"));
    let from = |address: &str| format!("X-Forwarded-For: {address}\r\n");
    let _held = ["10.1.0.1", "10.1.0.2", "2001:db8::1"]
        .map(|address| let_in(site.connect(), &target("42"), &from(address)));
    for address in ["10.1.0.1", "6.6.6.6, 10.1.0.2", "2001:db8::2"] {
        assert!(refused(site.connect(), &target("42"), &from(address)).is_some(), "{address}");
    }
    assert_eq!(site.count("streams_limited_address"), 3);

    let site = Sidestream::start(&config);
    let _held = let_in(site.connect(), &target("42"), &from("10.1.0.1"));
    assert!(refused(site.connect(), &target("42"), &from("10.1.0.2")).is_some(), "its word is not believed");
}

#[test]
fn new_streams_come_no_faster_than_they_may() {
    let cors = "[[route]]\npath = \"/shared\"\ncors = { origins = [\"https://app.example\"] }\n\
                [route.stream]\nauth = [\"jwt\"]\n";
    for (key, counter) in [
        ("opens_per_second", "streams_limited_rate"),
        ("opens_per_second_per_address", "streams_limited_address_rate"),
    ] {
        let site = site("retry = \"10ms\"", &format!("{cors}[limits]\n{key} = 1\n"));
        let mut said = Vec::new();
        site.comes_true(
            || "two come within a second".to_owned(),
            || {
                said.extend(refused(site.connect(), &target("42"), ""));
                !said.is_empty()
            },
        );
        assert!((1000..=3000).contains(&retry(&said[0])), "{said:?}");
        // A ticket costs as much.
        let refused = site.count(counter);
        let bearer = format!("Authorization: Bearer {}\r\nOrigin: https://app.example\r\n", token("42"));
        let ask = || site.connect().post("/shared?ticket=1", &bearer, "").response();
        let answer = site.comes(ask, |answer| answer.status != 200);
        assert_eq!((answer.status, answer.field("retry-after")), (429, Some("1")), "{}", answer.head);
        assert_eq!(answer.field("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(answer.json()["error"], "too_many_requests");
        assert!(site.count(counter) > refused);
    }
}

#[test]
fn strangers_use_up_nothing_that_others_share() {
    let site = site("", "[limits]\nopens_per_second = 2\nstreams = 2\n");
    let head = |request: &str| site.connect().send(request).response().status;
    for _ in 0..20 {
        let get = "GET /events?token=nonsense HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        assert_eq!(head(get), 401);
        for (target, status) in [("/events?ticket=1", 401), ("/events", 405)] {
            let post = format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(head(&post), status, "{target}");
        }
    }
    let _both = ["1", "2"].map(|user| of(site.connect(), user));
    assert_eq!(site.count("streams_limited_rate"), 0);
}

#[test]
fn whatever_ends_a_stream_gives_its_place_back() {
    let exact = "[[route]]\npath = \"/brief\"\n[route.stream]\nauth = [\"jwt\"]\nmax_age = \"5s\"\n";
    let config = format!("{exact}[store]\nbytes = \"64MiB\"\n[limits]\nstreams_per_user = 2\nstreams = 2\n");
    let site = site("backlog = \"1KiB\"", &config);
    // Closed, and reset.
    drop(of(site.connect(), "42"));
    let_in_soon(&site, "42");
    let mut client = site.connect();
    client.get(&target("42"), "").head();
    client.reset();
    site.becomes("streams", 0);
    // Gone before it was answered, and behind an answer that is not read.
    let accepted = site.count("connections_accepted");
    for _ in 0..20 {
        let mut client = site.connect();
        client.get(&target("42"), "");
        client.reset();
    }
    site.comes_true(
        || "those are gone".to_owned(),
        || site.count("connections_accepted") >= accepted + 20 && site.count("connections") == 0,
    );
    // Ended by age.
    let brief = format!("/brief?token={}", token("42"));
    let ended: Vec<_> = (0..2).map(|_| let_in(site.connect(), &brief, "")).collect();
    assert!(refused(site.connect(), &target("42"), "").is_some());
    ended.into_iter().for_each(|stream| drop(stream.end()));
    // Reset on HTTP/2, one by one and with their connection.
    let mut session = H2Session::connect(site.address_of(1));
    let streams = [session.subscribe("42"), session.subscribe("42")];
    assert!(refused(site.connect(), &target("42"), "").is_some());
    drop(streams);
    let socket = site.publish_socket();
    session.while_driven(move || {
        while crate::support::publish(&socket, r#"{"user": 42, "data": "x"}"#)["delivered"] != 0 {
            std::thread::yield_now();
        }
    });
    let streams = [session.subscribe("42"), session.subscribe("42")];
    drop((streams, session));
    site.becomes("streams", 0);
    // Evicted.
    let mut slow = site.connect();
    slow.get(&target("42"), "").head();
    let data = "x".repeat(100_000);
    while site.count("evicted") == 0 {
        site.publish(&format!(r#"{{"user": 42, "data": "{data}"}}"#));
    }
    drop(slow);
    site.becomes("streams", 0);
    let _both = [of(site.connect(), "42"), of(site.connect(), "42")];
    assert!(refused(site.connect(), &target("42"), "").is_some(), "no more came back than were taken");
}

#[test]
fn a_churn_of_many_leaves_nothing_behind() {
    let site = site("", "[limits]\nstreams_per_user = 4\nstreams = 8\nstreams_per_address = 8\n");
    std::thread::scope(|scope| {
        for user in ["1", "2", "3", "4"] {
            let site = &site;
            scope.spawn(move || {
                for _ in 0..50 {
                    let mut client = site.connect();
                    client.get(&target(user), "");
                    if fastrand::bool() {
                        client.head();
                    }
                    if fastrand::bool() { drop(client) } else { client.reset() }
                }
            });
        }
    });
    site.becomes("streams", 0);
    site.becomes("connections", 0);
    let _all: Vec<_> = ["1", "2"]
        .into_iter()
        .flat_map(|user| (0..4).map(|_| of(site.connect(), user)).collect::<Vec<_>>())
        .collect();
    assert!(refused(site.connect(), &target("3"), "").is_some());
    assert_eq!(site.count("streams_uncounted"), 0);
}

#[test]
fn a_refused_client_is_gone_soon_and_the_log_has_its_line() {
    let site = site("", "[limits]\nstreams_per_user = 1\n");
    let _held = of(site.connect(), "42");
    refused(site.connect(), &target("42"), "").unwrap();
    site.becomes("connections", 1);
    let path = site.path("access.log");
    site.comes_true(
        || "the request is logged".to_owned(),
        || std::fs::read_to_string(&path).unwrap().contains("\"status\":200"),
    );
    assert_eq!(site.count("streams_opened"), 1);
}
