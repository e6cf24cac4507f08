//! A run: its parts, one after the other, and what is measured around each.

use std::io::{self, Write as _};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::cost::{Cost, Server};
use crate::options::Options;
use crate::publisher::{Published, Publishers};
use crate::report::{Arrived, Hold, Open, Publish, Report, Requests, Stalled, Storm, Witnesses};
use crate::requests;
use crate::sampler::{Memory, Sampler};
use crate::streams::Streams;
use crate::witness::{self, Phase};

/// A few ticks of the kernel's clock, whatever its frequency.
const TICKS: Duration = Duration::from_millis(30);

/// Does what the options ask for.
///
/// # Errors
/// If the server cannot be reached, publishing fails, or the costs of a process cannot be read.
pub(crate) fn run(options: &Options) -> io::Result<Report> {
    let clock = Clock::new();
    let server = Server::new(options.pids.clone());
    if let Some(time) = options.requests {
        let requests = Some(ask(options, time, clock, &server)?);
        return Ok(Report { requests, ..Report::default() });
    }
    let mut run = Run {
        options,
        clock,
        server,
        streams: Streams::new(options, clock)?,
        lanes: vec![0; options.lanes()],
        report: Report::default(),
    };
    if options.streams > 0 {
        run.open()?;
    }
    if !options.hold.is_zero() {
        run.hold()?;
    }
    if options.events > 0 {
        run.publish()?;
    }
    if options.stalled > 0 {
        run.stalled()?;
    }
    if let Some(events) = options.storm {
        run.witnessed(events)?;
    }
    run.report.failures = std::mem::take(&mut run.streams.failures).into_iter().collect();
    Ok(run.report)
}

struct Run<'a> {
    options: &'a Options,
    clock: Clock,
    server: Server,
    streams: Streams<'a>,
    /// How many events were sent on each lane.
    lanes: Vec<u32>,
    report: Report,
}

impl Run<'_> {
    fn open(&mut self) -> io::Result<()> {
        let before = self.server.cost()?;
        let begun = Instant::now();
        self.streams.open(begun + self.options.patience)?;
        let seconds = begun.elapsed().as_secs_f64();
        // What a thread has run is written down when it stops or at the kernel's next tick.
        self.idle(TICKS)?;
        let opened = self.server.cost()?;
        self.idle(self.options.settle)?;
        let after = self.server.cost()?;
        let open = self.streams.open_now();
        self.report.open = Some(Open {
            asked: self.options.streams - self.streams.stalled(),
            open,
            seconds,
            per_second: open as f64 / seconds,
            cpu_us_each: micros(cpu(before, opened)) / open.max(1) as f64,
            memory_before: before.memory,
            memory_after: after.memory,
            kib_each: (after.memory as f64 - before.memory as f64) / open.max(1) as f64,
        });
        Ok(())
    }

    fn hold(&mut self) -> io::Result<()> {
        let before = self.server.cost()?;
        let begun = Instant::now();
        self.idle(self.options.hold)?;
        let seconds = begun.elapsed().as_secs_f64();
        let cpu = cpu(before, self.server.cost()?).as_secs_f64();
        self.report.hold = Some(Hold { seconds, cpu_ms: cpu * 1e3, cpu_percent: cpu / seconds * 100.0 });
        Ok(())
    }

    fn publish(&mut self) -> io::Result<()> {
        self.streams.ledger.next_chapter();
        self.step("publish")?;
        let before = self.server.cost()?;
        let published = self.hand_in(self.options.events)?;
        self.wait_for_all()?;
        self.idle(TICKS)?;
        self.step("published")?;
        let after = self.server.cost()?;
        let cpu = micros(cpu(before, after));
        let arrived = self.arrived();
        let seconds = published.time.as_secs_f64();
        self.report.publish = Some(Publish {
            events: published.acknowledged,
            refused: published.refused,
            seconds,
            per_second: published.acknowledged as f64 / seconds,
            cpu_us_an_event: cpu / published.acknowledged.max(1) as f64,
            ack_us: published.acks.quantiles(),
            cpu_us_a_delivery: cpu / arrived.delivered.max(1) as f64,
            arrived,
            memory_after: after.memory,
        });
        Ok(())
    }

    fn stalled(&mut self) -> io::Result<()> {
        self.idle(self.options.settle)?;
        let memory_before = Memory::now(&self.server)?;
        self.streams.open_stalled(Instant::now() + self.options.patience)?;
        let open = self.streams.stalled_now();
        self.idle(self.options.settle)?;
        let sampler = Sampler::start(self.server.clone());
        self.streams.ledger.next_chapter();
        let published = if self.options.events > 0 { Some(self.hand_in(self.options.events)?) } else { None };
        self.wait_for_all()?;
        let memory_worst = sampler.stop()?;
        self.idle(self.options.settle)?;
        self.report.stalled = Some(Stalled {
            open,
            ended_by_server: open - self.streams.stalled_now(),
            memory_before,
            memory_worst,
            memory_after: Memory::now(&self.server)?,
            refused: published.as_ref().map_or(0, |published| published.refused),
            seconds: published.map_or(0.0, |published| published.time.as_secs_f64()),
            arrived: self.arrived(),
        });
        Ok(())
    }

    /// A storm that witnesses see, if there are any.
    fn witnessed(&mut self, events: u32) -> io::Result<()> {
        let phase = Phase::default();
        if self.options.witnesses == 0 {
            return self.storm(events, &phase);
        }
        let (options, clock) = (&self.options.of_witnesses(), self.clock);
        let opened = Barrier::new(2);
        let (watched, published, stormed) = thread::scope(|scope| {
            let (phase, opened) = (&phase, &opened);
            let watching = scope.spawn(move || {
                // Open before the others are cut, also if they are not all let in.
                let streams = witness::open(options, clock);
                opened.wait();
                witness::watch(streams?, phase)
            });
            opened.wait();
            let publishing = scope.spawn(move || witness::publish(options, clock, phase));
            let stormed = self.idle(self.options.settle).and_then(|()| self.storm(events, phase));
            phase.over();
            (watching.join(), publishing.join(), stormed)
        });
        stormed?;
        let panicked = |_| io::Error::other("the witnesses panicked");
        published.map_err(panicked)??;
        let (calm, storm) = watched.map_err(panicked)??;
        if let Some(report) = &mut self.report.storm {
            report.witnesses = Some(Witnesses { calm, storm });
        }
        Ok(())
    }

    fn storm(&mut self, events: u32, phase: &Phase) -> io::Result<()> {
        phase.between();
        self.streams.ledger.next_chapter();
        self.streams.cut();
        // The server shall have seen that they are gone.
        self.idle(self.options.settle)?;
        if events > 0 {
            self.hand_in(events)?;
        }
        let before = self.server.cost()?;
        phase.storm();
        let begun = Instant::now();
        self.streams.open(begun + self.options.patience)?;
        self.wait_for_all()?;
        let seconds = begun.elapsed().as_secs_f64();
        phase.over();
        self.idle(TICKS)?;
        let cpu = micros(cpu(before, self.server.cost()?));
        let open = self.streams.open_now();
        let (arrived, cpu_us_each) = (self.arrived(), cpu / open.max(1) as f64);
        self.report.storm = Some(Storm { open, seconds, cpu_us_each, arrived, witnesses: None });
        Ok(())
    }

    /// Publishes in a thread of its own, while this one reads the streams.
    fn hand_in(&mut self, events: u32) -> io::Result<Published> {
        let (options, clock) = (self.options, self.clock);
        let lanes = self.lanes.clone();
        let streams = &mut self.streams;
        let published = thread::scope(|scope| {
            let publishing = scope.spawn(move || Publishers::new(options, clock)?.run(events, lanes));
            // Its own patience is over before this is.
            let far = Instant::now() + Duration::from_secs(24 * 3600);
            streams.serve_until(far, |_| publishing.is_finished())?;
            publishing.join().map_err(|_| io::Error::other("the publishers panicked"))?
        })?;
        self.lanes.clone_from(&published.lanes);
        Ok(published)
    }

    /// Reads until every stream has got everything, or `patience` has passed.
    fn wait_for_all(&mut self) -> io::Result<bool> {
        let until = Instant::now() + self.options.patience;
        let lanes = &self.lanes;
        self.streams.serve_until(until, |streams| streams.ledger.missing(lanes, streams.readers()) == 0)
    }

    /// Reads for so long.
    fn idle(&mut self, time: Duration) -> io::Result<()> {
        self.streams.serve_until(Instant::now() + time, |_| false).map(|_| ())
    }

    /// Says where the run is, and waits to be told to go on, if that is wanted.
    fn step(&self, what: &str) -> io::Result<()> {
        if self.options.step {
            writeln!(io::stderr(), "{what}")?;
            io::stdin().read_line(&mut String::new())?;
        }
        Ok(())
    }

    fn arrived(&self) -> Arrived {
        let ledger = &self.streams.ledger;
        Arrived::of(ledger, ledger.missing(&self.lanes, self.streams.readers()))
    }
}

fn ask(options: &Options, time: Duration, clock: Clock, server: &Server) -> io::Result<Requests> {
    let asked = requests::run(options, time, clock, server)?;
    let seconds = asked.time.as_secs_f64();
    Ok(Requests {
        answers: asked.answers,
        wrong: asked.wrong,
        closed: asked.closed,
        bytes: asked.bytes,
        seconds,
        per_second: asked.answers as f64 / seconds,
        cpu_us_each: micros(asked.cpu) / asked.answers.max(1) as f64,
        latency_us: asked.latency.quantiles(),
    })
}

fn cpu(before: Cost, after: Cost) -> Duration {
    after.cpu.saturating_sub(before.cpu)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
