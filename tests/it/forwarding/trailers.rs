//! Fields behind a body: what must not be said in a head must not be said there either.

use crate::support::client::field;
use crate::support::{Backend, Site};

#[test]
fn a_client_says_nothing_in_trailers_that_it_could_not_say_in_a_head() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for name in [
        "X-Forwarded-For",
        "X-Forwarded-Anything",
        "X-Real-IP",
        "X-Request-ID",
        "Forwarded",
        "X_Forwarded_For",
        "SCRIPT_NAME",
        "Proxy",
        "X-Middleware-Subrequest",
        "Cookie",
        "Authorization",
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "Proxy-Authorization",
        "Expect",
        "Content-Length",
        "Transfer-Encoding",
        "Host",
    ] {
        let mut client = site.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, {name}\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Sum: 42\r\n{name}: evil\r\n\r\n"
        ));
        let mut app = backend.accept();
        app.head();
        let body = app.until("\r\n\r\n").to_ascii_lowercase();
        assert_eq!(body, "5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n", "{name}");
        app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.response().text(), "ok", "{name}");
    }
}

#[test]
fn a_request_whose_trailers_are_all_dropped_is_whole_without_them() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Real-IP\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Real-IP: 6.6.6.6\r\n\r\n",
    );
    let mut app = backend.accept();
    assert_eq!(app.request().1, b"hello");
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
    client.get("/next", "");
    assert!(app.head().starts_with("GET /next "));
}

#[test]
fn an_app_says_nothing_in_trailers_that_is_not_for_the_client() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for name in [
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "Proxy-Authenticate",
        "X-Accel-Redirect",
        "X-Sendfile",
        "Content-Length",
        "Transfer-Encoding",
        "Content-Encoding",
        "Set-Cookie",
    ] {
        let mut client = site.connect();
        client.get("/", "TE: trailers\r\nConnection: TE\r\n");
        let mut app = backend.accept();
        app.head();
        app.send(format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, {name}\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Sum: 42\r\n{name}: 7\r\n\r\n"
        ));
        assert_eq!(field(&client.head(), "transfer-encoding"), Some("chunked"));
        let body = client.until("\r\n\r\n").to_ascii_lowercase();
        assert_eq!(body, "5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n", "{name}");
    }
}
