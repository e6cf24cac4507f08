//! Fields that pass, and fields that do not.

use super::{fields, refused, seen};
use crate::support::{App, Backend, Site};

#[test]
fn ordinary_fields_pass_unchanged_and_in_number() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    let sent = "Accept: a\r\nAccept: b\r\nAuthorization: Basic eA==\r\nCookie: a=\"b c\"; d\r\nX: \r\nRange: bytes=0-";
    let expected = [
        "accept: a",
        "accept: b",
        "authorization: Basic eA==",
        "cookie: a=\"b c\"; d",
        "range: bytes=0-",
        "x:",
    ];
    let seen = seen(&mut site.connect(), &format!("{sent}\r\n"));
    assert_eq!(seen.iter().map(|field| field.trim()).collect::<Vec<_>>(), expected);
}

#[test]
fn fields_of_one_connection_stay_on_it() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    for (sent, left) in [
        // Every line counts, whatever is on the first.
        ("Connection: X-One\r\nConnection: keep-alive, x-two ,\r\nX-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\n", 1),
        ("Connection: keep-alive\r\nConnection:\r\nconnection: X-ONE\r\nX-One: 1\r\nX-One: 2\r\n", 0),
        ("Connection: @, ,X-One\r\nX-One: 1\r\n", 0),
        ("Keep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authorization: Basic eA==\r\n", 0),
        ("Proxy-Authenticate: Basic\r\nTE: gzip\r\nTrailer: X\r\nX-One: 1\r\n", 2),
        ("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", 0),
        ("HTTP2-Settings: AAMAAABkAAQAAP__\r\nUpgrade: TLS/1.0, h2c\r\n", 0),
    ] {
        let seen = seen(&mut site.connect(), sent);
        assert_eq!(seen.len(), left, "{sent} became {seen:?}");
    }
}

#[test]
fn a_client_cannot_take_from_a_request_what_the_app_relies_on() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for name in ["Host", "cookie", "AUTHORIZATION", "Content-Length", "Content-Type", "content-encoding"] {
        for line in
            [format!("Connection: {name}\r\n"), format!("Connection: close\r\nConnection: x, {name}\r\n")]
        {
            let mut client = site.connect();
            client.get("/", &format!("{line}Cookie: a=b\r\nAuthorization: x\r\n"));
            let response = refused(&mut client, 400);
            assert!(response.text().contains("Connection"), "{}", response.text());
        }
    }
    assert!(backend.is_left_alone());
    // What Sidestream says itself cannot be named away.
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    let named = "Connection: X-Forwarded-For, X-Forwarded-Proto, X-Real-IP, X-Request-ID, Forwarded\r\n";
    let head = site.connect().get("/", named).response().text();
    for name in
        ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http", "x-real-ip: 127.0.0.1", "x-request-id: "]
    {
        assert!(head.contains(name), "{head}");
    }
}

#[test]
fn names_that_an_app_could_take_for_others_are_dropped() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    for name in [
        "X_Forwarded_For",
        "X-Forwarded_For",
        "SCRIPT_NAME",
        "PATH_INFO",
        "REMOTE_USER",
        "Content_Length",
        "_",
        "Proxy",
        "X-Middleware-Subrequest",
    ] {
        assert_eq!(
            seen(&mut site.connect(), &format!("{name}: evil\r\n{name}: twice\r\n")),
            [""; 0],
            "{name}"
        );
    }
}

#[test]
fn cookies_on_several_lines_become_one() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    let sent = "Cookie: sessionid=a\r\nX: y\r\ncookie: csrftoken=b; c=d\r\nCOOKIE: e=f\r\n";
    assert_eq!(seen(&mut site.connect(), sent), ["cookie: sessionid=a; csrftoken=b; c=d; e=f", "x: y"]);
}

#[test]
fn an_answer_keeps_its_fields_and_loses_those_of_its_connection() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/", "");
    let mut app = backend.accept();
    app.head();
    app.send(
        "HTTP/1.1 418 Whatever\r\nContent-Length: 2\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\n\
         Connection: X-Hop\r\nConnection: keep-alive, x-hip\r\nX-Hop: 1\r\nX-Hip: 2\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Accel-Expires: 5\r\nX-Accel-Buffering: no\r\n\
         X-Accel-Redirect: /secret\r\nX-Sendfile: /etc/passwd\r\nX_Under: kept\r\nServer: gunicorn\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nok",
    );
    let response = client.response();
    assert_eq!(response.status, 418);
    let expected = [
        "content-length: 2",
        "date: Thu, 01 Jan 1970 00:00:00 GMT",
        "server: gunicorn",
        "set-cookie: a=1; Path=/",
        "set-cookie: b=2",
        "x_under: kept",
    ];
    assert_eq!(fields(&response.head), expected);
}

#[test]
fn a_response_cannot_be_split_by_what_a_client_sent() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    let mut client = site.connect();
    // Encoded, it is only text; a bare CR in it is refused (see the tests of framing).
    let response = client.get("/%0d%0aSet-Cookie:%20evil=1", "X: %0d%0aSet-Cookie: evil=1\r\n").response();
    assert_eq!(response.field("set-cookie"), None);
    assert!(response.text().starts_with("GET /%0d%0aSet-Cookie:%20evil=1 HTTP/1.1\r\n"));
}
