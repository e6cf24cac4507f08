//! The inbox on disk, in the program itself: what is unread and what is read outlive every end of the process.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::id_of;
use crate::support::{Client, NO_APP, PATIENCE, Program, Subscriber, in_front_of, publish};

/// The program over a store that outlives it.
struct World {
    store: TempDir,
    stream: &'static str,
    program: Program,
}

fn run(store: &TempDir, stream: &str) -> Program {
    let path = store.path().join("store");
    let stream = format!("replay = \"unread\"\nheartbeat = false\nmax_per_user = 1000\n{stream}");
    Program::run(&in_front_of(
        NO_APP,
        &stream,
        &format!("[store]\nkind = \"disk\"\npath = \"{}\"", path.display()),
    ))
}

impl World {
    fn new(stream: &'static str) -> Self {
        let store = tempfile::tempdir().unwrap();
        let program = run(&store, stream);
        Self { store, stream, program }
    }

    /// Ends the program and runs it again.
    fn restart(self, signal: Signal) -> Self {
        let Self { store, stream, program } = self;
        program.signal(signal);
        program.end();
        let program = run(&store, stream);
        Self { store, stream, program }
    }

    fn publish(&self, publication: &Value) -> String {
        id_of(&publish(&self.program.publish_socket(), &publication.to_string()))
    }

    fn notify(&self, data: &str) -> String {
        self.publish(&json!({ "user": 42, "data": data }))
    }

    fn connect(&self) -> Client {
        Client::connect(&self.program.address)
    }

    fn tab(&self) -> Subscriber {
        Subscriber::of(self.connect(), "42")
    }

    /// The app's side.
    fn door(&self) -> Client {
        Client::connect(&format!("unix:{}", self.program.publish_socket().display()))
    }

    /// What is unread, as the app sees it.
    fn unread(&self) -> Vec<String> {
        let inbox = self.door().get("/inbox/42", "Connection: close\r\n").response().json();
        let events = inbox["events"].as_array().unwrap();
        assert_eq!(inbox["unread"], events.len());
        events.iter().map(|event| event["data"].as_str().unwrap().to_owned()).collect()
    }

    fn read(&self, said: &Value) -> Value {
        self.door().post("/inbox/42/read", "Connection: close\r\n", &said.to_string()).response().json()
    }

    /// Waits until just these are unread.
    fn becomes_unread(&self, expected: &[&str]) {
        let begun = Instant::now();
        loop {
            let unread = self.unread();
            if unread == expected {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{unread:?} is unread, and not {expected:?}");
            std::thread::yield_now();
        }
    }

    /// Waits until what was written is marked, and kept: marks of one user are kept in their order.
    fn all_is_read(&self) {
        self.becomes_unread(&[]);
        let id = self.publish(&json!({ "user": 42, "data": "to be marked" }));
        assert_eq!(self.read(&json!({ "read": [id] })), json!({ "unread": 0 }));
    }
}

#[test]
fn what_is_unread_and_what_is_read_outlive_every_end() {
    for signal in [Signal::TERM, Signal::KILL] {
        let world = World::new("");
        world.notify("seen");
        assert_eq!(world.tab().data(), "seen");
        world.all_is_read();
        world.notify("one");
        world.publish(&json!({ "user": 42, "data": "two", "collapse": "cart" }));
        world.publish(&json!({ "user": 42, "data": "short", "ttl": "1s" }));
        let world = world.restart(signal);
        assert_eq!(world.unread()[..2], ["one", "two"]);
        // One that came before the end is replaced by its successor.
        world.publish(&json!({ "user": 42, "data": "three", "collapse": "cart" }));
        world.becomes_unread(&["one", "three"]);
        let mut tab = world.tab();
        assert_eq!([tab.data(), tab.data()], ["one", "three"]);
        drop(tab);
        if signal == Signal::KILL {
            world.all_is_read();
        }
        world.becomes_unread(&[]);
        // One that ends well keeps what was written to the last.
        let world = world.restart(signal);
        assert!(world.unread().is_empty());
        let mut tab = world.tab();
        assert!(tab.is_silent_for(super::MOMENT));
        world.notify("live");
        assert_eq!(tab.data(), "live");
    }
}

#[test]
fn what_somebody_says_is_read_is_kept_when_it_is_answered() {
    let mut world = World::new("read = \"ack\"");
    let ids: Vec<_> = (0..8).map(|number| world.notify(&format!("e{number}"))).collect();
    for (place, id) in ids.iter().enumerate().take(4) {
        // Out of order first, and killed at once.
        let said = if place == 0 { json!({ "read": [ids[5]] }) } else { json!({ "read": [id] }) };
        assert_eq!(world.read(&said), json!({ "unread": 7 - place }));
        world = world.restart(Signal::KILL);
        assert_eq!(world.unread().len(), 7 - place);
    }
    assert_eq!(world.unread(), ["e0", "e4", "e6", "e7"]);
    assert_eq!(world.read(&json!({ "read_up_to": ids[6] })), json!({ "unread": 1 }));
    let world = world.restart(Signal::KILL);
    assert_eq!(world.tab().data(), "e7");
}

/// A client without an id, as one that is loaded again each time, and a program that is killed at any moment. What its
/// socket has taken counts as read, so the client reads that to its end.
#[test]
fn whenever_it_is_killed_nothing_is_lost_and_little_comes_again() {
    let mut world = World::new("");
    let mut rng = Rng::with_seed(7);
    let (mut published, mut told, mut again) = (0, BTreeSet::new(), 0);
    for _ in 0..6 {
        let mut tab = world.tab();
        for _ in 0..rng.usize(20..150) {
            world.notify(&format!("e{published}"));
            published += 1;
        }
        if rng.bool() {
            std::thread::sleep(Duration::from_millis(rng.u64(0..20)));
        }
        world = world.restart(Signal::KILL);
        for _ in 0..rng.usize(0..100) {
            world.notify(&format!("e{published}"));
            published += 1;
        }
        while let Some(said) = tab.try_event() {
            again += usize::from(said.data.is_some_and(|data| !told.insert(data)));
        }
    }
    let left = world.unread();
    let mut tab = world.tab();
    for data in left {
        assert_eq!(tab.data(), data);
        again += usize::from(!told.insert(data));
    }
    let all: BTreeSet<_> = (0..published).map(|number| format!("e{number}")).collect();
    assert_eq!(told, all);
    assert!(again < published / 2, "{again} of {published} came again");
}
