//! Who is let in, how many, and until when.

use sidestream::publish::Bounds;

use super::*;

const LINE: &str = "{\"user\":1,\"data\":1}\n";

#[test]
fn only_listed_users_are_let_in() {
    let uid = rustix::process::getuid().as_raw();
    let doors = Doors::with(Options { allow_uids: Some(vec![uid + 1, uid]), ..Options::default() });
    assert_eq!(delivered(&doors.connect().send(LINE).line()), 0);
    for uids in [vec![uid + 1], vec![0, uid + 1]] {
        if uids.contains(&uid) {
            continue;
        }
        let doors = Doors::with(Options { allow_uids: Some(uids), ..Options::default() });
        for request in [LINE, "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"] {
            let mut peer = doors.connect();
            let _ = peer.try_send(request);
            let reply = peer.line();
            refused(&reply, "forbidden", None);
            assert!(reply["message"].as_str().unwrap().contains("allow_uids"));
            peer.closed();
        }
        assert_eq!(doors.events("user:1"), 0);
    }
}

#[test]
fn one_connection_too_many_is_closed() {
    let bounds = Bounds { max_publishers: 2, ..bounds() };
    let doors = Doors::with(Options { bounds, ..Options::default() });
    let mut first = doors.connect();
    let mut second = doors.connect();
    for peer in [&mut first, &mut second] {
        peer.send(LINE).line();
    }
    doors.connect().closed();
    // Each door has its own.
    std::net::TcpStream::connect(doors.tcp).unwrap().write_all(b"GET / HTTP/1.1\r\n").unwrap();
    drop(first);
    eventually("a free place", || {
        let mut peer = doors.connect();
        let sent = peer.try_send(LINE).is_ok();
        let mut byte = [0];
        sent && matches!((&peer.stream).read(&mut byte), Ok(1))
    });
    assert_eq!(delivered(&second.send(LINE).line()), 0);
}

#[test]
fn publishers_are_served_until_everything_stops() {
    let doors = Doors::open();
    let mut peer = doors.connect();
    doors.trigger.drain();
    assert_eq!(delivered(&peer.send(LINE).line()), 0);
    assert_eq!(delivered(&doors.connect().send(LINE).line()), 0);
    doors.trigger.stop();
    peer.closed();
    eventually("the removal of the socket", || !doors.path().exists());
}

#[test]
fn a_peer_that_says_nothing_disturbs_nobody() {
    let doors = Doors::open();
    let silent = doors.connect();
    assert_eq!(delivered(&doors.connect().send(LINE).line()), 0);
    silent.finish();
    silent.closed();
}
