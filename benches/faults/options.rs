//! What a run is told on its command line.

use std::path::PathBuf;
use std::time::Duration;

use super::redis::Fault;

/// Breaks Sidestream at random while publishers write and readers read, and says whether everybody got what was
/// promised: an event that was acknowledged reaches each reader of its channels once and in order, or a reset stands
/// where history had gone. Exits with 1 if not.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "faults", after_help = EXAMPLES)]
pub(super) struct Options {
    /// Readers are cut off for two seconds at a time, by a relay in front of Sidestream, instead of killing it.
    #[arg(long, group = "mode")]
    pub(super) network: bool,
    /// The clock goes an hour back and forward, in this process: the hub and its store without sockets.
    #[arg(long, group = "mode")]
    pub(super) clock: bool,
    /// The store may write no more, in the middle of a batch, and later again.
    #[arg(long, group = "mode")]
    pub(super) disk_full: bool,
    /// Several nodes over a Redis of their own, of which one after another, their links and Redis itself are broken in
    /// all the ways that --fault lists.
    #[arg(long, group = "mode")]
    pub(super) redis: bool,

    /// With --redis: only these faults.
    #[arg(long, value_enum, value_delimiter = ',', requires = "redis", value_name = "FAULTS")]
    pub(super) fault: Vec<Fault>,
    /// With --redis: how many nodes there are.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=16))]
    pub(super) nodes: u8,
    /// With --redis: in how many milliseconds a node must use a Redis that is there again.
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    pub(super) back: u32,

    /// How often it is broken; 200 kills, or 20 of anything else. With --redis, how often in each way: once.
    #[arg(long, value_name = "N")]
    pub(super) rounds: Option<usize>,
    /// Everything random follows from it; a new one without.
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// The store.
    #[arg(long, value_enum, default_value = "disk")]
    pub(super) store: Store,
    /// When the disk store syncs.
    #[arg(long, value_enum, default_value = "always")]
    pub(super) sync: Sync,
    /// How many connections publish at once: lines of JSON, single posts and batches in turn.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) publishers: u16,
    /// How many streams are read.
    #[arg(long, default_value_t = 200, default_value_if("redis", "true", "300"))]
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub(super) readers: u16,
    /// How many channels there are; each reader has a set of its own.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(super) channels: u8,
    /// How many events a channel keeps. Few, and readers will be told of gaps.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub(super) history: usize,
    /// How many seconds an event is kept.
    #[arg(long, default_value_t = 86_400, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) age: u32,
    /// How many publications a second are begun in all, at most.
    #[arg(long, default_value_t = 2000, default_value_if("redis", "true", "200"))]
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate: u32,
    /// How long anything may take before the run is given up.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) patience: u32,
    /// Sidestream's binary; the one that was built with this tool without it.
    #[arg(long, value_name = "PATH")]
    pub(super) binary: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  200 kills of a disk store that syncs before it acknowledges:
    cargo build --release && cargo run --release --example faults
  the same kills as an earlier run, with so little history that readers are told of gaps:
    faults --seed 17 --history 200
  readers that lose their network for two seconds, twenty times:
    faults --network
  three nodes over a Redis that is restarted, stopped, cut off and replaced:
    faults --redis";

/// Where history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Store {
    /// In memory: a kill begins a new epoch.
    Memory,
    /// On disk: ids go on.
    Disk,
}

/// When a disk store syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Sync {
    /// Before it acknowledges.
    Always,
    /// A moment later.
    Interval,
}

impl Options {
    pub(super) fn rounds(&self) -> usize {
        let is_kill = !(self.network || self.clock || self.disk_full);
        self.rounds.unwrap_or(if self.redis {
            1
        } else if is_kill {
            200
        } else {
            20
        })
    }

    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(u64::from(self.patience))
    }
}
