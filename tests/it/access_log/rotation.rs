//! The access log's file moved away while it is written, as logrotate does it: a new one after SIGUSR1, and no line lost,
//! doubled or torn.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::parse;
use crate::support::{Client, NO_APP, PATIENCE, Program, in_front_of};

/// How often the file is moved away.
const TIMES: usize = 20;

/// Waits until it is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asks for something that is refused, and that no app is needed for.
fn ask(client: &mut Client, query: &str) {
    assert_eq!(client.get(&format!("/events?{query}"), "").response().status, 401);
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn no_line_is_lost_doubled_or_torn_when_the_file_is_moved_under_load() {
    let program = Program::run(&in_front_of(NO_APP, "", ""));
    let path = program.folder.path().join("access.log");
    let done = AtomicBool::new(false);
    let mut sent: HashMap<String, usize> = HashMap::new();
    std::thread::scope(|scope| {
        let ask_on = |name: usize| {
            let mut client = Client::connect(&program.address);
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                ask(&mut client, &format!("by={name}&n={count}"));
                count += 1;
            }
            count
        };
        let askers: Vec<_> = (0..4).map(|name| scope.spawn(move || ask_on(name))).collect();
        for time in 0..TIMES {
            until("something is written", || lines(&path) > 0);
            fs::rename(&path, program.folder.path().join(format!("access.log.{time}"))).unwrap();
            program.signal(Signal::USR1);
            until("there is a new file", || path.exists());
        }
        done.store(true, Ordering::Relaxed);
        for (name, asker) in askers.into_iter().enumerate() {
            for n in 0..asker.join().unwrap() {
                sent.insert(format!("/events?by={name}&n={n}"), 0);
            }
        }
    });
    // What belongs into a file that was moved was written before the new one was there.
    let moved = |time| fs::read_to_string(program.folder.path().join(format!("access.log.{time}"))).unwrap();
    let texts: String = (0..TIMES).map(moved).collect();
    program.signal(Signal::TERM);
    let (ended, last) = program.end_with("access.log");
    for line in texts.lines().chain(last.lines()) {
        let line = parse(line);
        *sent.get_mut(line["target"].as_str().unwrap()).unwrap() += 1;
    }
    let wrong: Vec<_> = sent.iter().filter(|(_, times)| **times != 1).collect();
    assert!(wrong.is_empty() && sent.len() > TIMES, "{} lines: {wrong:?}", sent.len());
    assert_eq!(ended.stderr.matches("opened anew").count(), TIMES, "{}", ended.stderr);
}

#[test]
fn a_file_that_was_removed_is_made_again_and_one_that_cannot_be_opened_is_said() {
    let program = Program::run(&in_front_of(NO_APP, "", ""));
    let path = program.folder.path().join("access.log");
    let moved = program.folder.path().join("moved.log");
    let mut client = Client::connect(&program.address);
    ask(&mut client, "n=0");
    until("the line is written", || lines(&path) == 1);
    fs::remove_file(&path).unwrap();
    program.signal(Signal::USR1);
    until("there is a new file, and no line is needed for it", || path.exists());
    ask(&mut client, "n=1");
    until("the line is in it", || lines(&path) == 1);

    fs::rename(&path, &moved).unwrap();
    fs::create_dir(&path).unwrap();
    program.signal(Signal::USR1);
    program.says("cannot be opened anew");
    ask(&mut client, "n=2");
    until("lines go on into the old file", || lines(&moved) == 2);
    fs::remove_dir(&path).unwrap();
    program.signal(Signal::USR1);
    until("there is a new file", || path.exists());
    drop(client);
    program.signal(Signal::TERM);
    let (ended, text) = program.end_with("access.log");
    assert_eq!((ended.code, text.as_str()), (Some(0), ""));
}

#[test]
fn the_signal_does_no_harm_where_there_is_no_file() {
    for access in ["stdout", "off"] {
        let config = in_front_of(NO_APP, "", "").replace("\"access.log\"", &format!("\"{access}\""));
        let program = Program::run(&config);
        program.signal(Signal::USR1);
        ask(&mut Client::connect(&program.address), "n=0");
        program.signal(Signal::TERM);
        assert_eq!(program.end().code, Some(0), "{access}");
    }
}
