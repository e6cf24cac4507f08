//! Power cuts, as far as they can be made without one: the store's files are copied while it is written to, the end of
//! its journal is torn off somewhere after what had been acknowledged when the copy began, and the copy is opened.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fastrand::Rng;
use rustix::process::Signal;

use super::failing::journal;
use super::{client, on_disk, publish_to};
use crate::support::{PATIENCE, Program, Subscriber};

const ROUNDS: usize = 6;

/// Copies what is in a folder, without what ends in `but`.
fn copy(from: &Path, to: &Path, but: &str) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name), but);
        } else if !name.ends_with(but) && name != "lock" {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// How much of a journal has been written: behind it are zeros.
fn written(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Publishes line after line, and takes note of what is acknowledged.
fn publisher(socket: &Path, acknowledged: &Mutex<Vec<u64>>, is_over: &AtomicBool) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap());
    while !is_over.load(Ordering::Relaxed) {
        stream.write_all(b"{\"user\": 42, \"data\": \"0123456789 0123456789 0123456789\"}\n").unwrap();
        let mut reply = String::new();
        replies.read_line(&mut reply).unwrap();
        let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
        let id = reply["id"].as_str().unwrap();
        acknowledged.lock().unwrap().push(id.split_once('-').unwrap().1.parse().unwrap());
    }
}

#[test]
fn what_was_acknowledged_before_a_power_cut_is_there_after_it() {
    let mut rng = Rng::with_seed(7);
    let folder = tempfile::tempdir().unwrap();
    let config = on_disk(&folder, "events = 100000\nbytes = \"64MiB\"\n");
    let program = Program::run(&config);
    let first = publish_to(&program, r#"{"user": 42, "data": "first"}"#);
    let first = first["id"].as_str().unwrap();
    let (acknowledged, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let socket = program.publish_socket();
    let store = folder.path().join("store");
    let mut cuts = Vec::new();
    thread::scope(|scope| {
        let (acknowledged, is_over, socket) = (&acknowledged, &is_over, &socket);
        for _ in 0..3 {
            scope.spawn(move || publisher(socket, acknowledged, is_over));
        }
        for round in 0..ROUNDS {
            while acknowledged.lock().unwrap().len() < (round + 1) * 50 {
                thread::yield_now();
            }
            let promised = acknowledged.lock().unwrap().clone();
            let journal = journal(folder.path());
            let copied = tempfile::tempdir().unwrap();
            // The journal last: what the others speak of was synced there before.
            copy(&store, &copied.path().join("store"), ".jnl");
            let synced = written(&journal);
            let place = copied.path().join("store").join(journal.file_name().unwrap());
            fs::copy(&journal, &place).unwrap();
            cuts.push((promised, synced, place, copied));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    for (round, (mut promised, synced, journal, copied)) in cuts.into_iter().enumerate() {
        // What came after may be there, or in part, or with a hole where a block was not written.
        let end = rng.usize(synced..=written(&journal));
        let file = fs::OpenOptions::new().write(true).open(&journal).unwrap();
        if round % 2 == 0 {
            file.set_len(end as u64).unwrap();
        } else {
            file.write_all_at(&[0; 64], end as u64).unwrap();
        }
        drop(file);
        let program = Program::run(&on_disk(&copied, "events = 100000\nbytes = \"64MiB\"\n"));
        let mut back = Subscriber::resume(client(&program), "42", first);
        promised.sort_unstable();
        for seq in promised {
            loop {
                let said = back.event();
                let found = seq_of(&said.id.unwrap());
                assert!(said.event.is_empty() && found <= seq, "round {round}: {found} and not {seq}");
                if found == seq {
                    break;
                }
                // It was kept, and its publisher had not taken note of it yet.
            }
        }
        let more = publish_to(&program, r#"{"user": 42, "data": "more"}"#);
        let mut last = back.event();
        while last.data.as_deref() != Some("more") {
            last = back.event();
        }
        assert_eq!(last.id.as_deref(), more["id"].as_str());
        program.signal(Signal::TERM);
        assert_eq!(program.end().code, Some(0));
    }
}

fn seq_of(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}
