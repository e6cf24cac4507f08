//! A client that goes away: the app must see it at once, and nothing of it must stay.

use crate::support::{App, Backend, Site};

#[test]
fn before_the_answer() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/slow", "");
    let mut app = backend.accept();
    app.head();
    drop(client);
    app.closed();
    site.becomes("connections", 0);
}

#[test]
fn in_the_middle_of_the_answer() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for framing in ["Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Content-Length: 100\r\n\r\nhello"] {
        let mut client = site.connect();
        client.get("/slow", "");
        let mut app = backend.accept();
        app.head();
        app.send(format!("HTTP/1.1 200 OK\r\n{framing}"));
        client.until("hello");
        drop(client);
        // The app is quiet, and still it is told.
        app.closed();
        site.becomes("connections", 0);
    }
}

#[test]
fn by_its_side_only_which_is_taken_for_all_of_it() {
    // As other proxies do: one who has gone cannot be told from one who only says no more.
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/slow", "");
    let mut app = backend.accept();
    app.head();
    client.finish();
    app.closed();
    client.closed();
}

#[test]
fn in_the_middle_of_an_upload() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for framed in ["Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Content-Length: 100\r\n\r\nhello"] {
        let mut client = site.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framed}"));
        let mut app = backend.accept();
        app.until("hello");
        drop(client);
        // Not as if the body were whole.
        assert!(!String::from_utf8(app.rest()).unwrap().contains("0\r\n\r\n"));
        site.becomes("connections", 0);
    }
}

#[test]
fn in_the_middle_of_a_head() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    site.connect().send("GET / HTTP/1.1\r\nHost: te");
    site.becomes("connections", 0);
    assert_eq!(app.connections(), 0);
}

#[test]
fn with_requests_behind_the_one_that_is_served() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send("GET /1 HTTP/1.1\r\nHost: test\r\n\r\nGET /2 HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut app = backend.accept();
    assert!(app.head().starts_with("GET /1 "));
    drop(client);
    // Its bytes hide its end until they are read, which is when the first answer is through.
    app.answer("one");
    drop(app);
    site.becomes("connections", 0);
}
