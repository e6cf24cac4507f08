//! The program is killed while publishers write and clients read: every event that was acknowledged reaches every
//! client, once and in order.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;

use super::{on_disk, publish_to};
use crate::support::{PATIENCE, Program, token};

const ROUNDS: usize = 5;
const PUBLISHERS: usize = 4;
const CLIENTS: usize = 12;
const CHANNELS: usize = 3;

/// The last event of all, which ends the clients.
const LAST: &str = "last";

/// Where the program is at the moment.
struct Place {
    address: String,
    socket: PathBuf,
}

struct World {
    place: Mutex<Place>,
    is_over: AtomicBool,
    acknowledged: AtomicUsize,
}

impl World {
    fn address(&self) -> String {
        self.place.lock().unwrap().address.clone()
    }

    /// Hands in a line until it is acknowledged. The key makes one of what was handed in twice.
    fn publish(&self, line: &str) -> u64 {
        let begun = Instant::now();
        loop {
            if let Some(reply) = self.try_publish(line)
                && let Some(id) = reply["id"].as_str()
            {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                return seq(id);
            }
            assert!(begun.elapsed() < 3 * PATIENCE, "nobody takes it");
            thread::yield_now();
        }
    }

    fn try_publish(&self, line: &str) -> Option<serde_json::Value> {
        let socket = self.place.lock().unwrap().socket.clone();
        let mut stream = UnixStream::connect(socket).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(line.as_bytes()).ok()?;
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).ok()?;
        serde_json::from_str(&reply).ok()
    }
}

fn seq(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

fn publisher(world: &World, number: usize, mut rng: Rng) -> BTreeMap<u64, (usize, String)> {
    let mut published = BTreeMap::new();
    for count in 0.. {
        if world.is_over.load(Ordering::Relaxed) {
            break;
        }
        let (channel, data) = (rng.usize(0..CHANNELS), format!("{number}.{count}"));
        let line = format!("{{\"channel\": \"c{channel}\", \"data\": \"{data}\", \"key\": \"{data}\"}}\n");
        let twice = published.insert(world.publish(&line), (channel, data));
        assert_eq!(twice, None, "an id was given twice");
    }
    published
}

/// Reads a stream until it ends, over HTTP/1.0, where it is bare. Says whether the last event came.
fn read(world: &World, last_id: &mut String, seen: &mut Vec<(u64, String)>, stays: usize) -> bool {
    let Ok(mut stream) = TcpStream::connect(world.address()) else { return false };
    stream.set_read_timeout(Some(3 * PATIENCE)).unwrap();
    let target = format!("/events?token={}&channels=c0,c1,c2", token("42"));
    let request = format!("GET {target} HTTP/1.0\r\nHost: test\r\nLast-Event-ID: {last_id}\r\n\r\n");
    if stream.write_all(request.as_bytes()).is_err() {
        return false;
    }
    let (mut id, mut data) = (None, None);
    let until = seen.len() + stays;
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return false };
        if let Some(value) = line.strip_prefix("id: ") {
            id = Some(value.to_owned());
        } else if let Some(value) = line.strip_prefix("data: ") {
            data = Some(value.to_owned());
        } else if let Some(value) = line.strip_prefix("event: ") {
            panic!("{value} after {last_id}");
        } else if line.is_empty()
            && let Some(id) = id.take()
        {
            last_id.clone_from(&id);
            let Some(data) = data.take() else { continue };
            if data == LAST {
                return true;
            }
            seen.push((seq(&id), data));
            if seen.len() == until {
                return false;
            }
        }
    }
    false
}

fn client(world: &World, start: &str, mut rng: Rng) -> Vec<(u64, String)> {
    let (mut last_id, mut seen) = (start.to_owned(), Vec::new());
    while !read(world, &mut last_id, &mut seen, rng.usize(1..2000)) {
        thread::yield_now();
    }
    seen
}

#[test]
fn what_was_acknowledged_reaches_everybody_once_whenever_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let config = on_disk(&folder, "events = 100000\nbytes = \"64MiB\"\n");
    let config = config.replace("auth = [\"jwt\"]", "auth = [\"jwt\"]\nmax_per_user = 1000");
    let mut rng = Rng::with_seed(20);
    let mut program = Program::run(&config);
    let start =
        publish_to(&program, r#"{"channel": "c0", "data": "start"}"#)["id"].as_str().unwrap().to_owned();
    let place =
        |program: &Program| Place { address: program.address.clone(), socket: program.publish_socket() };
    let world = World {
        place: Mutex::new(place(&program)),
        is_over: AtomicBool::new(false),
        acknowledged: AtomicUsize::new(0),
    };
    let (published, seen) = thread::scope(|scope| {
        let (world, start) = (&world, &*start);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| rng.fork())
            .map(|rng| scope.spawn(move || client(world, start, rng)))
            .collect();
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|number| (number, rng.fork()))
            .map(|(number, rng)| scope.spawn(move || publisher(world, number, rng)))
            .collect();
        for _ in 0..ROUNDS {
            // Somewhere after some more have been acknowledged.
            let goal = world.acknowledged.load(Ordering::Relaxed) + rng.usize(50..300);
            let begun = Instant::now();
            while world.acknowledged.load(Ordering::Relaxed) < goal {
                assert!(begun.elapsed() < 3 * PATIENCE, "nothing is acknowledged");
                thread::sleep(Duration::from_millis(1));
            }
            program.signal(Signal::KILL);
            program = Program::run(&config);
            *world.place.lock().unwrap() = place(&program);
        }
        world.is_over.store(true, Ordering::Relaxed);
        let published: BTreeMap<_, _> =
            publishers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        world.publish(&format!("{{\"channel\": \"c1\", \"data\": \"{LAST}\", \"key\": \"{LAST}\"}}\n"));
        let seen: Vec<_> = clients.into_iter().map(|thread| thread.join().unwrap()).collect();
        (published, seen)
    });
    let expected: Vec<_> = published.into_iter().map(|(seq, (_, data))| (seq, data)).collect();
    assert!(expected.len() > 50 * ROUNDS);
    for seen in seen {
        assert_eq!(seen.len(), expected.len());
        assert!(seen == expected);
    }
}
