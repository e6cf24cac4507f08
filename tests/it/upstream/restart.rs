//! `retry_for`: an app that is being restarted is waited for.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::support::port::leave_stale;
use crate::support::{Backend, Client, PATIENCE, Port, Sidestream, Site};

const PATIENT: &str = "retry_for = \"60s\"";

const POST: &str = "POST /order HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi";

/// Sends a request and waits until it is held.
fn held(site: &Sidestream, request: &str) -> Client {
    let before = site.count("upstream_held");
    let mut client = site.connect();
    client.send(request);
    site.becomes("upstream_held", before + 1);
    client
}

#[test]
fn a_request_waits_for_a_socket_that_is_missing_or_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let site = Site::before(format!("unix:{}", path.display())).upstream(PATIENT).start();
    for leave in [false, true] {
        if leave {
            // The file alone, as a crash leaves it.
            leave_stale(&path);
        }
        let mut get = held(&site, "GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        let mut post = held(&site, POST);
        // Its body is with the client still.
        let mut large = held(&site, "POST /large HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n");
        if leave {
            std::fs::remove_file(&path).unwrap();
        }
        let backend = Backend::on(&path);
        large.send(vec![b'x'; 1_000_000]);
        for _ in 0..3 {
            let mut app = backend.accept();
            let (head, body) = app.request();
            let expected: &[u8] = if head.starts_with("POST /order ") { b"hi" } else { &body };
            assert_eq!(body, expected);
            app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
        for client in [&mut get, &mut post, &mut large] {
            assert_eq!(client.response().status, 200);
        }
        drop(backend);
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(site.count("upstream_errors"), 0);
}

#[test]
fn a_request_waits_for_a_port_that_refuses() {
    let port = Port::held();
    let site = Site::before(port.origin()).upstream(PATIENT).start();
    let mut client = held(&site, POST);
    let listener = port.listen();
    let (stream, _) = listener.accept().unwrap();
    let mut app = Client::over(stream, None);
    app.request();
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn who_has_waited_long_enough_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let origin = format!("unix:{}", folder.path().join("app.sock").display());
    let site = Site::before(origin).upstream("retry_for = \"300ms\"").start();
    let begun = Instant::now();
    let response = site.connect().get("/", "").response();
    assert_eq!((response.status, response.field("retry-after")), (502, Some("2")));
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(200), "{waited:?}");
}

/// Waits until a connection is in the queue of a listener, and leaves it there.
fn wait_for_one(listener: &impl AsFd) {
    let mut sockets = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
    let patience = Timespec::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut sockets, Some(&patience)).unwrap(), 1, "nobody comes");
}

#[test]
fn what_an_app_that_stops_has_not_accepted_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let site = Site::before(format!("unix:{}", path.display())).upstream(PATIENT).start();
    for request in ["GET /order HTTP/1.1\r\nHost: test\r\n\r\n", POST] {
        let listener = UnixListener::bind(&path).unwrap();
        let mut client = site.connect();
        client.send(request);
        wait_for_one(&listener);
        // Removed first, as gunicorn does, or nobody would be missing.
        std::fs::remove_file(&path).unwrap();
        let before = site.count("upstream_held");
        drop(listener);
        site.becomes("upstream_held", before + 1);
        let backend = Backend::on(&path);
        let mut app = backend.accept();
        let (head, _) = app.request();
        assert!(head.contains(" /order "), "{head}");
        app.answer("ok");
        assert_eq!(client.response().text(), "ok");
        drop((app, backend));
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn the_same_goes_for_an_app_on_a_port_of_this_machine() {
    let port = Port::held();
    let site = Site::before(port.origin()).upstream(PATIENT).start();
    for request in ["GET /order HTTP/1.1\r\nHost: test\r\n\r\n", POST] {
        let listener = port.listen();
        let mut client = site.connect();
        client.send(request);
        wait_for_one(&listener);
        let before = site.count("upstream_held");
        drop(listener);
        site.becomes("upstream_held", before + 1);
        let listener = port.listen();
        let mut app = Client::over(listener.accept().unwrap().0, None);
        assert!(app.request().0.contains(" /order "));
        app.answer("ok");
        assert_eq!(client.response().text(), "ok");
    }
}

#[test]
fn a_reset_says_nothing_of_a_program_that_has_its_socket_in_hand() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream("kind = \"node\"").upstream(PATIENT).start();
    let mut client = site.connect();
    client.send(POST);
    let mut app = backend.accept();
    app.request();
    // As `resetAndDestroy` does, when the order has been taken.
    app.reset();
    assert_eq!(client.response().status, 502);
    assert!(backend.is_left_alone());
    assert_eq!(site.count("upstream_retries"), 0);
}

#[test]
fn what_an_app_has_read_is_not_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let backend = Backend::on(&path);
    let site = Site::before(backend.origin()).upstream(PATIENT).start();
    let mut client = site.connect();
    client.send(POST);
    let mut app = backend.accept();
    app.request();
    drop(app);
    assert_eq!(client.response().status, 502);
    // One that is too large to be read in one piece may have been begun with.
    let mut client = site.connect();
    let body = "x".repeat(100_000);
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n{body}"));
    let mut app = backend.accept();
    app.head();
    drop(app);
    assert_eq!(client.response().status, 502);
    assert_eq!(site.count("upstream_retries"), 0);
}

#[test]
fn an_app_that_is_asked_who_is_signed_in_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let backend = Backend::on(&path);
    let ask = "[auth.ask]\nkind = \"ask\"\nupstream = \"app\"\npath = \"/me\"\nuser = \"/id\"\n\
               [[route]]\npath = \"/session\"\n[route.stream]\nauth = [\"ask\"]\n";
    let site = Site::before(format!("unix:{}", path.display())).upstream(PATIENT).more(ask).start();
    let mut client = site.connect();
    client.send("GET /session HTTP/1.1\r\nHost: test\r\nCookie: sessionid=x\r\n\r\n");
    let mut app = backend.accept();
    assert!(app.request().0.starts_with("GET /me "));
    std::fs::remove_file(&path).unwrap();
    drop((app, backend));
    let mut app = Backend::on(&path).accept();
    assert!(app.request().0.starts_with("GET /me "));
    app.answer(r#"{"id": 7}"#);
    assert!(client.head().starts_with("HTTP/1.1 200 "));
}
