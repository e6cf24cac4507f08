//! What the system says of this process (proc(5)).

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// How the process stands. What the system does not tell is not there.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Process {
    /// What it has had of all cores, in seconds.
    pub(super) cpu: Option<f64>,
    /// What it holds of the memory, in bytes.
    pub(super) resident: Option<u64>,
    /// What it has reserved, in bytes.
    pub(super) reserved: Option<u64>,
    /// Descriptors in use.
    pub(super) descriptors: Option<u64>,
    /// Descriptors it may have; none is without bound.
    pub(super) most_descriptors: Option<u64>,
    pub(super) threads: Option<u64>,
    /// When it was started, in seconds since 1970.
    pub(super) started: Option<f64>,
}

impl Process {
    /// What it uses now, without its descriptors: these are counted one by one, and may be many.
    pub(super) fn usage() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let boot =
            fs::read_to_string("/proc/uptime").ok().and_then(|uptime| booted(&uptime, SystemTime::now()));
        Self::of(&stat, boot)
    }

    /// How it stands now.
    pub(super) fn now() -> Self {
        let descriptors = fs::read_dir("/proc/self/fd").map(Iterator::count);
        Self {
            // One of them is that of the folder itself.
            descriptors: descriptors.ok().map(|count| count.saturating_sub(1) as u64),
            most_descriptors: getrlimit(Resource::Nofile).current,
            ..Self::usage()
        }
    }

    /// Reads the line of `/proc/self/stat`.
    fn of(stat: &str, boot: Option<f64>) -> Self {
        // The program's name, which may hold anything, is between brackets; the state behind it is the third field.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        let number = |place: usize| fields.get(place - 3).and_then(|field| field.parse::<u64>().ok());
        let ticks = clock_ticks_per_second() as f64;
        let seconds = |place| number(place).map(|count| count as f64 / ticks);
        Self {
            cpu: seconds(14).zip(seconds(15)).map(|(user, system)| user + system),
            threads: number(20),
            started: seconds(22).zip(boot).map(|(since, boot)| boot + since),
            reserved: number(23),
            resident: number(24).map(|pages| pages * page_size() as u64),
            ..Self::default()
        }
    }
}

/// When the machine was started, in seconds since 1970.
fn booted(uptime: &str, now: SystemTime) -> Option<f64> {
    let up: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Some(now.as_secs_f64() - up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_read_whatever_the_program_is_called() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 7 0 1000 8192000 300 184467 1 1 0";
        let read = Process::of(line, Some(1000.0));
        let ticks = clock_ticks_per_second() as f64;
        assert_eq!(read.cpu, Some(400.0 / ticks));
        assert_eq!((read.threads, read.reserved), (Some(7), Some(8_192_000)));
        assert_eq!(read.resident, Some(300 * page_size() as u64));
        assert_eq!(read.started, Some(1000.0 + 1000.0 / ticks));
        assert_eq!(Process::of("", Some(1000.0)), Process::default());
    }

    #[test]
    fn this_process_is_seen() {
        let now = Process::now();
        assert!(now.cpu.is_some() && now.resident > Some(1 << 20) && now.descriptors > Some(2), "{now:?}");
        assert!(
            now.threads > Some(0) && now.most_descriptors.is_none_or(|most| Some(most) > now.descriptors)
        );
        let since =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - now.started.unwrap();
        assert!((-2.0..7.0 * 24.0 * 3600.0).contains(&since), "{since}");
    }
}
