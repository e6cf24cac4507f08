//! Connections to the app: made when they are needed, used again, given up in time.

use std::time::{Duration, Instant};

use crate::support::client::field;
use crate::support::pace::at_best;
use crate::support::{Backend, Client, Sidestream, Site};

/// Sends a request and plays the app for it on a connection.
fn answered(client: &mut Client, app: &mut Client, target: &str) {
    client.get(target, "");
    assert!(app.head().starts_with(&format!("GET {target} ")));
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

/// A client and a connection to the app that has served it once and waits.
fn warm(site: &Sidestream, backend: &Backend) -> (Client, Client) {
    let mut client = site.connect();
    client.get("/first", "");
    let mut app = backend.accept();
    app.head();
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
    (client, app)
}

#[test]
fn a_connection_serves_one_client_after_the_other_and_none_is_made_in_advance() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let (mut first, mut app) = warm(&site, &backend);
    answered(&mut site.connect(), &mut app, "/second");
    answered(&mut first, &mut app, "/third");
    assert!(backend.is_left_alone());

    // Two at once need two; the one used last is used next.
    let (mut one, mut two) = (site.connect(), site.connect());
    one.get("/one", "");
    app.head();
    two.get("/two", "");
    let mut second = backend.accept();
    second.head();
    second.answer("2");
    assert_eq!(two.response().text(), "2");
    app.answer("1");
    assert_eq!(one.response().text(), "1");
    answered(&mut two, &mut app, "/last");
    assert!(backend.is_left_alone());
}

#[test]
fn a_connection_is_kept_for_less_long_than_the_app_keeps_it() {
    let (gunicorn, uvicorn) = (Backend::start(), Backend::start());
    let wsgi = Site::before(gunicorn.origin()).upstream("kind = \"wsgi\"").start();
    let asgi = Site::before(uvicorn.origin()).upstream("kind = \"asgi\"").start();
    // gunicorn closes after two seconds, and the other one after five.
    let kept = at_best(Duration::from_secs(2), || {
        let begun = Instant::now();
        let (_client, mut sync) = warm(&wsgi, &gunicorn);
        sync.closed();
        begun.elapsed()
    });
    assert!(kept > Duration::from_millis(1400) && kept < Duration::from_secs(2), "{kept:?}");
    let kept = at_best(Duration::from_secs(5), || {
        let begun = Instant::now();
        let (_client, mut other) = warm(&asgi, &uvicorn);
        other.closed();
        begun.elapsed()
    });
    assert!(kept > Duration::from_secs(3) && kept < Duration::from_secs(5), "{kept:?}");
}

#[test]
fn a_connection_that_the_app_has_closed_is_not_used() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let (mut client, app) = warm(&site, &backend);
    drop(app);
    // Even if its end has not been seen yet, this one may be repeated.
    client.get("/again", "");
    let mut app = backend.accept();
    assert!(app.head().starts_with("GET /again "));
    app.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    let response = client.response();
    assert_eq!((response.text().as_str(), response.field("connection")), ("ok", None));
    // The app said that this was the last.
    client.get("/third", "");
    let mut app = backend.accept();
    assert!(app.head().starts_with("GET /third "));
}

#[test]
fn what_may_be_repeated_is_repeated_once_if_a_waiting_connection_dies_under_it() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        let (mut client, mut app) = warm(&site, &backend);
        client.send(format!("{method} /twice HTTP/1.1\r\nHost: test\r\nX: y\r\n\r\n"));
        let first = app.head();
        drop(app);
        let mut app = backend.accept();
        assert_eq!(app.head(), first, "it is the same request");
        app.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response_to(method).status, 200);

        // A closed connection on which something arrives may answer by a reset.
        let (mut client, mut app) = warm(&site, &backend);
        client.send(format!("{method} /reset HTTP/1.1\r\nHost: test\r\n\r\n"));
        app.head();
        app.reset();
        let mut app = backend.accept();
        app.head();
        app.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response_to(method).status, 200);

        // Not a third time.
        let (mut client, mut app) = warm(&site, &backend);
        client.send(format!("{method} /thrice HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
        app.head();
        drop(app);
        backend.accept().head();
        assert_eq!(client.response_to(method).status, 502);
        assert!(backend.is_left_alone());
    }
}

#[test]
fn what_the_app_may_have_done_already_is_not_repeated() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for request in [
        "POST /order HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi",
        "POST /order HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
        "PATCH /order HTTP/1.1\r\nHost: test\r\n\r\n",
        // Its body is on its way and kept nowhere.
        "PUT /order HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi",
        "PUT /order HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ] {
        let (mut client, mut app) = warm(&site, &backend);
        client.send(request);
        app.request();
        drop(app);
        assert_eq!(client.response().status, 502, "{request}");
        assert!(backend.is_left_alone(), "{request}");
    }
}

#[test]
fn what_has_been_answered_in_part_is_not_repeated() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for part in ["H", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let (mut client, mut app) = warm(&site, &backend);
        client.get("/begun", "");
        app.head();
        app.send(part);
        drop(app);
        assert_eq!(client.response().status, 502, "{part}");
        assert!(backend.is_left_alone(), "{part}");
    }
}

#[test]
fn a_new_connection_that_dies_is_not_tried_again() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/", "");
    backend.accept().head();
    assert_eq!(client.response().status, 502);
    assert!(backend.is_left_alone());
}

#[test]
fn what_an_app_says_unasked_is_nobodys_answer() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let stray = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";
    let mut client = site.connect();
    // In one piece with an answer, and some time after it.
    for answer in [format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{stray}"), stray.to_owned()] {
        client.get("/", "");
        let mut app = backend.accept();
        app.head();
        app.send(answer);
        client.response();
        let _ = app.try_send(stray);
        app.closed();
    }
    let (mut client, mut app) = warm(&site, &backend);
    app.send(stray);
    app.closed();
    client.get("/next", "");
    let mut app = backend.accept();
    app.head();
    app.answer("right");
    assert_eq!(client.response().text(), "right");
}

#[test]
fn an_app_on_a_unix_socket_may_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let backend = Backend::on(&path);
    let site = Site::before(backend.origin()).start();
    let (mut client, mut app) = warm(&site, &backend);
    client.get("/unix", "");
    let head = app.head();
    assert_eq!(field(&head, "host"), Some("test"));
    app.answer("ok");
    client.response();
    drop((app, backend));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(client.get("/", "Connection: keep-alive\r\n").response().status, 502);
    let backend = Backend::on(&path);
    client.get("/new", "");
    let mut app = backend.accept();
    assert!(app.head().starts_with("GET /new "));
    app.answer("ok");
    assert_eq!(client.response().status, 200);
}

#[test]
fn several_servers_take_turns_and_stand_in_for_each_other() {
    let (one, two) = (Backend::start(), Backend::start());
    // `Site` writes one server; the quotes end it and begin the next.
    let site = Site::before(format!("{}\", \"{}", one.origin(), two.origin())).start();
    let ask = |backend: &Backend| {
        let mut client = site.connect();
        client.get("/", "");
        let mut app = backend.accept();
        app.head();
        app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.response().status, 200);
    };
    for backend in [&one, &two, &one, &two] {
        ask(backend);
    }
    drop(one);
    for _ in 0..4 {
        ask(&two);
    }
}
