//! Which requests are looked at at all: by method, target and Host.

use super::{fields, refused};
use crate::support::{App, Backend, Client, Site};

#[test]
fn a_request_needs_exactly_one_valid_host() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for (line, hosts) in [
        ("GET / HTTP/1.1", ""),
        ("GET / HTTP/1.1", "Host:\r\n"),
        ("GET / HTTP/1.1", "Host: a\r\nHost: a\r\n"),
        ("GET / HTTP/1.1", "Host: a\r\nX: y\r\nhost: b\r\n"),
        ("GET / HTTP/1.1", "Host: a, b\r\n"),
        ("GET / HTTP/1.1", "Host: a b\r\n"),
        ("GET / HTTP/1.1", "Host: user@a\r\n"),
        ("GET / HTTP/1.1", "Host: a/b\r\n"),
        ("GET / HTTP/1.1", "Host: a?b\r\n"),
        ("GET / HTTP/1.1", "Host: a#b\r\n"),
        ("GET / HTTP/1.1", "Host: a\\b\r\n"),
        ("GET / HTTP/1.1", "Host: a:80:80\r\n"),
        ("GET / HTTP/1.1", "Host: a:http\r\n"),
        ("GET / HTTP/1.1", "Host: :80\r\n"),
        ("GET / HTTP/1.1", "Host: [::1\r\n"),
        ("GET / HTTP/1.1", "Host: [evil]\r\n"),
        ("GET / HTTP/1.1", "Host: http://a\r\n"),
        ("GET / HTTP/1.1", "Host: \u{e4}\r\n"),
        ("GET / HTTP/1.1", "Host: a%00b\r\n"),
        ("GET http://a/ HTTP/1.1", ""),
        ("GET http://a/ HTTP/1.1", "Host: b\r\n"),
        ("GET http://a/ HTTP/1.1", "Host: a\r\nHost: b\r\n"),
        ("GET http://a:81/ HTTP/1.1", "Host: a\r\n"),
        ("GET http://user@a/ HTTP/1.1", "Host: a\r\n"),
        ("GET http://user@a/ HTTP/1.1", "Host: user@a\r\n"),
        ("GET / HTTP/1.0", "Host: a\r\nHost: b\r\n"),
        ("GET / HTTP/1.0", "Host: a b\r\n"),
    ] {
        let mut client = site.connect();
        client.send(format!("{line}\r\n{hosts}\r\n"));
        assert_eq!(client.response().status, 400, "{line} {hosts}");
        client.closed();
    }
    assert!(backend.is_left_alone());
}

#[test]
fn the_app_gets_the_host_as_it_was_said() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    for (line, host, forwarded) in [
        ("GET / HTTP/1.1\r\nHost: Shop.Example", "Shop.Example", "80"),
        ("GET / HTTP/1.1\r\nHost: shop.example:8443", "shop.example:8443", "8443"),
        ("GET / HTTP/1.1\r\nHost: [::1]", "[::1]", "80"),
        ("GET / HTTP/1.1\r\nHost: [::1]:81", "[::1]:81", "81"),
        ("GET / HTTP/1.1\r\nHost: a_b", "a_b", "80"),
        ("GET http://a.example/ HTTP/1.1\r\nHost: A.example", "a.example", "80"),
        ("GET https://a.example:44 HTTP/1.1\r\nHost: a.example:44", "a.example:44", "44"),
        ("GET http://a.example/ HTTP/1.0", "a.example", "80"),
    ] {
        let mut client = site.connect();
        let head = client.send(format!("{line}\r\n\r\n")).response().text();
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{line}: {head}");
        let fields = fields(&head);
        assert_eq!(fields[0], format!("host: {host}"), "{line}");
        assert!(fields.contains(&format!("x-forwarded-host: {host}")), "{line}: {head}");
        assert!(fields.contains(&format!("x-forwarded-port: {forwarded}")), "{line}: {head}");
    }
}

#[test]
fn methods_and_targets_that_are_not_for_a_proxy_like_this_one() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    for (line, status) in [
        ("CONNECT evil.example:443 HTTP/1.1", 405),
        ("CONNECT test:80 HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
        ("GET * HTTP/1.1", 400),
        ("GET ftp://test/ HTTP/1.1", 400),
        ("GET file:///etc/passwd HTTP/1.1", 400),
        ("GET test:80 HTTP/1.1", 400),
        ("GET /\u{e4} HTTP/1.1", 400),
        ("GET /?\u{e4} HTTP/1.1", 400),
        // About this server, which has nothing to say of itself.
        ("OPTIONS * HTTP/1.1", 404),
    ] {
        let mut client = site.connect();
        client.send(format!("{line}\r\nHost: test\r\n\r\n"));
        let response = refused(&mut client, status);
        assert_eq!(response.field("allow").is_some(), status == 405, "{line}: {}", response.head);
    }
    assert!(backend.is_left_alone());
}

#[test]
fn a_listener_may_be_for_some_hosts_only() {
    let app = App::that_echoes();
    let site =
        Site::before(app.origin()).listen("server_names = [\"shop.example\", \"*.api.example\"]").start();
    let mut client = site.connect();
    for (host, status) in [
        ("shop.example", 200),
        ("SHOP.example:8080", 200),
        ("v1.api.example", 200),
        ("api.example", 404),
        ("evil.example", 404),
        ("shop.example.evil.example", 404),
        ("evilapi.example", 404),
        ("127.0.0.1", 404),
    ] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.response().status, status, "{host}");
    }
}

#[test]
fn only_the_very_path_is_a_streams() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).start();
    let mut client: Client = site.connect();
    for target in [
        "/events/",
        "/Events",
        "/%65vents",
        "//events",
        "/./events",
        "/a/../events",
        "/events;a=b",
        "/events%00",
        "/events%2F",
        "/events\\",
        "/eventsx",
    ] {
        let response = client.get(target, "").response();
        assert_eq!(response.status, 200, "{target}");
        assert!(response.text().starts_with(&format!("GET {target} ")), "{target}");
    }
    for target in ["/events", "/events?a=b"] {
        assert_eq!(client.get(target, "").response().status, 401, "{target}");
    }
}
