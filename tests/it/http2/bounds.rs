//! What an HTTP/2 client may have at once, and what it may make us do.

use crate::support::frames::{END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM, block};
use crate::support::session::Session;
use crate::support::tls::client_config;
use crate::support::{App, Site};

const DATA: u8 = 0;
const ENHANCE_YOUR_CALM: u32 = 11;

#[test]
fn a_client_is_told_its_bounds_at_the_start() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).tls(&[&["test"]]).start();
    let mut client = Session::begin(site.address(), "test", &client_config(&["h2"])).unwrap().client;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let head = client.exactly(9);
    assert_eq!(head[3], 4, "not SETTINGS first: {head:?}");
    let settings = client.exactly(usize::from(head[2]));
    let told = |number: u8| {
        let entry = settings.chunks(6).find(|entry| entry[..2] == [0, number]);
        entry.map(|entry| u32::from_be_bytes(entry[2..].try_into().unwrap()))
    };
    // Streams at once, the window of each, the largest head (RFC 9113, section 6.5.2).
    assert_eq!([3, 4, 6].map(told), [Some(256), Some(256 << 10), Some(64 << 10)]);
    // The window of all of them: what is added to the first 65535 bytes.
    let update = loop {
        let head = client.exactly(9);
        let content = client.exactly(usize::from(head[2]));
        if head[3] == 8 {
            break content;
        }
    };
    assert_eq!(u32::from_be_bytes(update.try_into().unwrap()), (1 << 20) - 65_535);
}

#[test]
fn a_client_that_makes_us_reset_its_streams_is_sent_away() {
    let app = App::that_echoes();
    let site = Site::before(app.origin()).tls(&[&["test"]]).start();
    let mut other = Frames::connect(site.address());
    let mut client = Frames::connect(site.address());
    let head = block(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "test"),
        (":path", "/"),
        ("content-length", "1"),
    ]);
    // More than was said, which is an error of that stream alone (CVE-2025-8671: the work goes on, the slot is free).
    for stream in (1..2000).step_by(2) {
        let sent = client
            .try_send(HEADERS, END_HEADERS, stream, &head)
            .and_then(|()| client.try_send(DATA, END_STREAM, stream, b"more"));
        if sent.is_err() {
            break;
        }
    }
    let (mut resets, mut told) = (0, None);
    while let Some(frame) = client.next() {
        match frame.kind {
            RST_STREAM => resets += 1,
            GOAWAY => told = Some(frame.code()),
            _ => {}
        }
    }
    assert!(resets <= 128, "{resets} resets");
    assert!(told.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{told:?}");
    site.becomes("connections", 1);
    assert!(other.get(1, "/").next_of(1, HEADERS).is_ok());
}
