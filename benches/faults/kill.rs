//! Kills Sidestream at random points, and starts it again.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use fastrand::Rng;

use super::program::{Place, Program};
use super::report::Report;
use super::world::World;

/// The most acknowledgements between two kills.
const MOST: u64 = 400;

/// One in so many is killed while it starts, too.
const AT_START: u8 = 6;

/// Kills it as often as the options say.
///
/// # Errors
/// If it does not come back.
pub(super) fn break_it(
    world: &World,
    place: &Place,
    mut program: Program,
    rng: &mut Rng,
    report: &mut Report,
) -> io::Result<Program> {
    let mut at_start = 0;
    world.move_to(&program.address);
    for _ in 0..world.options.rounds() {
        // Somewhere after some more have been acknowledged, and then anywhere between two.
        world.progress(rng.u64(1..MOST))?;
        sleep(Duration::from_micros(rng.u64(0..5000)));
        program.kill()?;
        report.rounds += 1;
        if rng.u8(0..AT_START) == 0 {
            let mut child = place.spawn()?;
            sleep(Duration::from_micros(rng.u64(0..20_000)));
            child.kill()?;
            child.wait()?;
            at_start += 1;
        }
        program = place.run()?;
        world.move_to(&program.address);
    }
    world.progress(1)?;
    report.notes.push(format!("killed {at_start} more times while it started"));
    Ok(program)
}
