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
    for target in ["/a#b", "/a?b#c", "/#", "http://test/a#b", "/events#a"] {
        assert_eq!(site.connect().get(target, "").response().status, 400, "{target}");
        let mut client = site.connect();
        assert_eq!(client.get("/", "Cookie: a#b\r\n").response().status, 200);
        assert_eq!(client.get(target, "").response().status, 400, "{target}");
        client.closed();
    }
    // In a request that comes before its turn it is cut off, and hides no route either.
    let mut client = site.connect();
    client.send(b"GET /one HTTP/1.1\r\nHost: test\r\n\r\nGET /two#b HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(client.response().text().starts_with("GET /one HTTP/1.1\r\n"));
    assert!(client.response().text().starts_with("GET /two HTTP/1.1\r\n"));
}

#[test]
fn what_only_looks_like_a_fragment_is_let_through() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    let mut client = site.connect();
    // A body that comes after the answer, and one that comes with its head.
    client.send("POST /events HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\n");
    assert_eq!(client.response().status, 405);
    let _ = client.try_send("#\r\n\r\n#");
    let mut client = site.connect();
    assert_eq!(client.post("/events", "", "# # #\r\n\r\n").response().status, 405);
    assert_eq!(client.get("/", "").response().status, 200);
    // Heads in pieces.
    for pieces in [
        &["GET /", "a HTTP/1.1\r\nHost: test\r\n", "X: #\r\n\r\n"][..],
        &["\r\nGET /b HTTP/1.1\r\nHost: test\r\nX: #\r\n\r\n"],
    ] {
        for piece in pieces {
            client.send(piece);
        }
        assert_eq!(client.response().status, 200);
    }
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
