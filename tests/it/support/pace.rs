//! Tests of time, on a machine of whatever speed.
//!
//! What comes too late by a clock may be our fault or that of a busy machine. The machine's is over when there is
//! more time for each step; ours is not. So the steps are as long as the machine is busy, and each test runs once.

use std::time::Duration;

/// On a machine that has nothing else to do.
const QUICKEST: u32 = 4;

/// However busy it is.
const SLOWEST: u32 = 25;

/// How often as long everything takes as at the quickest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace(u32);

impl Pace {
    /// What takes so many milliseconds at the quickest.
    pub(crate) fn ms(self, quickest: u32) -> Duration {
        Duration::from_millis(u64::from(quickest * self.0))
    }

    /// Lines of a configuration, with each `"200ms"` in them as it is at this pace.
    pub(crate) fn of(self, lines: &str) -> String {
        let (timed, last) = lines.rsplit_once("ms\"").unwrap();
        let timed = timed.split("ms\"").map(|part| {
            let (before, number) = part.rsplit_once('"').unwrap();
            format!("{before}\"{}ms\"", self.ms(number.parse().unwrap()).as_millis())
        });
        timed.collect::<String>() + last
    }
}

/// Runs a test in which each step has its time: four times as long as at the quickest, on a busy machine longer.
pub(crate) fn at_some_pace(test: impl Fn(Pace)) {
    test(Pace(QUICKEST.saturating_mul(waiting_for_a_core()).min(SLOWEST)));
}

/// How many threads there are for each core that want to run, about, over the last minute; one at least.
fn waiting_for_a_core() -> u32 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let running: usize = load.split('.').next().and_then(|load| load.parse().ok()).unwrap_or(0);
    let for_each = running / std::thread::available_parallelism().map_or(1, |cores| cores.get());
    u32::try_from(for_each + 1).unwrap_or(SLOWEST)
}

/// Says how long something took, at best: more than once only if it took longer than it may.
pub(crate) fn at_best(most: Duration, mut what: impl FnMut() -> Duration) -> Duration {
    let mut best = what();
    for _ in 0..4 {
        if best < most {
            break;
        }
        best = best.min(what());
    }
    best
}
