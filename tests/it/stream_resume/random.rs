//! Publishers and subscribers that come and go at random: everybody sees every event of their channels, once and in
//! order. The chance is seeded, so that what failed fails again.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use fastrand::Rng;

use crate::support::{NO_APP, PATIENCE, Sidestream, Subscriber, in_front_of, tls, token};

const CHANNELS: u64 = 5;
const PUBLISHERS: u64 = 3;
const SUBSCRIBERS: u64 = 8;
const EVENTS: usize = 150;

/// The last event of all, which ends the subscribers.
const LAST: &str = "last";

/// What was published, by its place in the order: its channels as bits, and its data.
type Published = BTreeMap<u64, (u64, String)>;

fn seq(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

/// Publishes over one connection, now and then many lines before it reads the replies.
fn publisher(socket: &Path, number: u64, mut rng: Rng) -> Published {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap());
    let mut published = Published::new();
    let mut sent = 0;
    while sent < EVENTS {
        let mut lines = String::new();
        let mut waiting = Vec::new();
        for _ in 0..rng.usize(1..=12).min(EVENTS - sent) {
            let channels = rng.u64(1..1 << CHANNELS);
            let names: Vec<_> = of_bits(channels).map(|name| format!("\"{name}\"")).collect();
            let data = format!("{number}.{sent}.{}", "x".repeat(rng.usize(0..300)));
            lines += &format!("{{\"channels\": [{}], \"data\": \"{data}\"}}\n", names.join(","));
            waiting.push((channels, data));
            sent += 1;
        }
        stream.write_all(lines.as_bytes()).unwrap();
        for (channels, data) in waiting {
            let mut reply = String::new();
            replies.read_line(&mut reply).unwrap();
            let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
            let id = reply["id"].as_str().unwrap_or_else(|| panic!("{reply}"));
            published.insert(seq(id), (channels, data));
        }
        thread::yield_now();
    }
    published
}

fn of_bits(channels: u64) -> impl Iterator<Item = String> {
    (0..CHANNELS).filter(move |bit| channels & (1 << bit) != 0).map(|bit| format!("c{bit}"))
}

/// Reads until the last event, and goes away and comes back meanwhile, over TLS or not. Returns its channels, the id
/// it began with and what it saw.
fn subscriber(site: &Sidestream, mut rng: Rng) -> (u64, u64, Vec<(u64, String)>) {
    let connect = |over_tls| match over_tls {
        true => tls::connect(site.address_of(1), "test"),
        false => site.connect(),
    };
    let channels = rng.u64(1..1 << CHANNELS);
    let names: Vec<_> = of_bits(channels).collect();
    let target = format!("/events?token={}&channels={}", token("42"), names.join(","));
    let mut stream = Subscriber::open(connect(rng.bool()), &target, "");
    let began_with = seq(&stream.last_id);
    let mut seen = Vec::new();
    loop {
        let stays_for = rng.usize(0..60);
        for _ in 0..stays_for {
            // Ended by its age; what it has not read by then is sent again.
            let Some(said) = stream.try_event() else { break };
            let (id, data) = (said.id.unwrap(), said.data.unwrap());
            assert_eq!(said.event, "", "{data}");
            if data == LAST {
                return (channels, began_with, seen);
            }
            seen.push((seq(&id), data));
        }
        let fields = format!("Last-Event-ID: {}\r\n", stream.last_id);
        // At times the old one is still open when the new one is there.
        let over_tls = rng.bool();
        let new = if rng.bool() {
            Subscriber::open(connect(over_tls), &target, &fields)
        } else {
            drop(stream);
            Subscriber::open(connect(over_tls), &target, &fields)
        };
        stream = new;
    }
}

fn everybody_sees_everything(seed: u64) {
    let stream = "allow = [\"c*\"]\nmax_age = \"40ms\"\nheartbeat = { every = \"10ms\" }";
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let listen =
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n";
    let site = Sidestream::start_in(folder, &in_front_of(NO_APP, stream, listen));
    let mut rng = Rng::with_seed(seed);
    let (published, seen) = thread::scope(|scope| {
        let subscribers: Vec<_> = (0..SUBSCRIBERS)
            .map(|_| {
                let (rng, site) = (rng.fork(), &site);
                scope.spawn(move || subscriber(site, rng))
            })
            .collect();
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|number| {
                let (rng, socket) = (rng.fork(), site.publish_socket());
                scope.spawn(move || publisher(&socket, number, rng))
            })
            .collect();
        let published: Published = publishers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        // One who opens its first stream after this would wait for ever.
        site.comes_true(|| "all have come".to_owned(), || site.count("streams_opened") >= SUBSCRIBERS);
        site.publish(&format!("{{\"channel\": \"all\", \"data\": \"{LAST}\"}}"));
        let seen: Vec<_> = subscribers.into_iter().map(|thread| thread.join().unwrap()).collect();
        (published, seen)
    });
    let (events, publishers) = (u64::try_from(EVENTS).unwrap(), PUBLISHERS);
    assert_eq!(published.len() as u64, events * publishers, "seed {seed}");
    for (channels, began_with, seen) in seen {
        let expected: Vec<_> = published
            .range(began_with + 1..)
            .filter(|(_, (of, _))| of & channels != 0)
            .map(|(seq, (_, data))| (*seq, data.clone()))
            .collect();
        assert_eq!(seen, expected, "seed {seed}, channels {channels:b} after {began_with}");
    }
    assert!(site.count("resumed") > 0 && site.count("replayed") > 0, "seed {seed}: nobody came back");
    assert_eq!(site.count("resets"), 0, "seed {seed}");
}

#[test]
fn everybody_sees_every_event_of_theirs_once_and_in_order() {
    for seed in 0..6 {
        everybody_sees_everything(seed);
    }
}
