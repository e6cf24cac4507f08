//! A line in, a line back.

use std::io::{ErrorKind, Write as _};
use std::time::{Duration, Instant};

use sidestream::publish::Bounds;

use super::*;

#[test]
fn a_line_gets_its_receipt() {
    let doors = Doors::open();
    let _stream = doors.subscribe(&["user:42"]);
    let mut peer = doors.connect();
    let reply = peer.send("{\"user\": 42, \"event\": \"hello\", \"data\": {\"a\": 1}}\n").line();
    assert_eq!(delivered(&reply), 1);
    assert_eq!(reply["id"], format!("{}-1", doors.hub.epoch()));
    assert_eq!(delivered(&peer.send("{\"user\": 43, \"data\": 1}\r\n").line()), 0);
    peer.finish();
    peer.closed();
}

#[test]
fn pipelined_lines_are_answered_in_order() {
    let doors = Doors::open();
    let _stream = doors.subscribe(&["a", "b"]);
    let mut peer = doors.connect();
    let mut sender = peer.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        for n in 0..5000 {
            // Every seventh is counted by the worker, and blank lines are none.
            let to = if n % 7 == 0 { r#"["a","b"]"# } else { r#"["a"]"# };
            write!(sender, "{{\"channels\": {to}, \"data\": {n}}}\n\n \r\n").unwrap();
        }
        sender.shutdown(Shutdown::Write).unwrap();
    });
    for n in 1..=5000 {
        let reply = peer.line();
        assert_eq!(reply["id"], format!("{}-{n}", doors.hub.epoch()));
        assert_eq!(delivered(&reply), 1);
    }
    peer.closed();
    sending.join().unwrap();
}

#[test]
fn a_count_that_is_not_known_yet_holds_back_only_what_comes_after() {
    let doors = Doors::with(Options { held: true, ..Options::default() });
    let _stream = doors.subscribe(&["a", "b"]);
    let mut peer = doors.connect();
    let mut lines = String::new();
    for to in [r#"["c"]"#, r#"["a","b"]"#, r#"["c"]"#] {
        lines += &format!("{{\"channels\":{to},\"data\":1}}\n");
    }
    assert_eq!(delivered(&peer.send(lines).line()), 0);
    doors.release();
    assert_eq!(delivered(&peer.line()), 1);
    let last = peer.line();
    assert_eq!(last["id"], format!("{}-3", doors.hub.epoch()));
    assert_eq!(delivered(&last), 0);
}

#[test]
fn a_bad_line_gets_an_error_in_its_place() {
    let doors = Doors::open();
    let mut peer = doors.connect();
    let over = format!(r#"{{"user":1,"data":"{}"}}"#, "x".repeat(4097));
    let bad: [(&[u8], &str, Option<&str>); 13] = [
        (br#"{"user":1,"data":}"#, "invalid_json", None),
        (br#"{"user":1,"data":1"#, "invalid_json", None),
        (b"not json", "invalid_json", None),
        (b"{\"user\":\"\xff\",\"data\":1}", "invalid_json", None),
        (b"{\"user\":1,\"data\":\"a\rb\"}", "invalid_json", None),
        (br#"[{"user":1,"data":1}]"#, "invalid_publication", None),
        (br#"{"usr":1,"data":1}"#, "invalid_publication", Some("usr")),
        (br#"{"data":1}"#, "invalid_publication", Some("user")),
        (br#"{"user":1,"event":"reset","data":1}"#, "invalid_publication", Some("event")),
        (br#"{"user":1,"event":"a\r\ndata: b","data":1}"#, "invalid_publication", Some("event")),
        (br#"{"user":1,"event":"a\u0000","data":1}"#, "invalid_publication", Some("event")),
        (br#"{"user":1,"data":"a\u0000b"}"#, "invalid_publication", Some("data")),
        (over.as_bytes(), "too_large", Some("data")),
    ];
    let mut lines = b"{\"channel\":\"a\",\"data\":0}\n".to_vec();
    for (line, ..) in &bad {
        lines.extend_from_slice(line);
        lines.push(b'\n');
        lines.extend_from_slice(b"{\"channel\":\"a\",\"data\":\"line\\r\\nbreaks\"}\n");
    }
    peer.send(&lines);
    assert_eq!(delivered(&peer.line()), 0);
    for (_, error, field) in bad {
        refused(&peer.line(), error, field);
        assert_eq!(delivered(&peer.line()), 0);
    }
    assert_eq!(doors.events("a"), 14);
}

#[test]
fn a_key_is_published_once() {
    let doors = Doors::open();
    let mut peer = doors.connect();
    let first = peer.send("{\"channel\":\"a\",\"data\":1,\"key\":\"k\"}\n").line();
    let again = peer.send("{\"channel\":\"a\",\"data\":1,\"key\":\"k\"}\n").line();
    assert_eq!((delivered(&first), &first), (0, &again));
    refused(&peer.send("{\"channel\":\"a\",\"data\":2,\"key\":\"k\"}\n").line(), "key_reused", Some("key"));
    assert_eq!(doors.events("a"), 1);
}

#[test]
fn a_line_that_is_too_long_ends_the_connection() {
    let doors = Doors::open();
    let whole = format!("{{\"user\":1,\"data\":\"{}\"}}\n", "x".repeat(2 << 20));
    for line in [whole.as_str(), whole.trim_end()] {
        let mut peer = doors.connect();
        peer.send("{\"user\":1,\"data\":1}\n");
        // It need not take all of it.
        let _ = peer.try_send(line);
        assert_eq!(delivered(&peer.line()), 0);
        refused(&peer.line(), "too_large", None);
        peer.closed();
    }
    assert_eq!(doors.events("user:1"), 2);
}

#[test]
fn a_line_that_breaks_off_is_no_publication() {
    let doors = Doors::open();
    let mut peer = doors.connect();
    // Whole as it is, it lacks only its line end: more might have followed.
    peer.send("{\"user\":1,\"data\":1}\n{\"user\":1,\"data\":1}").finish();
    assert_eq!(delivered(&peer.line()), 0);
    refused(&peer.line(), "invalid_json", None);
    peer.closed();
    assert_eq!(doors.events("user:1"), 1);
}

#[test]
fn a_line_that_never_ends_is_not_waited_for() {
    // A line of this length is not reached by single bytes.
    let bounds = Bounds { line_time: Duration::from_millis(100), max_event: 1 << 30, ..bounds() };
    let doors = Doors::with(Options { bounds, ..Options::default() });
    let mut idle = doors.connect();
    idle.send("{\"user\":1,\"data\":1}\n").line();
    let begun = Instant::now();
    let mut silent = doors.connect();
    silent.send("{\"user\":1,\"data\":1}\n{\"user\":1,").line();
    refused(&silent.line(), "invalid_json", None);
    silent.closed();

    // Nor does it help to go on sending.
    let mut drip = doors.connect();
    drip.send("{");
    let sender = drip.stream.try_clone().unwrap();
    let dripping = std::thread::spawn(move || while (&sender).write_all(b" ").is_ok() {});
    refused(&drip.line(), "invalid_json", None);
    drop(drip);
    dripping.join().unwrap();
    // Half of what a line may take if it is not said otherwise.
    assert!(begun.elapsed() < Duration::from_secs(15));

    // Between lines there is all the time in the world.
    assert_eq!(delivered(&idle.send("{\"user\":1,\"data\":1}\n").line()), 0);
}

#[test]
fn a_peer_that_does_not_read_is_not_read_from() {
    let doors = Doors::open();
    let mut peer = doors.connect();
    peer.stream.set_nonblocking(true).unwrap();
    let line = b"{\"channel\":\"a\",\"data\":1}\n";
    let (mut sent, mut refusals) = (0, 0);
    // Until the server has taken nothing for as long as another publisher needs for a hundred lines.
    while refusals < 3 {
        match peer.stream.write(&line[sent % line.len()..]) {
            Ok(some) => (sent, refusals) = (sent + some, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refusals += 1;
                let mut other = doors.connect();
                for _ in 0..100 {
                    other.send("{\"channel\":\"b\",\"data\":1}\n").line();
                }
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 32 << 20, "the server takes whatever comes");
    }
    // It goes on as soon as its replies are read.
    peer.stream.set_nonblocking(false).unwrap();
    peer.finish();
    for _ in 0..sent / line.len() {
        peer.line();
    }
    assert_eq!(doors.events("a"), sent / line.len());
}

#[test]
fn a_peer_that_does_not_listen_is_heard_to_its_end() {
    let doors = Doors::open();
    let line = "{\"channel\":\"a\",\"data\":1}\n";
    let mut peer = doors.connect();
    peer.stream.shutdown(Shutdown::Read).unwrap();
    for count in 1..=3 {
        peer.send(line);
        eventually("an event for each line", || doors.events("a") == count);
    }
    for _ in 0..50 {
        peer.send(line);
    }
    drop(peer);
    eventually("what was sent before hanging up", || doors.events("a") == 53);
}
