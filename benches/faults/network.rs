//! Cuts all readers off at random, for two seconds each time.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use fastrand::Rng;

use super::program::{Place, Program};
use super::relay::{Line, Relay};
use super::report::Report;
use super::world::World;

/// How long nobody is reached.
const DROP: Duration = Duration::from_secs(2);

/// The longest time between two cuts, in milliseconds.
const MOST: u64 = 1500;

/// Cuts them off as often as the options say: half of the times they see their connections end, and the others not.
///
/// # Errors
/// If nothing is published meanwhile.
pub(super) fn break_it(
    world: &World,
    _place: &Place,
    program: Program,
    rng: &mut Rng,
    report: &mut Report,
) -> io::Result<Program> {
    let relay = Relay::start(&program.address, rng.fork())?;
    world.move_to(&relay.address);
    let mut silent = 0;
    for _ in 0..world.options.rounds() {
        sleep(Duration::from_millis(rng.u64(200..MOST)));
        let line = if rng.bool() { Line::Silent } else { Line::Cut };
        silent += u32::from(line == Line::Silent);
        relay.set(line);
        sleep(DROP);
        world.progress(1)?;
        relay.set(Line::Whole);
        report.rounds += 1;
    }
    // They catch up without it: one of their connections would break again and again.
    world.move_to(&program.address);
    drop(relay);
    report.notes.push(format!("{silent} of the cuts were silent"));
    Ok(program)
}
