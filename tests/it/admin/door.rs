//! Who is let in at the admin address, and to what.

use super::{TOKEN, ask, look, site};
use crate::support::{Client, NO_APP, Site};

#[test]
fn a_name_that_a_strangers_page_could_have_is_answered_nothing() {
    let sidestream = site().start();
    let mut client = sidestream.admin();
    for path in ["/healthz", "/readyz", "/metrics", "/nothing"] {
        let refused = ask(&mut client, "GET", path, "Host: evil.example:9090\r\n");
        assert_eq!((refused.status, refused.json()["error"].as_str()), (421, Some("wrong_host")), "{path}");
    }
    for host in ["localhost", "127.0.0.1:1", "10.9.8.7", "[::1]:9090"] {
        assert_eq!(ask(&mut client, "GET", "/healthz", &format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    // A scraper that comes by a name shows the token.
    let fields = format!("Host: sidestream:9090\r\nAuthorization: Bearer {TOKEN}\r\n");
    assert_eq!(ask(&mut client, "GET", "/metrics", &fields).status, 200);
    let wrong = "Host: sidestream:9090\r\nAuthorization: Bearer the-admin-tokem\r\n";
    assert_eq!(ask(&mut client, "GET", "/metrics", wrong).status, 421);
}

#[test]
fn a_health_check_of_old_needs_no_host() {
    let sidestream = site().start();
    assert_eq!(sidestream.admin().send("GET /healthz HTTP/1.0\r\n\r\n").response().status, 200);
    assert_eq!(sidestream.admin().send("GET /healthz HTTP/1.1\r\n\r\n").response().status, 421);
}

#[test]
fn what_is_no_look_needs_the_token() {
    let sidestream = site().start();
    let mut client = sidestream.admin();
    let refused = ask(&mut client, "POST", "/metrics", "Host: localhost\r\nContent-Length: 0\r\n");
    assert_eq!((refused.status, refused.field("www-authenticate")), (401, Some("Bearer")));
    let fields = format!("Host: localhost\r\nContent-Length: 0\r\nAuthorization: Bearer {TOKEN}\r\n");
    let refused = ask(&mut client, "POST", "/metrics", &fields);
    assert_eq!((refused.status, refused.field("allow")), (405, Some("GET, HEAD")));

    let without = Site::before(NO_APP).more("[admin]\naddress = \"127.0.0.1:0\"").start();
    let refused = ask(&mut without.admin(), "DELETE", "/healthz", "Host: localhost\r\n");
    assert_eq!((refused.status, refused.json()["error"].as_str()), (403, Some("no_token")));
}

#[test]
fn what_there_is_is_told_to_who_asks_for_something_else() {
    let sidestream = site().start();
    let refused = look(&sidestream, "/nothing");
    assert_eq!(refused.status, 404);
    assert!(refused.text().contains("/metrics"), "{}", refused.text());
    let head = ask(&mut sidestream.admin(), "HEAD", "/healthz", "Host: localhost\r\n");
    assert_eq!((head.status, head.field("cache-control")), (200, Some("no-store")));
    assert_eq!(head.field("x-content-type-options"), Some("nosniff"));
}

#[test]
fn it_may_be_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let address = format!("unix:{}", path.display());
    let sidestream = Site::before(NO_APP).more(&format!("[admin]\naddress = \"{address}\"")).start();
    // Whatever the host: no browser speaks to it.
    let answer = Client::connect(&address).get("/healthz", "Connection: close\r\n").response();
    assert_eq!(answer.status, 200);
    drop(sidestream);
    assert!(!path.exists());
}

#[test]
fn one_who_does_not_hang_up_holds_up_nobody() {
    let sidestream = site().start();
    let silent: Vec<_> = (0..20).map(|_| sidestream.admin()).collect();
    let mut slow = sidestream.admin();
    slow.send("GET /metrics HTTP/1.1\r\nHost: local");
    assert_eq!(look(&sidestream, "/healthz").status, 200);
    slow.send("host\r\n\r\n");
    assert_eq!(slow.response().status, 200);
    drop(silent);
}

#[test]
fn more_than_it_has_room_for_are_turned_away_and_room_comes_back() {
    let sidestream = site().start();
    let mut held: Vec<_> = (0..64)
        .map(|_| {
            let mut client = sidestream.admin();
            assert_eq!(ask(&mut client, "GET", "/healthz", "Host: localhost\r\n").status, 200);
            client
        })
        .collect();
    sidestream.admin().closed();
    held.truncate(60);
    sidestream.comes_true(
        || "there is room again".to_owned(),
        || {
            let mut client = sidestream.admin();
            // It may be closed before, or while, it is written to.
            let _ = client.try_send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client.try_head().is_some_and(|head| head.starts_with("HTTP/1.1 200"))
        },
    );
}
