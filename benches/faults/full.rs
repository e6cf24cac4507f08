//! Lets the store write no more, in the middle of a batch, and later again.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use fastrand::Rng;

use super::options::Store;
use super::program::{Place, Program};
use super::report::Report;
use super::world::World;

/// The room that is left beyond what was written, in bytes: less than a batch, and more.
const ROOM: u64 = 6000;

/// How long it may take until it keeps what it is given again, before it is started anew.
const BACK: Duration = Duration::from_secs(2);

/// Fills the disk as often as the options say. It is the limit of a file's size that is reached: a write that would go
/// past it is cut short, and the next one fails.
///
/// # Errors
/// If nothing is kept again after a restart, or if there is no store on disk.
pub(super) fn break_it(
    world: &World,
    place: &Place,
    mut program: Program,
    rng: &mut Rng,
    report: &mut Report,
) -> io::Result<Program> {
    if world.options.store != Store::Disk {
        return Err(io::Error::other("only a store on disk can be full: --store disk"));
    }
    world.move_to(&program.address);
    let (mut by_itself, mut killed, mut drained) = (0, 0, 0);
    for round in 0..world.options.rounds() {
        world.progress(rng.u64(50..500))?;
        program.limit_files(Some(place.journal_end()? + rng.u64(1..ROOM)))?;
        if !world.grows(&world.refused, 1, world.options.patience()) {
            return Err(io::Error::other("nothing was refused though the disk is full"));
        }
        sleep(Duration::from_millis(rng.u64(0..200)));
        program.limit_files(None)?;
        report.rounds += 1;
        if world.grows(&world.acknowledged, 1, BACK) {
            by_itself += 1;
            continue;
        }
        if round % 2 == 0 {
            program.kill()?;
            killed += 1;
        } else {
            program.drain(world.options.patience())?;
            drained += 1;
        }
        program = place.run()?;
        world.move_to(&program.address);
    }
    world.progress(1)?;
    report.notes.push(format!(
        "with room again it went on by itself {by_itself} times; after a restart {drained} times, after a kill {killed} times"
    ));
    Ok(program)
}
