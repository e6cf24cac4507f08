//! The socket of a stream, which was an HTTP connection's before.

use std::time::Duration;

use crate::support::h2_session::H2Session;
use crate::support::{App, NO_APP, Sidestream, Subscriber, at_some_pace, in_front_of, tls, token};

fn request() -> String {
    format!("GET /events?token={} HTTP/1.1\r\nHost: test\r\n\r\n", token("42"))
}

#[test]
fn an_answer_that_was_asked_for_first_comes_first() {
    // Larger than what sockets hold, so that it is not written yet when the stream could begin.
    let size = 20_000_000;
    let body = "x".repeat(size);
    let app = App::that_says(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{body}"));
    let site = Sidestream::start(&in_front_of(&app.origin(), "", ""));
    let mut client = site.connect();
    client.send(format!("GET /big HTTP/1.1\r\nHost: test\r\n\r\n{}", request()));
    let response = client.response();
    assert_eq!((response.status, response.body.len()), (200, size));
    let mut subscriber = Subscriber::opened(client);
    site.publish(r#"{"user": 42, "data": "one"}"#);
    assert_eq!(subscriber.data(), "one");
}

#[test]
fn small_answers_before_it_are_all_there() {
    let app = App::that_echoes();
    let site = Sidestream::start(&in_front_of(&app.origin(), "", ""));
    let mut client = site.connect();
    let pages: String = (0..5).map(|n| format!("GET /page/{n} HTTP/1.1\r\nHost: test\r\n\r\n")).collect();
    client.send(pages + &request());
    for n in 0..5 {
        let response = client.response();
        assert!(response.text().starts_with(&format!("GET /page/{n} ")), "{}", response.text());
    }
    let mut subscriber = Subscriber::opened(client);
    site.publish(r#"{"user": 42, "data": "one"}"#);
    assert_eq!(subscriber.data(), "one");
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_refusal_before_it_leaves_the_connection_as_it_is() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let mut client = site.connect();
    client.send("GET /events?token=bad HTTP/1.1\r\nHost: test\r\n\r\n".to_owned() + &request());
    assert_eq!(client.response().status, 401);
    Subscriber::opened(client);
}

#[test]
fn what_a_client_sends_after_its_request_is_nothing() {
    let app = App::that_echoes();
    let site = Sidestream::start(&in_front_of(&app.origin(), "", ""));
    let mut client = site.connect();
    // In one piece with the request, and after it.
    client.send(request() + "GET /admin HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut subscriber = Subscriber::opened(client);
    for _ in 0..8 {
        subscriber.client().send("GET /admin HTTP/1.1\r\nHost: test\r\n\r\n");
        subscriber.client().send([0; 1024]);
    }
    assert!(subscriber.is_silent_for(Duration::from_millis(30)));
    site.publish(r#"{"user": 42, "data": "one"}"#);
    assert_eq!(subscriber.data(), "one");
    assert_eq!(app.connections(), 0);
}

#[test]
fn a_client_that_does_not_stop_sending_is_cut_off() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let mut subscriber = Subscriber::of(site.connect(), "42");
    let mut sent = 0;
    while subscriber.client().try_send([b'x'; 4096]).is_ok() {
        sent += 4096;
        assert!(sent < 64 << 20, "it reads on and on");
    }
    site.becomes("streams", 0);
}

#[test]
fn a_client_that_is_gone_at_once_leaves_nothing() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    for n in 0..20 {
        let mut client = site.connect();
        client.send(request());
        if n % 2 == 0 {
            // Gone before it reads, with what was sent to it unread: a reset.
            drop(client);
        } else {
            client.finish();
        }
    }
    site.becomes("connections_accepted", 20);
    site.becomes("connections", 0);
    assert_eq!((site.count("streams"), site.streams_of("user:42")), (0, 0));
}

#[test]
fn the_deadlines_of_requests_are_not_for_streams() {
    at_some_pace(|pace| {
        let app = App::that_echoes();
        let folder = tempfile::tempdir().unwrap();
        tls::certificate(folder.path(), "test", &["test"]);
        let deadlines = &pace.of(
        "header_timeout = \"60ms\"\nidle_timeout = \"60ms\"\nbody_stall = \"60ms\"\nwrite_stall = \"60ms\"\n",
    );
        let config = in_front_of(&app.origin(), "heartbeat = false", "");
        let config = config.replace("127.0.0.1:0\"\n", &format!("127.0.0.1:0\"\n{deadlines}"))
            + "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n"
            + deadlines;
        let site = Sidestream::start_in(folder, &config);
        let mut plain = Subscriber::of(site.connect(), "42");
        let mut under_tls = Subscriber::of(tls::connect(site.address_of(1), "test"), "42");
        let mut session = H2Session::connect(site.address_of(1));
        let mut multiplexed = session.subscribe("42");
        // One that waits for nothing is closed after all of the deadlines have passed, and has begun after the streams.
        let mut idle = site.connect();
        assert_eq!(idle.get("/page", "").response().status, 200);
        idle.closed();
        assert!(plain.is_silent_for(pace.ms(100)));
        assert_eq!(site.publish(r#"{"user": 42, "data": "one"}"#)["delivered"], 3);
        assert_eq!(
            (plain.data(), under_tls.data(), multiplexed.data()),
            ("one".into(), "one".into(), "one".into())
        );
    });
}
