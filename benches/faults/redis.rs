//! Breaks a deployment of several nodes over one Redis in all the ways there are, one after another.
//!
//! After each, all that was acknowledged has to have come to every reader, or a reset in its place, before the next
//! begins; so each fault has a row of its own in the table.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use fastrand::Rng;
use rustix::process::Signal;

use super::ledger::Outcome;
use super::nodes::Nodes;
use super::options::Options;
use super::publisher::publish_to_all;
use super::redis_server::Server;
use super::relay::{Line, Relay};
use super::report::{Breach, Report};
use super::run::attend;
use super::table::{HEAD, Row};
use super::world::{LAST, World};

/// How long something stays broken.
const BROKEN: Duration = Duration::from_secs(1);

/// How long Redis is stopped.
const STOPPED: Duration = Duration::from_secs(5);

/// How long a node may take to see that a Redis that went away without a word is away.
const NOTICED: Duration = Duration::from_secs(4);

/// How long a publisher may wait for an answer, in milliseconds.
const ANSWERED: u64 = 5000;

/// A way to break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Fault {
    /// A node is killed.
    Kill,
    /// Redis is killed, and has kept all.
    Restart,
    /// Redis is killed, and has kept nothing.
    Forget,
    /// Redis is killed, and comes back from an older copy of its file.
    Older,
    /// Redis is stopped for a while, without a word.
    Stop,
    /// The network between one node and Redis carries nothing for a while, without a word.
    Cut,
    /// A replica takes over that lacks the last events.
    Failover,
    /// All keys are removed.
    Flush,
    /// The nodes' subscriptions are closed.
    Unsubscribe,
    /// Redis is slow, for less than is called away.
    Slow,
}

impl Fault {
    /// Whether what was acknowledged may be gone, so that an epoch may begin.
    fn may_lose(self) -> bool {
        matches!(self, Self::Forget | Self::Older | Self::Failover | Self::Flush)
    }
}

/// What is broken.
struct Deployment<'w> {
    world: &'w World,
    redis: Server,
    nodes: Nodes,
    replicas: u32,
    folder: tempfile::TempDir,
}

/// Runs what the options ask for.
///
/// # Errors
/// If it cannot be run.
pub(super) fn run(options: &Options, seed: u64) -> io::Result<Report> {
    let mut report = Report::new("faults of Redis", seed);
    let folder = tempfile::tempdir()?;
    let redis = Server::start(folder.path().join("redis"))?;
    let nodes = Nodes::start(options, &redis.address)?;
    let world = World::new(options, nodes.sockets());
    nodes.tell(&world);
    let faults = if options.fault.is_empty() { Fault::value_variants() } else { &options.fault };
    let mut deployment = Deployment { world: &world, redis, nodes, replicas: 0, folder };
    attend(&world, &mut report, |rng, report| {
        let all = deployment.all();
        deployment.nodes.wait(&all, true, options.patience())?;
        world.progress(100)?;
        deployment.level(report)?;
        report.notes.push(HEAD.to_owned());
        for _ in 0..options.rounds() {
            for fault in faults {
                let row = deployment.try_one(*fault, rng, report)?;
                report.notes.push(row.to_string());
                report.rounds += 1;
            }
        }
        Ok(deployment)
    })?;
    Ok(report)
}

impl Deployment<'_> {
    fn all(&self) -> Vec<usize> {
        (0..self.nodes.0.len()).collect()
    }

    /// Breaks it in one way, mends it, and waits until everybody has everything.
    fn try_one(&mut self, fault: Fault, rng: &mut Rng, report: &mut Report) -> io::Result<Row> {
        let world = self.world;
        let counts = || {
            let counts =
                [&world.acknowledged, &world.refused, &world.unanswered, &world.resets, &world.streams];
            (counts.map(|count| count.load(Relaxed)), world.epochs() as u64)
        };
        world.progress(rng.u64(1..100))?;
        let (before, epochs) = counts();
        world.slowest.store(0, Relaxed);
        let noticed = self.break_it(fault, rng)?;
        let back = millis(self.nodes.wait(&self.all(), true, world.options.patience())?);
        world.progress(50)?;
        let level = self.level(report)?;
        let (after, epochs_now) = counts();
        let [acknowledged, refused, unknown, resets, streams] =
            std::array::from_fn(|count| after[count] - before[count]);
        let name = fault.to_possible_value().map_or_else(String::new, |name| name.get_name().to_owned());
        let row = Row {
            name,
            acknowledged,
            refused,
            unknown,
            epochs: epochs_now - epochs,
            resets,
            streams,
            noticed: noticed.map(millis),
            slowest: world.slowest.load(Relaxed),
            back,
            level,
        };
        if row.epochs > u64::from(fault.may_lose()) {
            report.breach(Breach::Reset, format!("{} epochs began by {}", row.epochs, row.name));
        }
        if row.back > u64::from(world.options.back) {
            report.breach(Breach::Protocol, format!("{}: back after {} ms", row.name, row.back));
        }
        if row.slowest > ANSWERED {
            report.breach(Breach::Protocol, format!("{}: an answer took {} ms", row.name, row.slowest));
        }
        if noticed.is_some() && row.refused + row.unknown == 0 {
            report.breach(Breach::Protocol, format!("{}: nothing was refused", row.name));
        }
        Ok(row)
    }

    /// Publishes something to all, and waits until all readers have it, or a reset past it. Gives the milliseconds.
    fn level(&self, report: &mut Report) -> io::Result<u64> {
        let begun = Instant::now();
        let marker = publish_to_all(self.world, LAST - 1 - self.world.markers())?;
        if let Outcome::Acknowledged(id) = marker.outcome {
            let behind = self.world.behind(id);
            if behind > 0 {
                report.breach(Breach::Protocol, format!("{behind} readers never came to {id}"));
            }
        }
        self.world.add_marker(marker);
        Ok(millis(begun.elapsed()))
    }

    /// Breaks it, and mends it again. If Redis was to be away, gives how long the nodes took to say so.
    fn break_it(&mut self, fault: Fault, rng: &mut Rng) -> io::Result<Option<Duration>> {
        let all = self.all();
        let one = rng.usize(0..all.len());
        match fault {
            Fault::Kill => {
                self.nodes.0[one].kill()?;
                self.nodes.tell(self.world);
                sleep(BROKEN);
                self.nodes.0[one].start_again()?;
                self.nodes.tell(self.world);
                Ok(None)
            }
            Fault::Restart => self.restart(|_| Ok(())),
            Fault::Forget => self.restart(Server::forget),
            Fault::Older => {
                self.redis.copy_kept()?;
                self.world.progress(100)?;
                self.restart(Server::go_back)
            }
            Fault::Stop => {
                self.redis.signal(Signal::STOP)?;
                let begun = Instant::now();
                let noticed = self.nodes.wait(&all, false, NOTICED);
                sleep(STOPPED.saturating_sub(begun.elapsed()));
                self.redis.signal(Signal::CONT)?;
                noticed.map(Some)
            }
            Fault::Cut => {
                self.nodes.0[one].relay.set(Line::Silent);
                let noticed = self.nodes.wait(&[one], false, NOTICED);
                sleep(BROKEN);
                self.nodes.0[one].relay.set(Line::Whole);
                noticed.map(Some)
            }
            Fault::Failover => self.fail_over().map(Some),
            Fault::Flush => {
                self.redis.run::<()>(&["FLUSHALL"])?;
                Ok(None)
            }
            Fault::Unsubscribe => {
                self.redis.run::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"])?;
                Ok(None)
            }
            Fault::Slow => {
                for _ in 0..3 {
                    self.redis.run::<()>(&["DEBUG", "SLEEP", "0.7"])?;
                    self.world.progress(1)?;
                }
                self.redis.run::<()>(&["CLIENT", "PAUSE", "1000"])?;
                sleep(BROKEN);
                Ok(None)
            }
        }
    }

    /// Kills Redis and starts it again after something was done to its folder.
    fn restart(&mut self, meanwhile: impl FnOnce(&Server) -> io::Result<()>) -> io::Result<Option<Duration>> {
        self.redis.kill()?;
        let noticed = self.nodes.wait(&self.all(), false, NOTICED)?;
        sleep(BROKEN);
        meanwhile(&self.redis)?;
        self.redis.start_again()?;
        Ok(Some(noticed))
    }

    /// Lets a replica take the place of Redis that was cut off a while before.
    fn fail_over(&mut self) -> io::Result<Duration> {
        self.replicas += 1;
        let folder = self.folder.path().join(format!("replica-{}", self.replicas));
        let link = Relay::steady(&self.redis.address)?;
        let replica = Server::start(folder)?;
        let (host, port) = link.address.split_once(':').unwrap_or_default();
        replica.run::<()>(&["REPLICAOF", host, port])?;
        replica.wait_for("master_link_status:up")?;
        self.world.progress(50)?;
        link.set(Line::Silent);
        self.world.progress(50)?;
        self.redis.kill()?;
        let noticed = self.nodes.wait(&self.all(), false, NOTICED)?;
        sleep(BROKEN);
        replica.run::<()>(&["REPLICAOF", "NO", "ONE"])?;
        for node in &self.nodes.0 {
            node.relay.lead_to(&replica.address)?;
        }
        self.redis = replica;
        Ok(noticed)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
