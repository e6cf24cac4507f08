//! Streams on HTTP/2, where several share a connection with each other and with the app's requests.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::h2_session::{H2Session, WINDOW};
use crate::support::tokens::{in_a, signed};
use crate::support::{
    App, NO_APP, PATIENCE, Said, Sidestream, at_some_pace, in_front_of, publish, tls, token,
};

/// A site that speaks HTTP/2 only on its second listener, which is under TLS.
fn site(upstream: &str, stream: &str, more: &str) -> Sidestream {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let listen =
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n";
    Sidestream::start_in(folder, &in_front_of(upstream, stream, &format!("{listen}{more}")))
}

fn session(site: &Sidestream) -> H2Session {
    H2Session::connect(site.address_of(1))
}

#[test]
fn many_streams_share_a_connection_with_requests() {
    let app = App::that_echoes();
    let site = site(&app.origin(), "retry = \"2s\"", "");
    let mut session = session(&site);
    let mut tabs: Vec<_> = (0..10).map(|_| session.subscribe("42")).collect();
    let mut other = session.subscribe("43");
    assert_eq!(tabs[0].opening, format!("retry: 2000\nid: {}", tabs[0].last_id));
    assert!(session.get("/page", &[]).body().starts_with("GET /page HTTP/1.1"));
    let reply = site.publish(r#"{"user": 42, "event": "note", "data": "one"}"#);
    assert_eq!(reply["delivered"], 10);
    site.publish(r#"{"channel": "all", "data": "two"}"#);
    for tab in &mut tabs {
        let said = tab.event();
        assert_eq!((said.event.as_str(), said.data.as_deref()), ("note", Some("one")));
        assert_eq!(said.id.as_deref(), reply["id"].as_str());
        assert_eq!(tab.data(), "two");
    }
    assert_eq!(other.data(), "two");
    assert_eq!(session.get("/page", &[]).status(), 200);
    assert_eq!(site.count("connections"), 1);
}

#[test]
fn the_head_says_what_a_stream_is_and_nothing_of_the_connection() {
    let site = site(NO_APP, "headers = { x-stream = \"1\" }", "");
    let response = session(&site).send("GET", &format!("/events?token={}", token("42")), &[]);
    let fields = response.headers();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("x-stream", "1"),
    ] {
        assert_eq!(fields[name], value);
    }
    // RFC 9113, section 8.2.2.
    for name in ["connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"] {
        assert!(!fields.contains_key(name), "{name}");
    }
}

#[test]
fn a_refusal_is_an_answer_like_any_other() {
    let site = site(NO_APP, "", "");
    let mut session = session(&site);
    let (good, other) = (token("42"), [("origin", "https://evil.example")]);
    let cookie = format!("token={good}");
    for (target, fields, status) in [
        ("/events".to_owned(), vec![], 401),
        ("/events?token=bad".to_owned(), vec![], 401),
        (format!("/events?token={good}&channels=secret"), vec![], 403),
        (format!("/events?token={good}&channels="), vec![], 400),
        ("/events".to_owned(), vec![("cookie", &*cookie), other[0]], 403),
    ] {
        let response = session.get(&target, &fields);
        assert_eq!(response.status(), status, "{target}");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert!(serde_json::from_str::<Value>(response.body()).unwrap()["message"].is_string());
    }
    assert_eq!(session.send("POST", "/events", &[]).status(), 405);
    // A browser sends its cookies in crumbs and names its own origin.
    let fields = [("cookie", "a=b"), ("cookie", &*cookie), ("origin", "https://test")];
    session.open("/events", &fields);
}

#[test]
fn a_stream_that_is_ended_is_reset_after_its_last_words() {
    at_some_pace(|pace| {
        let exact = "[auth.exact]\nkind = \"jwt\"\nsecret = \"a secret of the tests, thirty-two bytes and more\"\n\
                 leeway = \"0s\"\n[[route]]\npath = \"/exact\"\n[route.stream]\nauth = [\"exact\"]\n";
        let site = site(NO_APP, "", exact);
        let mut session = session(&site);
        let token = signed(&json!({"sub": "42", "exp": in_a(pace.ms(300))}));
        let mut brief = session.open(&format!("/exact?token={token}"), &[]);
        let mut long = session.subscribe("42");
        site.publish(r#"{"user": 42, "data": "one"}"#);
        assert_eq!(brief.data(), "one");
        let last_words = brief.event();
        assert_eq!((last_words.event.as_str(), last_words.id), ("error", None));
        assert!(last_words.data.unwrap().contains("401"));
        assert_eq!(brief.try_event(), None);
        // The others on the connection go on.
        site.publish(r#"{"user": 42, "data": "two"}"#);
        assert_eq!((long.data(), long.data()), ("one".to_owned(), "two".to_owned()));
        assert_eq!(site.count("streams"), 1);
    });
}

#[test]
fn it_resumes_as_elsewhere() {
    let site = site(NO_APP, "", "");
    let mut session = session(&site);
    let first = session.subscribe("42");
    let id = first.last_id.clone();
    drop(first);
    site.publish(r#"{"user": 42, "data": "one"}"#);
    let target = format!("/events?token={}", token("42"));
    assert_eq!(session.open(&target, &[("last-event-id", &*id)]).data(), "one");
    let mut lost = session.open(&target, &[("last-event-id", "nonsense")]);
    let Said { event, data, .. } = lost.event();
    assert_eq!((event.as_str(), data.as_deref()), ("reset", Some("{\"reason\": \"unknown-id\"}")));
}

#[test]
fn a_tab_that_is_closed_is_gone_and_the_others_stay() {
    let site = site(NO_APP, "", "");
    let mut session = session(&site);
    let mut tabs: Vec<_> = (0..4).map(|_| session.subscribe("42")).collect();
    assert_eq!(site.count("streams"), 4);
    drop(tabs.split_off(2));
    let socket = site.publish_socket();
    // The resets leave while the connection is driven.
    session.while_driven(move || {
        let begun = Instant::now();
        while publish(&socket, r#"{"user": 42, "data": "x"}"#)["delivered"] != 2 {
            assert!(begun.elapsed() < PATIENCE, "they are still there");
        }
    });
    assert_eq!((site.count("streams"), site.streams_of("user:42")), (2, 2));
    assert_eq!((tabs[0].data(), tabs[1].data()), ("x".to_owned(), "x".to_owned()));
    drop((tabs, session));
    site.becomes("streams", 0);
    site.becomes("connections", 0);
}

#[test]
fn a_tab_that_does_not_read_is_reset_and_the_others_go_on() {
    let site = site(NO_APP, "backlog = \"32KiB\"", "[store]\nbytes = \"64MiB\"\n");
    let mut session = session(&site);
    let mut slow = session.subscribe("42");
    let mut quick = session.subscribe("42");
    let data = |n: usize| format!("{n} {}", "x".repeat(5000));
    let mut published = 0;
    while site.count("evicted") == 0 {
        site.publish(&format!(r#"{{"user": 42, "data": "{}"}}"#, data(published)));
        assert_eq!(quick.data(), data(published));
        published += 1;
        // Its window, what hyper holds, and the backlog.
        assert!(published * 5000 < WINDOW as usize + 64 * 1024 + 32 * 1024 + 20_000, "it is still there");
    }
    let mut next = 0;
    while let Some(said) = slow.try_event() {
        assert_eq!(said.data.unwrap(), data(next));
        next += 1;
    }
    assert!(next < published);
    let target = format!("/events?token={}", token("42"));
    let mut again = session.open(&target, &[("last-event-id", &*slow.last_id)]);
    for n in next..published {
        assert_eq!(again.data(), data(n));
    }
    assert_eq!(site.count("evicted"), 1);
}

#[test]
fn streams_of_a_connection_that_is_not_read_at_all_are_ended() {
    let site = site(NO_APP, "backlog = \"32KiB\"", "[store]\nbytes = \"64MiB\"\n");
    let mut session = session(&site);
    let mut tabs: Vec<_> = (0..3).map(|_| session.subscribe("42")).collect();
    let data = |n: usize| format!("{n} {}", "x".repeat(5000));
    let mut published = 0;
    // Nothing runs on the client's side meanwhile.
    while site.count("streams") > 0 {
        site.publish(&format!(r#"{{"user": 42, "data": "{}"}}"#, data(published)));
        published += 1;
        assert!(published * 5000 < WINDOW as usize + 64 * 1024 + 32 * 1024 + 20_000, "they are still there");
    }
    site.becomes("evicted", 3);
    for tab in &mut tabs {
        let mut next = 0;
        while let Some(said) = tab.try_event() {
            assert_eq!(said.data.unwrap(), data(next));
            next += 1;
        }
        let target = format!("/events?token={}", token("42"));
        let mut again = session.open(&target, &[("last-event-id", &*tab.last_id)]);
        for n in next..published {
            assert_eq!(again.data(), data(n));
        }
    }
}

#[test]
fn a_burst_is_not_the_readers_fault() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let site = site(NO_APP, "", "");
    let mut session = session(&site);
    let mut subscriber = session.subscribe("42");
    // In one piece, so that all is handed to the stream before its reader can say that it has room.
    let data = |n: usize| format!("{n} {}", "x".repeat(200));
    let lines: String = (0..200).map(|n| format!("{{\"user\": 42, \"data\": \"{}\"}}\n", data(n))).collect();
    let mut socket = std::os::unix::net::UnixStream::connect(site.publish_socket()).unwrap();
    socket.write_all(lines.as_bytes()).unwrap();
    assert_eq!(BufReader::new(socket).lines().take(200).map(Result::unwrap).count(), 200);
    for n in 0..200 {
        assert_eq!(subscriber.data(), data(n));
    }
    assert_eq!(site.count("evicted"), 0);
}

#[test]
fn the_end_of_the_process_resets_them_and_says_goodbye() {
    let app = App::that_echoes();
    let site = site(&app.origin(), "", "");
    let mut session = session(&site);
    let streams: Vec<_> = (0..3).map(|_| session.subscribe("42")).collect();
    session.get("/page", &[]);
    site.drain();
    for mut stream in streams {
        assert_eq!(stream.try_event(), None);
    }
    // A goodbye (GOAWAY) and a clean close, and not a broken connection.
    session.end().unwrap();
    site.wait();
}
