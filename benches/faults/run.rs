//! A run: everybody starts, everything is broken, everybody ends, and then it is looked at.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Instant;

use fastrand::Rng;

use super::clock;
use super::full;
use super::kill;
use super::ledger::Ledger;
use super::network;
use super::options::Options;
use super::program::{Place, Program};
use super::publisher::{publish, publish_last};
use super::reader::read;
use super::redis;
use super::report::{Breach, Report};
use super::verdict::{self, Verdict};
use super::world::World;

/// What breaks things: it is given the program, and gives back the one that runs then.
type Breaker = fn(&World, &Place, Program, &mut Rng, &mut Report) -> io::Result<Program>;

/// Runs what the options ask for.
///
/// # Errors
/// If it cannot be run. What is not as promised is in the report.
pub(super) fn run(options: &Options) -> io::Result<Report> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..u64::from(u32::MAX)));
    if options.clock {
        return clock::run(options, seed);
    }
    if options.redis {
        return redis::run(options, seed);
    }
    let (mode, breaker): (_, Breaker) = match (options.network, options.disk_full) {
        (true, _) => ("cuts", network::break_it),
        (_, true) => ("full disks", full::break_it),
        _ => ("kills", kill::break_it),
    };
    let mut report = Report::new(mode, seed);
    let place = Place::prepare(options)?;
    let program = place.run()?;
    let world = World::new(options, vec![place.socket()]);
    attend(&world, &mut report, |rng, report| breaker(&world, &place, program, rng, report))?;
    Ok(report)
}

/// Lets everybody publish and read while things are broken, and holds what they saw against what was promised. What
/// `breaker` gives back is kept until all have read.
///
/// # Errors
/// Those of the breaker.
pub(super) fn attend<T>(
    world: &World,
    report: &mut Report,
    breaker: impl FnOnce(&mut Rng, &mut Report) -> io::Result<T>,
) -> io::Result<()> {
    let (options, begun, mut rng) = (&world.options, Instant::now(), Rng::with_seed(report.seed));
    let mut breaking = rng.fork();
    let (published, seen) = thread::scope(|scope| -> io::Result<_> {
        let readers: Vec<_> = (0..options.readers)
            .map(|number| (number, rng.fork()))
            .map(|(number, rng)| scope.spawn(move || read(world, number, rng)))
            .collect();
        let publishers: Vec<_> = (0..options.publishers)
            .map(|number| (number, rng.fork()))
            .map(|(number, rng)| scope.spawn(move || publish(world, number, rng)))
            .collect();
        let broken = breaker(&mut breaking, report);
        world.is_over.store(true, Relaxed);
        if broken.is_err() {
            world.is_given_up.store(true, Relaxed);
        }
        let mut published: Vec<_> = publishers.into_iter().map(joined).collect();
        if broken.is_ok() {
            published.push(publish_last(world));
            let last = Instant::now();
            while last.elapsed() < options.patience() && !readers.iter().all(|reader| reader.is_finished()) {
                thread::sleep(std::time::Duration::from_millis(5));
            }
            world.is_given_up.store(true, Relaxed);
        }
        let seen: Vec<_> = readers.into_iter().map(joined).collect();
        let _kept = broken?;
        Ok((published, seen))
    })?;
    let mut ledger = Ledger::default();
    world.take_markers().into_iter().for_each(|marker| _ = ledger.add(marker));
    for publications in published {
        match publications {
            Ok(publications) => {
                let wrong = publications.into_iter().filter_map(|publication| ledger.add(publication));
                wrong.for_each(|wrong| report.breach(Breach::Duplicate, wrong));
            }
            Err(error) => report.breach(Breach::Protocol, error.to_string()),
        }
    }
    report.epochs = world.epochs();
    report.readers = seen.len();
    verdict::count(&ledger, report);
    let mut verdict = Verdict::new(options, &ledger, report);
    for (reader, seen) in seen.into_iter().enumerate() {
        match seen {
            Ok(seen) => verdict.hold(reader, &seen),
            Err(error) => verdict.report.breach(Breach::Protocol, format!("reader {reader}: {error}")),
        }
    }
    report.notes.push(format!("{:.1} s", begun.elapsed().as_secs_f32()));
    Ok(())
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of this tool has panicked")))
}
