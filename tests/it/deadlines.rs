//! Clients that take too long: each step of a connection has a deadline, and none of them is a stream's or a tunnel's.

use std::net::TcpStream;
use std::sync::mpsc;
use std::thread::sleep;
use std::time::Instant;

use socket2::SockRef;

use crate::support::settings::Settings;
use crate::support::{App, Client, NO_APP, PATIENCE, Sidestream, Subscriber, WEBSOCKET, at_some_pace, tls};

/// The pace of a slow client, in milliseconds.
const STEP: u32 = 20;

/// Long enough for every deadline of [`QUICK`] to have passed twice.
const LONG: u32 = 500;

const QUICK: &str = r#"
header_timeout = "200ms"
idle_timeout = "200ms"
body_stall = "200ms"
body_min_rate = "0B"
write_stall = "200ms"
"#;

const DEADLINE: u32 = 200;

/// An app that says `ok` to whatever has no body.
fn ok() -> App {
    App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

#[test]
fn a_head_that_comes_byte_by_byte_for_ever_is_cut_and_disturbs_nobody() {
    at_some_pace(|pace| {
        let app = ok();
        let settings = pace.of("header_timeout = \"200ms\"\nidle_timeout = \"60s\"");
        let site = Settings { listen: &settings, ..Settings::default() }.before(&app);
        let mut other = site.connect();
        // On a new connection, and on one that has been answered before.
        for requests_before in [0, 1] {
            let mut begun = Instant::now();
            let mut slow = site.connect();
            for _ in 0..requests_before {
                assert_eq!(slow.get("/", "").response().text(), "ok");
                begun = Instant::now();
            }
            slow.send("GET / HTTP/1.1\r\nHost: test\r\nX-Slow: ");
            while slow.try_send("a").is_ok() && slow.is_silent_for(pace.ms(STEP)) {
                assert!(begun.elapsed() < PATIENCE, "it goes on for ever");
                assert_eq!(other.get("/", "").response().text(), "ok");
            }
            assert!(begun.elapsed() >= pace.ms(DEADLINE), "cut after {:?}", begun.elapsed());
            slow.closed();
        }
        site.becomes("connections_timed_out", 2);
        assert_eq!(other.get("/", "").response().text(), "ok");
        drop(other);
        site.becomes("connections", 0);
    });
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    at_some_pace(|pace| {
        let site =
            Sidestream::start(&Settings { listen: &pace.of(QUICK), ..Settings::default() }.text(&[NO_APP]));
        let begun = Instant::now();
        site.connect().closed();
        assert!(begun.elapsed() >= pace.ms(DEADLINE), "closed after {:?}", begun.elapsed());
        site.becomes("connections_timed_out", 1);
    });
}

#[test]
fn a_connection_between_requests_is_closed_when_it_has_been_idle_for_long() {
    at_some_pace(|pace| {
        let app = ok();
        let listen = pace.of("idle_timeout = \"200ms\"\nheader_timeout = \"60s\"");
        let site = Settings { listen: &listen, ..Settings::default() }.before(&app);
        let mut client = site.connect();
        for _ in 0..3 {
            // Each request begins the wait anew.
            assert_eq!(client.get("/", "").response().text(), "ok");
            assert!(client.is_silent_for(pace.ms(DEADLINE / 2)));
        }
        assert_eq!(client.get("/", "").response().text(), "ok");
        let begun = Instant::now();
        client.closed();
        assert!(begun.elapsed() >= pace.ms(DEADLINE - STEP), "closed after {:?}", begun.elapsed());
    });
}

#[test]
fn a_handshake_that_is_never_finished_is_cut_and_disturbs_nobody() {
    at_some_pace(|pace| {
        let app = ok();
        let (site, _) = site(true, &pace.of("handshake_timeout = \"200ms\""), &app.origin());
        // Nothing; and the beginning of a record with a ClientHello, a byte at a time.
        let (begun, mut silent, mut slow) = (Instant::now(), site.connect(), site.connect());
        slow.send([22, 3, 1, 2, 0, 1, 0, 1, 252]);
        while slow.try_send([3]).is_ok() && slow.is_silent_for(pace.ms(STEP)) {
            assert!(begun.elapsed() < PATIENCE, "it goes on for ever");
            let mut other = tls::connect(site.address(), "test");
            assert_eq!(other.get("/", "").response().text(), "ok");
        }
        assert!(begun.elapsed() >= pace.ms(DEADLINE), "cut after {:?}", begun.elapsed());
        slow.closed();
        silent.closed();
        site.becomes("handshakes_failed", 2);
        site.becomes("connections", 0);
    });
}

#[test]
fn a_body_that_stalls_is_answered_with_408_and_a_close() {
    at_some_pace(|pace| {
        for (framing, part) in
            [("Content-Length: 10", "half"), ("Transfer-Encoding: chunked", "4\r\nhalf\r\n")]
        {
            let (tell, told) = mpsc::channel();
            let app = App::start(move |mut client| {
                client.try_head();
                tell.send(String::from_utf8(client.rest()).unwrap()).unwrap();
            });
            let site = Settings { listen: &pace.of(QUICK), ..Settings::default() }.before(&app);
            let mut client = site.connect();
            let begun = Instant::now();
            client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n{part}"));
            let response = client.response();
            assert!(begun.elapsed() >= pace.ms(DEADLINE), "{framing}: {:?}", begun.elapsed());
            assert_eq!((response.status, response.field("connection")), (408, Some("close")), "{framing}");
            client.closed();
            let seen = told.recv_timeout(PATIENCE).unwrap();
            assert!(seen.contains("half") && !seen.contains("\r\n0\r\n"), "the app saw {seen:?}");
        }
    });
}

#[test]
fn a_body_that_goes_on_slowly_arrives_however_long_it_takes() {
    at_some_pace(|pace| {
        let app = App::start(|mut client| {
            client.try_head();
            let body = client.exactly(21);
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n").send(body);
        });
        let settings = Settings {
            listen: &pace.of(QUICK),
            upstream: &pace.of("response_timeout = \"200ms\"\nread_timeout = \"200ms\""),
            ..Settings::default()
        };
        let site = settings.before(&app);
        let mut client = site.connect();
        let begun = Instant::now();
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 21\r\n\r\n");
        for _ in 0..20 {
            client.send("x");
            assert!(client.is_silent_for(pace.ms(STEP)));
        }
        client.send("x");
        assert_eq!(client.response().text(), "x".repeat(21));
        assert!(begun.elapsed() >= pace.ms(2 * DEADLINE));
    });
}

#[test]
fn an_answer_that_is_slow_or_slowly_read_outlives_the_deadlines() {
    at_some_pace(|pace| {
        let app = App::start(move |mut client| {
            client.try_head();
            client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for _ in 0..10 {
                if !client.is_silent_for(pace.ms(LONG / 10)) {
                    return;
                }
                client.send("1\r\nx\r\n");
            }
            client.send("0\r\n\r\n");
        });
        let site = Settings { listen: &pace.of(QUICK), ..Settings::default() }.before(&app);
        let begun = Instant::now();
        assert_eq!(site.connect().get("/", "").response().text(), "x".repeat(10));
        assert!(begun.elapsed() >= pace.ms(LONG));
    });
}

#[test]
fn a_client_that_reads_slowly_but_steadily_may() {
    at_some_pace(|pace| {
        let size = 16 << 20;
        let app =
            App::that_says(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{}", "x".repeat(size)));
        let site =
            Settings { listen: &pace.of("write_stall = \"400ms\""), ..Settings::default() }.before(&app);
        let stream = TcpStream::connect(site.address()).unwrap();
        SockRef::from(&stream).set_recv_buffer_size(64 << 10).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client::over(stream, None);
        client.get("/", "").head();
        // For longer than the deadline. The system lets us write on only after a third of its buffer has been read, so
        // the pieces are not small.
        let begun = Instant::now();
        let mut left = size;
        while begun.elapsed() < pace.ms(600) {
            left -= client.exactly((256 << 10).min(left)).len();
            sleep(pace.ms(STEP));
        }
        assert_eq!(client.exactly(left).len(), left);
    });
}

#[test]
fn a_client_that_never_reads_its_answer_is_cut_and_its_app_is_told() {
    for secure in [false, true] {
        let (tell, told) = mpsc::channel();
        let app = App::start(move |mut client| {
            let head = client.try_head().unwrap_or_default();
            if head.starts_with("GET /endless") {
                client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
                let mut sent = 0u64;
                while client.try_send(&chunk).is_ok() {
                    sent += 0x10000;
                }
                tell.send(sent).unwrap();
            } else {
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        let (site, connect) = site(secure, "write_stall = \"200ms\"", &app.origin());
        let mut client = connect(&site);
        client.get("/endless", "");
        assert_eq!(connect(&site).get("/", "").response().text(), "ok", "nobody else waits");
        let sent = told.recv_timeout(PATIENCE).unwrap();
        // What the system's own buffers hold and `read_ahead`, and no more.
        assert!(sent < 128 << 20, "{sent} bytes were taken for a client that reads nothing");
        site.becomes("connections_timed_out", 1);
        let rest = client.rest();
        assert!(!rest.ends_with(b"\r\n0\r\n\r\n"), "the answer ended as if whole");
    }
}

#[test]
fn a_stream_has_no_deadline_but_its_own() {
    at_some_pace(|pace| {
        for secure in [false, true] {
            let (site, connect) = site(secure, &pace.of(QUICK), NO_APP);
            let mut subscriber = Subscriber::of(connect(&site), "1");
            assert!(subscriber.is_silent_for(pace.ms(LONG)));
            let reply = site.publish(r#"{"user": 1, "data": "still there"}"#);
            assert_eq!(reply["delivered"], 1);
            assert_eq!(subscriber.data(), "still there");
            assert_eq!(site.count("connections_timed_out"), 0);
        }
    });
}

#[test]
fn a_websocket_may_be_quiet_for_as_long_as_it_likes() {
    at_some_pace(|pace| {
        let app = App::start(|mut client| {
            client.try_head();
            client.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            );
            while let Some(line) = try_line(&mut client) {
                client.send(line);
            }
        });
        let settings = Settings {
            listen: &pace.of(QUICK),
            upstream: &pace.of("response_timeout = \"200ms\"\nread_timeout = \"200ms\""),
            ..Settings::default()
        };
        let site = settings.before(&app);
        let mut client = site.connect();
        let head = client.get("/ws", WEBSOCKET).head();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert_eq!(client.send("first\r\n").until("\r\n"), "first\r\n");
        assert!(client.is_silent_for(pace.ms(LONG)));
        assert_eq!(client.send("second\r\n").until("\r\n"), "second\r\n");
        assert_eq!(site.count("connections_timed_out"), 0);
    });
}

/// A line that a client sends, if it does not go away instead.
fn try_line(client: &mut Client) -> Option<String> {
    let mut line = client.try_exactly(1)?;
    while !line.ends_with(b"\n") {
        line.extend(client.try_exactly(1)?);
    }
    Some(String::from_utf8(line).unwrap())
}

/// A site over TLS or not, and how it is connected to.
fn site(secure: bool, listen: &str, upstream: &str) -> (Sidestream, fn(&Sidestream) -> Client) {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "site", &["test"]);
    let tls = if secure { "tls = [{ cert = \"site.crt\", key = \"site.key\" }]" } else { "" };
    let listen = format!("{listen}\n{tls}\n");
    let site =
        Sidestream::start_in(folder, &Settings { listen: &listen, ..Settings::default() }.text(&[upstream]));
    (site, if secure { |site| tls::connect(site.address(), "test") } else { Sidestream::connect })
}
