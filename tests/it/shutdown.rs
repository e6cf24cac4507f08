//! The way out: nothing new, what was begun is finished, streams are moved on without haste, and there is an end.

use std::net::TcpStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{
    App, Client, NO_APP, Program, Sidestream, Subscriber, at_some_pace, in_front_of, token,
};

/// The time that a shutdown may take here: so long that a busy machine is not taken for one that waits for its end.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Well below it, and below the third of it over which streams are ended.
const PROMPT: Duration = Duration::from_secs(10);

/// A configuration in front of an app.
fn before(origin: &str) -> String {
    within(TIMEOUT, origin)
}

/// The same, with a time of its own for the shutdown.
fn within(timeout: Duration, origin: &str) -> String {
    in_front_of(origin, "", "").replace("\"3s\"", &format!("\"{}ms\"", timeout.as_millis()))
}

/// An app that tells when it has a request, and answers when it is told to.
struct Held {
    app: App,
    asked: Receiver<()>,
    answer: SyncSender<()>,
}

impl Held {
    fn start() -> Self {
        let (tell, asked) = sync_channel(16);
        let (answer, told) = sync_channel::<()>(16);
        let told = Arc::new(Mutex::new(told));
        let app = App::start(move |mut client| {
            while client.try_head().is_some() {
                tell.send(()).unwrap();
                // The test has ended if nobody tells.
                if told.lock().unwrap().recv().is_err() {
                    return;
                }
                if client.try_send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").is_err() {
                    return;
                }
            }
        });
        Self { app, asked, answer }
    }

    fn site(&self) -> Sidestream {
        Sidestream::start(&before(&self.app.origin()))
    }
}

/// A connection that has had an answer and waits for nothing.
fn idle(site: &Sidestream) -> Client {
    let mut client = site.connect();
    assert_eq!(client.get("/events", "").response().status, 401);
    client
}

/// Waits until all that a client has sent has been read, as Linux says it of the other end.
fn is_read(site: &Sidestream, client: &Client) {
    let far_end = format!(":{:04X}", client.port());
    let waits = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // Its remote address, and what waits to be sent and to be read.
        fields[2].ends_with(&far_end) && !fields[4].ends_with(":00000000")
    };
    site.comes_true(
        || "the request has been read".to_owned(),
        || !std::fs::read_to_string("/proc/net/tcp").unwrap().lines().skip(1).any(waits),
    );
}

fn refuses(site: &Sidestream) {
    site.comes_true(
        || "nobody is let in any more".to_owned(),
        || TcpStream::connect(site.address()).is_err(),
    );
}

#[test]
fn what_was_begun_is_finished_and_nothing_new_is_taken() {
    let held = Held::start();
    let site = held.site();
    let mut client = site.connect();
    client.get("/slow", "");
    held.asked.recv().unwrap();
    let (mut one, mut other) = (idle(&site), idle(&site));
    site.drain();
    refuses(&site);
    // Those who wait for nothing are let go at once.
    one.closed();
    other.closed();
    // The app can publish to the end.
    assert!(site.publish(r#"{"user": 42, "data": "late"}"#)["id"].is_string());
    held.answer.send(()).unwrap();
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "done"));
    assert_eq!(response.field("connection"), Some("close"));
    client.closed();
    // A client that keeps its end open is waited for, since its answer may still be on its way.
    drop((client, one, other));
    let begun = Instant::now();
    site.wait();
    assert!(begun.elapsed() < PROMPT);
}

#[test]
fn a_request_of_which_a_part_has_come_is_answered() {
    let app = App::that_echoes();
    let site = Sidestream::start(&before(&app.origin()));
    let mut client = site.connect();
    let mut used = site.connect();
    assert_eq!(used.get("/one", "").response().status, 200);
    for client in [&mut client, &mut used] {
        client.send("GET /two HTTP/1.1\r\nHo");
        is_read(&site, client);
    }
    site.drain();
    refuses(&site);
    for mut client in [client, used] {
        client.send("st: test\r\n\r\n");
        let response = client.response();
        assert!(response.text().starts_with("GET /two "), "{}", response.text());
        assert_eq!(response.field("connection"), Some("close"));
        client.closed();
    }
    site.wait();
}

#[test]
fn streams_are_ended_one_after_the_other() {
    at_some_pace(|pace| {
        let site = Sidestream::start(&within(pace.ms(3000), NO_APP));
        let streams: Vec<_> = (0..20).map(|_| Subscriber::of(site.connect(), "42")).collect();
        let begun = Instant::now();
        let waiting: Vec<_> = streams
            .into_iter()
            .map(|stream| {
                std::thread::spawn(move || {
                    assert_eq!(stream.end(), "");
                    begun.elapsed()
                })
            })
            .collect();
        site.drain();
        let mut ends: Vec<_> = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
        ends.sort();
        let (first, last) = (ends[0], ends[19]);
        // A third of three seconds, for those of each worker.
        assert!(last - first > pace.ms(600), "all at once: {ends:?}");
        assert!(last < pace.ms(1500), "too late for the rest to finish: {ends:?}");
        let widest = ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest < pace.ms(500), "many at once: {ends:?}");
        site.wait();
    });
}

#[test]
fn one_stream_does_not_wait_for_its_turn() {
    let site = Sidestream::start(&before(NO_APP));
    let stream = Subscriber::of(site.connect(), "42");
    let begun = Instant::now();
    site.drain();
    stream.end();
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    site.wait();
}

#[test]
fn a_stream_that_is_asked_for_meanwhile_ends_too() {
    let site = Sidestream::start(&before(NO_APP));
    let mut client = site.connect();
    let request = format!("GET /events?token={} HTTP/1.1\r\nHost: test\r\n\r\n", token("42"));
    let (begin, rest) = request.split_at(20);
    client.send(begin);
    is_read(&site, &client);
    site.drain();
    refuses(&site);
    client.send(rest);
    let begun = Instant::now();
    let stream = Subscriber::opened(client);
    // It was told an id, with which it comes back elsewhere.
    assert!(!stream.last_id.is_empty());
    assert_eq!(stream.end(), "");
    site.wait();
    assert!(begun.elapsed() < PROMPT);
}

#[test]
fn a_tunnel_is_ended_when_streams_are() {
    let app = App::start(|mut client| {
        if client.try_head().is_some() {
            client.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
            );
            client.rest();
        }
    });
    let site = Sidestream::start(&before(&app.origin()));
    let mut client = site.connect();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    client.get("/socket", &format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{key}"));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.exactly(5), b"hello");
    site.drain();
    client.closed();
    site.wait();
}

#[test]
fn what_does_not_finish_is_ended_by_the_deadline() {
    let held = Held::start();
    let site = Sidestream::start(&within(Duration::from_millis(300), &held.app.origin()));
    let mut client = site.connect();
    client.get("/slow", "");
    held.asked.recv().unwrap();
    let begun = Instant::now();
    site.drain();
    site.wait();
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    client.closed();
}

#[test]
fn stopping_waits_for_nothing() {
    let held = Held::start();
    let site = held.site();
    let mut client = site.connect();
    client.get("/slow", "");
    held.asked.recv().unwrap();
    let streams: Vec<_> = (0..10).map(|_| Subscriber::of(site.connect(), "42")).collect();
    site.drain();
    refuses(&site);
    let begun = Instant::now();
    site.stop();
    for stream in streams {
        stream.end();
    }
    client.closed();
    site.wait();
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
}

#[test]
fn a_signal_ends_the_program_with_exit_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let program = Program::run(&before(NO_APP));
        let stream = Subscriber::of(Client::connect(&program.address), "42");
        let begun = Instant::now();
        program.signal(signal);
        assert_eq!(stream.end(), "");
        let ended = program.end();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
        assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    }
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let held = Held::start();
    let program = Program::run(&before(&held.app.origin()));
    let mut client = Client::connect(&program.address);
    client.get("/slow", "");
    held.asked.recv().unwrap();
    let mut waiting = Client::connect(&program.address);
    assert_eq!(waiting.get("/events", "").response().status, 401);
    program.signal(Signal::TERM);
    // It has heard the first when it lets go of those who wait for nothing.
    waiting.closed();
    let begun = Instant::now();
    program.signal(Signal::TERM);
    client.closed();
    let socket = program.publish_socket();
    let ended = program.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    assert!(!socket.exists(), "its socket is left behind");
}
