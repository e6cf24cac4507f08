//! `/healthz` and `/readyz`.

use super::{look, site};

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
