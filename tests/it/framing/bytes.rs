//! Bytes that have no place in a head, and heads with one field too many.

use crate::support::client::field;
use crate::support::{App, Backend, Site};

#[test]
fn control_bytes_in_a_field_are_refused_wherever_they_are() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let bytes = (0..=0x1f).chain([0x7f]).filter(|byte| !matches!(byte, b'\t' | b'\n'));
    let mut tried = 0;
    for byte in bytes {
        for place in ["name", "value"] {
            let mut head = b"GET / HTTP/1.1\r\nHost: test\r\nX".to_vec();
            match place {
                "name" => head.extend([b'-', byte, b'-', b':', b'y']),
                _ => head.extend([b':', b'a', byte, b'b']),
            }
            head.extend(b"\r\n\r\n");
            let mut client = site.connect();
            assert_eq!(client.send(head).response().status, 400, "{byte:#x} in a {place}");
            client.closed();
            tried += 1;
        }
    }
    assert_eq!(tried, 62);
    assert!(backend.is_left_alone());
}

#[test]
fn a_fragment_never_reaches_the_app() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    // Readers differ in whether it belongs to the path or to the query.
    for (target, forwarded) in [("/a#b", "/a"), ("/a?b#c", "/a?b"), ("/#", "/"), ("http://test/a#b", "/a")] {
        let head = site.connect().get(target, "").response().text();
        assert_eq!(head.lines().next(), Some(format!("GET {forwarded} HTTP/1.1").as_str()), "{target}");
    }
    // It hides no route either.
    assert_eq!(site.connect().get("/events#a", "").response().status, 401);
}

#[test]
fn a_hundred_fields_pass_and_one_more_is_too_many() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    // Host is one of them.
    let fields = |count: usize| -> String { (1..count).map(|n| format!("X-{n}: y\r\n")).collect() };
    let mut client = site.connect();
    client.get("/", &fields(100));
    let mut app = backend.accept();
    assert_eq!(field(&app.head(), "x-99"), Some("y"));
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
    let mut client = site.connect();
    client.get("/", &fields(101));
    assert_eq!(client.response().status, 431);
    client.closed();
    assert!(backend.is_left_alone());
}
