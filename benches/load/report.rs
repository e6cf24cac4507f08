//! What a run found, for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::histogram::Quantiles;
use crate::ledger::Ledger;
use crate::sampler::Memory;

/// Everything that a run found; parts that were not asked for are left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open: Option<Open>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<Hold>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publish: Option<Publish>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stalled: Option<Stalled>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storm: Option<Storm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests: Option<Requests>,
    /// What went wrong, each with its number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) failures: Vec<(String, usize)>,
}

/// Opening all streams. Memory is in KiB, times of the processor in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Open {
    pub(crate) asked: usize,
    pub(crate) open: usize,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) cpu_us_each: f64,
    pub(crate) memory_before: u64,
    pub(crate) memory_after: u64,
    pub(crate) kib_each: f64,
}

/// Holding them with nothing to say but heartbeats.
#[derive(Debug, Serialize)]
pub(crate) struct Hold {
    pub(crate) seconds: f64,
    pub(crate) cpu_ms: f64,
    /// Of one core.
    pub(crate) cpu_percent: f64,
}

/// Publishing to them.
#[derive(Debug, Serialize)]
pub(crate) struct Publish {
    pub(crate) events: u64,
    pub(crate) refused: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) cpu_us_an_event: f64,
    pub(crate) ack_us: Option<Quantiles>,
    #[serde(flatten)]
    pub(crate) arrived: Arrived,
    /// All of the server's time, publications included, for each delivery.
    pub(crate) cpu_us_a_delivery: f64,
    pub(crate) memory_after: u64,
}

/// What of it arrived.
#[derive(Debug, Serialize)]
pub(crate) struct Arrived {
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    pub(crate) strays: u64,
    pub(crate) delivery_us: Option<Quantiles>,
}

impl Arrived {
    /// What the books say, and how much is missing at their end.
    pub(crate) fn of(ledger: &Ledger, missing: u64) -> Self {
        Self {
            delivered: ledger.counts.delivered,
            lost: ledger.counts.lost + missing,
            twice: ledger.counts.twice,
            strays: ledger.counts.strays,
            delivery_us: ledger.latency.quantiles(),
        }
    }
}

/// Publishing with streams beside that are never read. What arrived is that of the others.
#[derive(Debug, Serialize)]
pub(crate) struct Stalled {
    pub(crate) open: usize,
    /// Those that are known to have ended: by a reset, since an end behind bytes that are not read is not seen.
    pub(crate) ended_by_server: usize,
    /// Without them.
    pub(crate) memory_before: Memory,
    /// At the worst.
    pub(crate) memory_worst: Memory,
    /// When the last event had arrived, after a pause.
    pub(crate) memory_after: Memory,
    pub(crate) refused: u64,
    pub(crate) seconds: f64,
    #[serde(flatten)]
    pub(crate) arrived: Arrived,
}

/// All streams cut, and back at once.
#[derive(Debug, Serialize)]
pub(crate) struct Storm {
    pub(crate) open: usize,
    /// From the first connection until every stream had what it missed.
    pub(crate) seconds: f64,
    pub(crate) cpu_us_each: f64,
    #[serde(flatten)]
    pub(crate) arrived: Arrived,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) witnesses: Option<Witnesses>,
}

/// What arrived at streams that stayed: while all was calm, and during the storm.
#[derive(Debug, Serialize)]
pub(crate) struct Witnesses {
    pub(crate) calm: Arrived,
    pub(crate) storm: Arrived,
}

/// Ordinary requests.
#[derive(Debug, Serialize)]
pub(crate) struct Requests {
    pub(crate) answers: u64,
    pub(crate) wrong: u64,
    pub(crate) closed: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) cpu_us_each: f64,
    pub(crate) latency_us: Option<Quantiles>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(open) = &self.open {
            row(
                f,
                "open",
                format_args!(
                    "{} of {} streams in {:.2} s, {:.0}/s",
                    open.open, open.asked, open.seconds, open.per_second
                ),
            )?;
            row(f, "", format_args!("{:.1} us of the server's processor each", open.cpu_us_each))?;
            row(
                f,
                "",
                format_args!(
                    "{:.2} KiB each ({} -> {} KiB)",
                    open.kib_each, open.memory_before, open.memory_after
                ),
            )?;
        }
        if let Some(hold) = &self.hold {
            row(
                f,
                "hold",
                format_args!(
                    "{:.1} s, {:.0} ms of the processor, {:.2} %",
                    hold.seconds, hold.cpu_ms, hold.cpu_percent
                ),
            )?;
        }
        if let Some(publish) = &self.publish {
            row(
                f,
                "publish",
                format_args!(
                    "{} events in {:.2} s, {:.0}/s, {} refused",
                    publish.events, publish.seconds, publish.per_second, publish.refused
                ),
            )?;
            row(
                f,
                "",
                format_args!(
                    "{:.1} us of the processor an event, {:.2} us a delivery",
                    publish.cpu_us_an_event, publish.cpu_us_a_delivery
                ),
            )?;
            times(f, "acknowledged", publish.ack_us)?;
            arrived(f, &publish.arrived)?;
        }
        if let Some(stalled) = &self.stalled {
            row(
                f,
                "stalled",
                format_args!(
                    "{} streams never read, {} seen to end; the same events to the others in {:.2} s, {} refused",
                    stalled.open, stalled.ended_by_server, stalled.seconds, stalled.refused
                ),
            )?;
            arrived(f, &stalled.arrived)?;
            let Stalled { memory_before: before, memory_worst: worst, memory_after: after, .. } = stalled;
            let server = (before.server, worst.server, after.server);
            row(f, "", format_args!("server {} -> {} -> {} KiB", server.0, server.1, server.2))?;
            let sockets = (before.sockets, worst.sockets, after.sockets);
            row(f, "", format_args!("sockets {} -> {} -> {} KiB", sockets.0, sockets.1, sockets.2))?;
        }
        if let Some(storm) = &self.storm {
            row(
                f,
                "storm",
                format_args!(
                    "{} streams back and caught up in {:.2} s, {:.1} us of the processor each",
                    storm.open, storm.seconds, storm.cpu_us_each
                ),
            )?;
            arrived(f, &storm.arrived)?;
            if let Some(Witnesses { calm, storm }) = &storm.witnesses {
                row(f, "witnesses", format_args!("before, and during the storm"))?;
                arrived(f, calm)?;
                arrived(f, storm)?;
            }
        }
        if let Some(requests) = &self.requests {
            row(
                f,
                "requests",
                format_args!(
                    "{} in {:.2} s, {:.0}/s, {:.1} MB, {} wrong, {} connections closed",
                    requests.answers,
                    requests.seconds,
                    requests.per_second,
                    requests.bytes as f64 / 1e6,
                    requests.wrong,
                    requests.closed
                ),
            )?;
            row(f, "", format_args!("{:.1} us of the processor each", requests.cpu_us_each))?;
            times(f, "answered", requests.latency_us)?;
        }
        for (what, count) in &self.failures {
            row(f, "failures", format_args!("{count} x {what}"))?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, text: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "{name:<10}{text}")
}

fn arrived(f: &mut fmt::Formatter<'_>, arrived: &Arrived) -> fmt::Result {
    let Arrived { delivered, lost, twice, strays, delivery_us } = arrived;
    row(f, "", format_args!("{delivered} delivered, {lost} lost, {twice} twice, {strays} to another user"))?;
    times(f, "delivered", *delivery_us)
}

fn times(f: &mut fmt::Formatter<'_>, what: &str, times: Option<Quantiles>) -> fmt::Result {
    let Some(Quantiles { p50, p90, p99, max }) = times else { return Ok(()) };
    row(f, "", format_args!("{what} after p50 {p50:.0}, p90 {p90:.0}, p99 {p99:.0}, max {max:.0} us"))
}
