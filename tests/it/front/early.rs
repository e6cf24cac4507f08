//! What is refused is refused before a body is asked for, and the client sees why, however much it sends.

use super::ok;
use crate::support::{Sidestream, Site};

const MORE: &str = r#"
[[route]]
path = "/denied/"
deny_from = ["127.0.0.0/8"]
[route.proxy]
upstream = "app"
[[route]]
path = "/rate/"
rate = { requests = 1, per = "1h" }
[route.proxy]
upstream = "app"
[[route]]
path = "/password/"
basic_auth = { passwords = { bob = "plain" } }
[route.proxy]
upstream = "app"
"#;

fn started(site: Site) -> Sidestream {
    site.upstream("max_body = \"4MiB\"").more(MORE).start()
}

const REFUSED: [(&str, &str, u16); 5] = [
    ("/denied/", "", 403),
    ("/rate/", "", 429),
    ("/password/", "", 401),
    ("/", "Content-Length: 4194305\r\n", 413),
    ("/", "Content-Length: 5\r\nExpect: 200-ok\r\n", 417),
];

#[test]
fn no_body_is_asked_for_that_nobody_will_read() {
    let app = ok();
    let site = started(Site::before(app.origin()));
    assert_eq!(site.connect().get("/rate/", "").response().status, 200);
    for (target, length, status) in REFUSED {
        let length = if length.is_empty() { "Content-Length: 5\r\n" } else { length };
        let expect = if length.contains("Expect") { "" } else { "Expect: 100-continue\r\n" };
        let mut client = site.connect();
        client.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\n{length}{expect}\r\n"));
        // Not "100 Continue".
        let response = client.response();
        assert_eq!(response.status, status, "{target}");
        // The five bytes may come or not: nobody can know where the next request begins.
        client.closed();
    }
    assert_eq!(app.connections(), 1);
}

#[test]
fn who_sends_all_the_same_is_told_why() {
    let app = ok();
    let site = started(Site::before(app.origin()));
    assert_eq!(site.connect().get("/rate/", "").response().status, 200);
    let body = vec![b'x'; 3 << 20];
    for (target, status) in [("/denied/", 403), ("/rate/", 429), ("/password/", 401)] {
        let mut client = site.connect();
        client
            .send(format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len()));
        // As a browser: it reads only when it has sent everything, or cannot send on.
        let _ = client.try_send(&body);
        assert_eq!(client.response().status, status, "{target}");
    }
    // A small body, which has come already, does not cost the connection.
    let mut client = site.connect();
    assert_eq!(client.post("/denied/", "", "{}").response().status, 403);
    assert_eq!(client.get("/", "").response().text(), "ok");
}
