//! `strip_prefix`: an app below a path of the site, which it does not get to see.

use crate::support::client::field;
use crate::support::{App, Backend, Sidestream, Site};

/// A route with a path and these lines, in front of an app.
fn route(path: &str, lines: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\n[route.proxy]\nupstream = \"app\"\n{lines}\n")
}

fn site(app: &App, path: &str, lines: &str) -> Sidestream {
    Site::before(app.origin()).more(&route(path, lines)).start()
}

/// The head that the app was sent.
fn seen(site: &Sidestream, target: &str, fields: &str) -> String {
    let response = site.connect().get(target, fields).response();
    assert_eq!(response.status, 200, "{target}: {}", response.text());
    response.text()
}

#[test]
fn the_path_behind_the_prefix_stays_as_it_is() {
    let app = App::that_echoes();
    let relay = site(&app, "/app/", "strip_prefix = true");
    for (target, sent) in [
        ("/app/", "/"),
        ("/app/?a=b", "/?a=b"),
        ("/app/x/y?q=/app/", "/x/y?q=/app/"),
        ("/app/app/x", "/app/x"),
        ("/app/a%2Fb%20c//d/../e;f", "/a%2Fb%20c//d/../e;f"),
        ("/app//x", "//x"),
        ("/app/%E4?%00", "/%E4?%00"),
        ("http://test/app/x?y", "/x?y"),
        // Not of this route.
        ("/app", "/app"),
        ("/application/x", "/application/x"),
        ("/%61pp/x", "/%61pp/x"),
        ("/App/x", "/App/x"),
        ("//app/x", "//app/x"),
        ("/", "/"),
    ] {
        let head = seen(&relay, target, "");
        assert!(head.starts_with(&format!("GET {sent} HTTP/1.1\r\n")), "{target}: {head}");
        let is_below = target.contains("/app/") && sent != target;
        assert_eq!(field(&head, "x-forwarded-prefix"), is_below.then_some("/app"), "{target}");
    }
}

#[test]
fn part_of_the_path_is_stripped_too_and_from_an_exact_one() {
    let app = App::that_echoes();
    for (path, lines, target, sent, prefix) in [
        ("/a/b/", "strip_prefix = \"/a\"", "/a/b/c", "/b/c", "/a"),
        ("/a/b/", "strip_prefix = \"/a/\"", "/a/b/c", "/b/c", "/a"),
        ("/a/b/", "strip_prefix = \"/a/b\"", "/a/b/c", "/c", "/a/b"),
        ("/a/b", "strip_prefix = \"/a\"", "/a/b?c", "/b?c", "/a"),
        ("/a/b", "strip_prefix = true", "/a/b", "/", "/a/b"),
        ("/a/b", "strip_prefix = true", "/a/b?c", "/?c", "/a/b"),
    ] {
        let relay = site(&app, path, lines);
        let head = seen(&relay, target, "");
        assert!(head.starts_with(&format!("GET {sent} HTTP/1.1\r\n")), "{lines}: {head}");
        assert_eq!(field(&head, "x-forwarded-prefix"), Some(prefix), "{lines}");
    }
}

#[test]
fn what_a_client_says_of_a_prefix_is_not_believed() {
    let app = App::that_echoes();
    let sent = "X-Forwarded-Prefix: /evil\r\nX-Forwarded-Prefix: /more\r\n";
    for (lines, expected) in
        [("strip_prefix = true", Some("/app")), ("strip_prefix = false", None), ("", None)]
    {
        let head = seen(&site(&app, "/app/", lines), "/app/x", sent);
        assert_eq!(field(&head, "x-forwarded-prefix"), expected, "{lines}");
        assert!(!head.contains("/evil") && !head.contains("/more"), "{head}");
    }
    // One that is trusted has taken something off before us.
    let routes = route("/app/", "strip_prefix = true");
    let trusting = "trusted_proxies = [\"127.0.0.1\"]";
    let relay = Site::before(app.origin()).server(trusting).more(&routes).start();
    let head = seen(&relay, "/app/x", "X-Forwarded-Prefix: /shop/\r\n");
    assert_eq!(field(&head, "x-forwarded-prefix"), Some("/shop/app"));
    assert_eq!(head.matches("x-forwarded-prefix").count(), 1, "{head}");
}

#[test]
fn what_the_app_answers_is_not_rewritten() {
    let app = App::that_says(
        "HTTP/1.1 302 Found\r\nLocation: /login\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n",
    );
    let response = site(&app, "/app/", "strip_prefix = true").connect().get("/app/x", "").response();
    assert_eq!(response.field("location"), Some("/login"));
    assert_eq!(response.field("set-cookie"), Some("a=b; Path=/"));
}

#[test]
fn a_websocket_goes_there_too() {
    let backend = Backend::start();
    let relay = Site::before(backend.origin()).more(&route("/app/", "strip_prefix = true")).start();
    let mut client = relay.connect();
    client.get(
        "/app/ws?a=1",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n",
    );
    let mut app = backend.accept();
    let head = app.head();
    assert!(head.starts_with("GET /ws?a=1 HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "x-forwarded-prefix"), Some("/app"));
    app.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello");
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.until("hello");
}
