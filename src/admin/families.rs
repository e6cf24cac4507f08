//! What is exported: each family of metrics with its name, its help and its rows.
//!
//! Invariants: one name for each thing; the labels of a row come from the configuration or from a list in the code, never
//! from a client or a publisher; a family is there from the start, with zeros, so that a rate of it is right.

mod process;
mod streams;
mod traffic;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::View;
use crate::metrics::{Spread, Totals};

/// A family of metrics: one name, and a row for each set of labels.
#[derive(Debug)]
pub(super) struct Family {
    /// Without the unit, and of a counter without `_total`.
    pub(super) name: &'static str,
    /// One sentence.
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) kind: MetricType,
    pub(super) rows: Vec<Row>,
}

/// One row of a family.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) labels: Labels,
    pub(super) value: Value,
}

pub(super) type Labels = Vec<(&'static str, String)>;

/// The value of a row.
#[derive(Debug)]
pub(super) enum Value {
    /// Of a counter.
    Count(u64),
    /// Of a counter that is no whole number.
    Spent(f64),
    /// Of a gauge.
    Now(u64),
    /// Of a gauge that is no whole number.
    Point(f64),
    /// Of a histogram: the end of each bucket, and how many are in it.
    Spread { sum: f64, count: u64, buckets: Vec<(f64, u64)> },
}

impl<const FIRST: u64> From<Spread<FIRST>> for Value {
    fn from(spread: Spread<FIRST>) -> Self {
        Self::Spread { sum: spread.sum(), count: spread.count(), buckets: spread.buckets() }
    }
}

/// All families.
pub(super) fn of(view: &View) -> Vec<Family> {
    let totals = Totals::of(&view.counters);
    let mut sheet = Sheet::default();
    traffic::put(&mut sheet, view, &totals);
    streams::put(&mut sheet, view, &totals);
    process::put(&mut sheet, view, &totals);
    sheet.0
}

/// The families that are written so far.
#[derive(Debug, Default)]
struct Sheet(Vec<Family>);

impl Sheet {
    fn family(
        &mut self,
        kind: MetricType,
        (name, unit): (&'static str, Option<Unit>),
        help: &'static str,
        rows: impl IntoIterator<Item = (Labels, Value)>,
    ) {
        let rows = rows.into_iter().map(|(labels, value)| Row { labels, value }).collect();
        self.0.push(Family { name, help, unit, kind, rows });
    }

    /// A number that only grows.
    fn counter(&mut self, name: &'static str, help: &'static str, count: u64) {
        self.counters(name, help, [(Labels::new(), count)]);
    }

    /// The same, with labels.
    fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let rows = rows.into_iter().map(|(labels, count)| (labels, Value::Count(count)));
        self.family(MetricType::Counter, (name, None), help, rows);
    }

    /// The same of bytes.
    fn byte_counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let rows = rows.into_iter().map(|(labels, count)| (labels, Value::Count(count)));
        self.family(MetricType::Counter, (name, Some(Unit::Bytes)), help, rows);
    }

    /// How something is now.
    fn gauge(&mut self, name: &'static str, help: &'static str, now: u64) {
        self.gauges(name, help, [(Labels::new(), now)]);
    }

    /// The same, with labels.
    fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let rows = rows.into_iter().map(|(labels, now)| (labels, Value::Now(now)));
        self.family(MetricType::Gauge, (name, None), help, rows);
    }

    /// How many bytes something is now.
    fn bytes(&mut self, name: &'static str, help: &'static str, now: u64) {
        self.family(MetricType::Gauge, (name, Some(Unit::Bytes)), help, [(Labels::new(), Value::Now(now))]);
    }

    /// How long things took.
    fn times<const FIRST: u64>(
        &mut self,
        name: &'static str,
        help: &'static str,
        rows: impl IntoIterator<Item = (Labels, Spread<FIRST>)>,
    ) {
        let rows = rows.into_iter().map(|(labels, spread)| (labels, spread.into()));
        self.family(MetricType::Histogram, (name, Some(Unit::Seconds)), help, rows);
    }
}

/// Rows that a word tells apart.
fn by<'w, N>(
    label: &'static str,
    rows: impl IntoIterator<Item = (&'w str, N)>,
) -> impl Iterator<Item = (Labels, N)> {
    rows.into_iter().map(move |(word, number)| (vec![(label, word.to_owned())], number))
}
