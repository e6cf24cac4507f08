//! Streams, as their subscribers see them.

use crate::support::{App, Sidestream, in_front_of, token};

#[test]
fn a_stream_opens_with_an_id_and_no_last_chunk_ends_it() {
    let app = App::that_echoes();
    let site = Sidestream::start(&in_front_of(&app.origin(), "retry = \"2s\"", ""));
    let mut client = site.connect();
    client.get(&format!("/events?token={}", token("42")), "");
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let opening = client.events_until("\n\n");
    assert!(opening.starts_with("retry: 2000\nid: "), "{opening:?}");
    site.stop();
    client.closed();
}
