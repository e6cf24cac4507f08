//! What two readings tell: a row of numbers that is kept, and the tables that are only shown now.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::reading::{Reading, Upstream, Worker};
use crate::admin::{Shown, View};
use crate::shutdown::Stage;

/// What a row holds, in order: a moment in seconds since 1970; how many there were then; rates a second; times in
/// milliseconds, null where nothing happened; how often something happened; the share of one core; bytes.
pub(super) const COLUMNS: [&str; 15] = [
    "at",
    "streams",
    "connections",
    "requests",
    "errors",
    "publications",
    "deliveries",
    "request_p50",
    "request_p99",
    "delivery_p50",
    "delivery_p99",
    "evictions",
    "resets",
    "cpu",
    "memory",
];

/// One row, by [`COLUMNS`].
#[derive(Debug, Clone)]
pub(super) struct Sample([Option<f64>; COLUMNS.len()]);

impl Sample {
    /// What happened between two readings; `at` is when the second was taken.
    pub(super) fn between(before: &Reading, after: &Reading, at: SystemTime) -> Self {
        let seconds = seconds(before, after);
        let (old, new) = (&before.totals, &after.totals);
        let rate = |old: u64, new: u64| Some(new.saturating_sub(old) as f64 / seconds);
        let requests = after.requests.since(&before.requests);
        let deliveries = after.deliveries.since(&before.deliveries);
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self([
            Some(at.as_secs_f64()),
            Some(new.streams as f64),
            Some(new.connections as f64),
            rate(old.requests, new.requests),
            rate(before.errors, after.errors),
            rate(before.published, after.published),
            rate(old.deliveries, new.deliveries),
            millis(requests.quantile(0.5)),
            millis(requests.quantile(0.99)),
            millis(deliveries.quantile(0.5)),
            millis(deliveries.quantile(0.99)),
            Some(new.evicted.saturating_sub(old.evicted) as f64),
            Some(new.resets.saturating_sub(old.resets) as f64),
            cpu(before, after),
            after.process.resident.map(|bytes| bytes as f64),
        ])
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (place, value) in self.0.iter().enumerate() {
            f.write_str(if place > 0 { "," } else { "" })?;
            match value {
                None => f.write_str("null")?,
                Some(value) => write!(f, "{}", rounded(*value))?,
            }
        }
        f.write_str("]")
    }
}

/// What is only of interest now: the process, its workers and its upstreams, over the time between two readings.
pub(super) fn now(view: &View, before: &Reading, after: &Reading) -> Value {
    let shown = view.shown();
    let stage = view.signal.stage();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started": after.process.started,
        "generation": shown.number,
        "state": if stage > Stage::Running { "draining" } else { "serving" },
        "store": view.hub.is_well(),
        "token": shown.config.admin.as_ref().is_some_and(|admin| admin.token.is_some()),
        "file": view.reload.is_some(),
        "behind": after.totals.streams_behind,
        "running": view.workers.strong_count(),
        "workers": workers(before, after),
        "upstreams": upstreams(&shown, before, after),
    })
}

fn workers(before: &Reading, after: &Reading) -> Vec<Value> {
    let seconds = seconds(before, after);
    let row = |(before, after): (&Worker, &Worker)| {
        let Worker { totals: old, .. } = before;
        let Worker { totals: new, waiting } = after;
        json!({
            "connections": new.connections,
            "streams": new.streams,
            "requests": rounded(new.requests.saturating_sub(old.requests) as f64 / seconds),
            "deliveries": rounded(new.deliveries.saturating_sub(old.deliveries) as f64 / seconds),
            "waiting": waiting,
        })
    };
    before.workers.iter().zip(&after.workers).map(row).collect()
}

fn upstreams(shown: &Shown, before: &Reading, after: &Reading) -> Vec<Value> {
    let Shown { config, standings, .. } = shown;
    let seconds = seconds(before, after);
    let none = Upstream::default();
    let row = |(upstream, well): (&crate::config::Upstream, Vec<bool>)| {
        let old = before.upstreams.get(&upstream.name).unwrap_or(&none);
        let new = after.upstreams.get(&upstream.name).unwrap_or(&none);
        let rate = |old: u64, new: u64| rounded(new.saturating_sub(old) as f64 / seconds);
        let time = new.first_byte.since(&old.first_byte);
        let servers = upstream.servers.iter().zip(well);
        let quantile = |share| millis(time.quantile(share)).map(rounded);
        json!({
            "name": upstream.name,
            "servers": servers.map(|(server, up)| json!({ "server": server.to_string(), "up": up })).collect::<Vec<_>>(),
            "requests": rate(old.requests, new.requests),
            "active": new.active,
            "errors": rate(old.errors, new.errors),
            "failures": rate(old.failures, new.failures),
            "p50": quantile(0.5),
            "p99": quantile(0.99),
        })
    };
    config.upstreams.iter().zip(standings.well()).map(row).collect()
}

/// Never 0.
fn seconds(before: &Reading, after: &Reading) -> f64 {
    after.at.saturating_duration_since(before.at).as_secs_f64().max(0.001)
}

/// The share of one core.
fn cpu(before: &Reading, after: &Reading) -> Option<f64> {
    let (old, new) = before.process.cpu.zip(after.process.cpu)?;
    Some((new - old).max(0.0) / seconds(before, after))
}

fn millis(seconds: Option<f64>) -> Option<f64> {
    seconds.map(|seconds| seconds * 1000.0)
}

/// To a thousandth: no plot shows more.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_json() {
        let mut row = Sample([None; COLUMNS.len()]);
        row.0[0] = Some(1_700_000_000.123_456);
        row.0[1] = Some(3.0);
        let read: Value = serde_json::from_str(&row.to_string()).unwrap();
        assert_eq!(read[0], 1_700_000_000.123);
        assert_eq!((&read[1], &read[2]), (&json!(3), &Value::Null));
        assert_eq!(read.as_array().unwrap().len(), COLUMNS.len());
    }
}
