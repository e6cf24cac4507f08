//! What a stream opens with, over every protocol but HTTP/2.

use crate::support::client::field;
use crate::support::{App, Client, NO_APP, Said, Sidestream, Subscriber, in_front_of, tls, token};

#[test]
fn it_opens_with_an_id_that_fires_nothing_and_the_time_to_come_back() {
    let site = Sidestream::start(&in_front_of(NO_APP, "retry = \"2s\"", ""));
    let subscriber = Subscriber::of(site.connect(), "42");
    assert!(subscriber.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", subscriber.head);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("referrer-policy", "no-referrer"),
        ("transfer-encoding", "chunked"),
    ] {
        assert_eq!(field(&subscriber.head, name), Some(value));
    }
    assert!(
        field(&subscriber.head, "date").is_some_and(|date| date.ends_with(" GMT")),
        "{}",
        subscriber.head
    );
    for name in ["content-length", "content-encoding", "connection"] {
        assert_eq!(field(&subscriber.head, name), None);
    }
    let (epoch, seq) = subscriber.last_id.split_once('-').unwrap();
    assert_eq!((epoch.len(), seq), (6, "0"));
    assert_eq!(subscriber.opening, format!("retry: 2000\nid: {}", subscriber.last_id));
}

#[test]
fn it_opens_with_hello_if_there_is_one() {
    let hello = "hello = { event = \"connected\", data = '{\"a\": 1}' }";
    let site = Sidestream::start(&in_front_of(NO_APP, hello, ""));
    let subscriber = Subscriber::of(site.connect(), "42");
    let id = &subscriber.last_id;
    let expected = format!("retry: 5000\nid: {id}\nevent: connected\ndata: {{\"a\": 1}}");
    assert_eq!(subscriber.opening, expected);
    assert!(id.ends_with("-0"), "{id}");
}

#[test]
fn its_route_may_add_and_change_fields() {
    let headers = "headers = { cache-control = \"no-cache, no-transform\", X-Stream = \"1\" }";
    let site = Sidestream::start(&in_front_of(NO_APP, headers, ""));
    let head = Subscriber::of(site.connect(), "42").head;
    assert_eq!(field(&head, "cache-control"), Some("no-cache, no-transform"));
    assert_eq!(field(&head, "x-stream"), Some("1"));
    assert_eq!(head.to_ascii_lowercase().matches("cache-control").count(), 1, "{head}");
}

#[test]
fn it_needs_no_accept_and_is_never_compressed() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    for fields in ["", "Accept: text/html\r\n", "Accept: text/event-stream\r\nAccept-Encoding: gzip, br\r\n"]
    {
        let target = format!("/events?token={}", token("42"));
        let head = Subscriber::open(site.connect(), &target, fields).head;
        assert_eq!(field(&head, "content-encoding"), None, "{fields}");
    }
}

#[test]
fn an_event_is_one_chunk_and_one_line_of_data_a_line() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let mut client = site.connect();
    client.get(&format!("/events?token={}", token("42")), "");
    client.head();
    client.chunk();
    let reply =
        site.publish(r#"{"user": 42, "event": "note", "data": "one\ntwo\r\nthree\rfour\n", "retry": 70}"#);
    let id = reply["id"].as_str().unwrap();
    let expected = format!(
        "id: {id}\nevent: note\nretry: 70\ndata: one\ndata: two\ndata: three\ndata: four\ndata: \n\n"
    );
    assert_eq!(String::from_utf8(client.chunk()).unwrap(), expected);

    let reply = site.publish(r#"{"user": 42, "data": {"a": [1, "ü"]}}"#);
    let expected = format!("id: {}\ndata: {{\"a\": [1, \"ü\"]}}\n\n", reply["id"].as_str().unwrap());
    assert_eq!(String::from_utf8(client.chunk()).unwrap(), expected);
}

#[test]
fn http_1_0_reads_without_chunks_until_the_end() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let mut client = site.connect();
    client.send(format!("GET /events?token={} HTTP/1.0\r\n\r\n", token("42")));
    let mut subscriber = Subscriber::opened(client);
    assert!(subscriber.head.starts_with("HTTP/1.0 200 OK\r\n"), "{}", subscriber.head);
    assert_eq!(field(&subscriber.head, "transfer-encoding"), None);
    assert_eq!(field(&subscriber.head, "connection"), Some("close"));
    site.publish(r#"{"user": 42, "data": "one"}"#);
    let said = subscriber.event();
    assert_eq!((said.data.as_deref(), said.id.is_some()), (Some("one"), true));
    site.stop();
    assert_eq!(subscriber.end(), "");
}

#[test]
fn it_goes_over_tls_as_it_goes_without() {
    let app = App::that_echoes();
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "shop", &["shop.example"]);
    let listen =
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"shop.crt\", key = \"shop.key\" }]\n";
    let stream = "heartbeat = { every = \"20ms\", comment = \"beat\" }";
    let site = Sidestream::start_in(folder, &in_front_of(&app.origin(), stream, listen));
    // After an ordinary request on the same connection.
    let mut client = tls::connect(site.address_of(1), "shop.example");
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    client.send(request("/page"));
    assert_eq!(client.response().status, 200);
    client.send(request(&format!("/events?token={}", token("42"))));
    let mut subscriber = Subscriber::opened(client);
    assert_eq!(subscriber.line(), ":beat");
    // More than a TLS record, and more than the session holds at once.
    let long = "x".repeat(200_000);
    site.publish(&format!(r#"{{"user": 42, "data": "{long}"}}"#));
    assert_eq!(subscriber.data(), long);
    site.stop();
    subscriber.end();
}

#[test]
fn it_goes_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let listen = format!("[[listen]]\naddress = \"unix:{}/web.sock\"\n", folder.path().display());
    let site = Sidestream::start_in(folder, &in_front_of(NO_APP, "", &listen));
    let mut subscriber = Subscriber::of(Client::connect(site.address_of(1)), "42");
    site.publish(r#"{"user": 42, "data": "one"}"#);
    assert_eq!(subscriber.data(), "one");
}

#[test]
fn an_id_that_is_given_is_the_newest_of_all_channels() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    let id = site.publish(r#"{"channel": "elsewhere", "data": "one"}"#)["id"].as_str().unwrap().to_owned();
    let subscriber = Subscriber::of(site.connect(), "42");
    assert_eq!(subscriber.last_id, id);
    assert_eq!(Said::parse(&subscriber.opening), Said { id: Some(id), ..Said::default() });
}
