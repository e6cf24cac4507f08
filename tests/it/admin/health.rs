//! `/healthz` and `/readyz`.

use super::{look, site};
use crate::support::{App, NO_APP, Site};

#[test]
fn one_that_serves_is_alive() {
    let sidestream = site().start();
    let alive = look(&sidestream, "/healthz");
    assert_eq!((alive.status, alive.json()["status"].as_str()), (200, Some("ok")));
}

#[test]
fn one_that_drains_is_alive_and_not_ready() {
    let sidestream = site().start();
    // Holds the end up.
    let mut client = sidestream.connect();
    client.send("GET / HTTP/1.1\r\n");
    sidestream.becomes("connections", 1);
    sidestream.drain();
    let ready = sidestream.comes(|| look(&sidestream, "/readyz"), |answer| answer.status == 503);
    assert_eq!(ready.json()["reasons"][0], "it is draining");
    assert_eq!(look(&sidestream, "/healthz").status, 200);
}

fn reasons(sidestream: &crate::support::Sidestream) -> (u16, String) {
    let answer = look(sidestream, "/readyz");
    (answer.status, answer.json()["reasons"].to_string())
}

#[test]
fn an_app_that_cannot_be_connected_to_is_a_reason_and_one_server_of_several_is_enough() {
    let app = App::that_says("HTTP/1.1 204 No Content\r\n\r\n");
    let more = |servers: &str| {
        format!(
            "[admin]\naddress = \"127.0.0.1:0\"\n[upstreams.other]\nservers = [{servers}]\nkind = \"asgi\""
        )
    };
    let one = Site::before(app.origin()).more(&more(&format!("{NO_APP:?}, {:?}", app.origin()))).start();
    assert_eq!(reasons(&one), (200, "[]".to_owned()));
    let none =
        Site::before(app.origin()).more(&more("\"http://127.0.0.1:9\", \"unix:nowhere.sock\"")).start();
    let (status, reasons) = reasons(&none);
    assert_eq!(status, 503);
    assert!(
        reasons.contains("upstream \\\"other\\\"") && reasons.contains("cannot be connected to"),
        "{reasons}"
    );
    assert!(!reasons.contains("\\\"app\\\""), "{reasons}");
    // It is alive: to start it anew would help nobody.
    assert_eq!(look(&none, "/healthz").status, 200);
}

#[test]
fn health_checks_are_believed() {
    let app = App::that_says("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let checks = "health = { path = \"/healthz\", every = \"100ms\" }";
    let site = Site::before(app.origin()).upstream(checks).more("[admin]\naddress = \"127.0.0.1:0\"").start();
    // It can be connected to all the while.
    let (_, reasons) = site.comes(|| reasons(&site), |(status, _)| *status == 503);
    assert!(reasons.contains("health checks"), "{reasons}");
}
