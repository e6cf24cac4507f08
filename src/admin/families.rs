//! What is exported: each family of metrics with its name, its help and its rows.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::View;
use crate::metrics::Totals;

/// A family of metrics: one name, and a row for each set of labels.
#[derive(Debug)]
pub(super) struct Family {
    /// Without the unit, and of a counter without `_total`.
    pub(super) name: &'static str,
    /// One sentence.
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) kind: Kind,
    pub(super) rows: Vec<Row>,
}

/// What a number is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    /// How it is now.
    Gauge,
}

impl Kind {
    pub(super) fn of_metric(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
        }
    }
}

/// One row of a family.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

/// The value of a row.
#[derive(Debug)]
pub(super) enum Value {
    /// Of a counter.
    Count(u64),
    /// Of a gauge.
    Now(u64),
}

/// All families.
pub(super) fn of(view: &View) -> Vec<Family> {
    let totals = Totals::of(&view.counters);
    vec![
        gauge("sidestream_connections", "Client connections open now.", totals.connections),
        gauge("sidestream_streams", "Streams open now.", totals.streams),
        counter("sidestream_deliveries", "Events handed to streams.", totals.deliveries),
    ]
}

fn counter(name: &'static str, help: &'static str, count: u64) -> Family {
    Family {
        name,
        help,
        unit: None,
        kind: Kind::Counter,
        rows: vec![Row { labels: Vec::new(), value: Value::Count(count) }],
    }
}

fn gauge(name: &'static str, help: &'static str, now: u64) -> Family {
    Family {
        name,
        help,
        unit: None,
        kind: Kind::Gauge,
        rows: vec![Row { labels: Vec::new(), value: Value::Now(now) }],
    }
}
