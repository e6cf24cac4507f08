//! What a server costs, as the kernel counts it: processor time and memory of its processes.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::time::Duration;

/// A server's processes: those that were named, and all their descendants, also later ones.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    roots: Vec<u32>,
}

/// What the processes had cost at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// In user and in system mode.
    pub(crate) cpu: Duration,
    /// Memory in KiB, shared pages counted by their share (PSS). Buffers of sockets are the kernel's and not in it.
    pub(crate) memory: u64,
}

impl Server {
    pub(crate) fn new(roots: Vec<u32>) -> Self {
        Self { roots }
    }

    /// Adds up what the processes have cost until now.
    ///
    /// # Errors
    /// If a process that was named is gone, or if its memory may not be read.
    pub(crate) fn cost(&self) -> io::Result<Cost> {
        let mut cost = Cost::default();
        let ticks_per_second = u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100);
        for pid in self.processes()? {
            let read = |name: &str| {
                fs::read_to_string(format!("/proc/{pid}/{name}"))
                    .map_err(|error| io::Error::new(error.kind(), format!("/proc/{pid}/{name}: {error}")))
            };
            let ticks = Stat::parse(&read("stat")?).map_or(0, |stat| stat.ticks);
            // What the process was charged with is precise to a hundredth of a second; what its threads have run, to a
            // nanosecond, but a thread that has ended is not in it.
            cost.cpu += (Duration::from_secs(ticks) / ticks_per_second).max(run_by_threads(pid));
            cost.memory += pss(&read("smaps_rollup")?).unwrap_or(0);
        }
        Ok(cost)
    }

    /// The roots and their descendants.
    fn processes(&self) -> io::Result<HashSet<u32>> {
        let mut found: HashSet<u32> = self.roots.iter().copied().collect();
        if found.is_empty() {
            return Ok(found);
        }
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process may end while the folder is read.
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            parents.extend(Stat::parse(&text).map(|stat| (pid, stat.parent)));
        }
        loop {
            let before = found.len();
            for (pid, parent) in &parents {
                if found.contains(parent) {
                    found.insert(*pid);
                }
            }
            if found.len() == before {
                return Ok(found);
            }
        }
    }
}

/// How long the threads that a process has now have run; nothing where the kernel does not tell.
fn run_by_threads(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let nanos = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// What is used of /proc/PID/stat.
#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    /// The name in parentheses may hold anything, so fields count from its end.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self { parent: fields.get(1)?.parse().ok()?, ticks: ticks(11)? + ticks(12)? })
    }
}

/// The sum in KiB out of /proc/PID/smaps_rollup.
fn pss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_a_name_that_tries() {
        let text = "12 (a) b) S 7 12 12 0 -1 4194304 100 0 0 0 35 15 1 2 20 0 4 0 100 1 1";
        assert_eq!(Stat::parse(text), Some(Stat { parent: 7, ticks: 50 }));
        assert_eq!(Stat::parse("12 (a"), None);
    }

    #[test]
    fn the_share_of_memory() {
        let text = "5500-7ff [rollup]\nRss:  100 kB\nPss:   42 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(pss(text), Some(42));
        assert_eq!(pss("Rss: 1 kB\n"), None);
    }

    #[test]
    fn this_process_costs_something() {
        let cost = Server::new(vec![std::process::id()]).cost().unwrap();
        assert!(cost.memory > 100);
        assert!(Server::new(vec![u32::MAX]).cost().is_err());
    }
}
