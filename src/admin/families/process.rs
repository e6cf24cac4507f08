//! The process, its configuration and its certificates.
//!
//! What the system says of the process has the names that every exporter gives it, so that dashboards know them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::{Labels, Sheet, Value};
use crate::acme::Figures;
use crate::admin::process::Process;
use crate::admin::{Shown, View};
use crate::metrics::Totals;
use crate::tls::Leaf;

pub(super) fn put(sheet: &mut Sheet, view: &View, totals: &Totals) {
    let shown = view.shown();
    sheet.counter(
        "sidestream_access_log_dropped_lines",
        "Lines that the access log had no room for, since its disk or reader was too slow.",
        totals.log_lines_dropped,
    );
    sheet.counter(
        "sidestream_trace_sent_spans",
        "Spans that the collector of traces has taken.",
        shown.traces.sent(),
    );
    sheet.counter(
        "sidestream_trace_dropped_spans",
        "Spans that were lost: too many waited for the collector of traces, or it did not take them.",
        shown.traces.dropped(),
    );
    sheet.gauge("sidestream_workers", "Workers that run.", view.workers.strong_count() as u64);
    sheet.gauge(
        "sidestream_config_generation",
        "The number of the configuration that is in force; the first is 1.",
        shown.number,
    );
    sheet.family(
        MetricType::Gauge,
        ("sidestream_certificate_expiry_timestamp", Some(Unit::Seconds)),
        "When a certificate expires, in seconds since 1970, by listener and by the first host that it names.",
        expiries(&shown),
    );
    acme(sheet, &shown);
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    sheet.gauges("sidestream_build_info", "Which version runs; always 1.", [(version, 1)]);
    process(sheet);
}

/// Of several certificates for the same host the soonest is told.
fn expiries(shown: &Shown) -> Vec<(Labels, Value)> {
    let mut soonest: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for (listener, tls) in &shown.tls {
        for Leaf { names, not_after, .. } in tls.current().leaves() {
            let host = names.into_iter().next().unwrap_or_default();
            let ends = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let known = soonest.entry((listener, host)).or_insert(ends);
            *known = ends.min(*known);
        }
    }
    let row = |((listener, host), ends): ((&str, String), u64)| {
        (vec![("listener", listener.to_owned()), ("host", host)], Value::Now(ends))
    };
    soonest.into_iter().map(row).collect()
}

fn acme(sheet: &mut Sheet, shown: &Shown) {
    let each = |of: fn(&Figures) -> u64| {
        let row = move |figures: &Arc<Figures>| (vec![("host", figures.name.clone())], of(figures));
        shown.certificates.iter().map(row).collect::<Vec<_>>()
    };
    sheet.counters(
        "sidestream_acme_issued",
        "Certificates that an authority issued (acme), by the first of their hosts.",
        each(|figures| figures.issued.get()),
    );
    sheet.counters(
        "sidestream_acme_failures",
        "Attempts to get a certificate from an authority that failed (acme).",
        each(|figures| figures.failed.get()),
    );
    sheet.family(
        MetricType::Gauge,
        ("sidestream_acme_expiry_timestamp", Some(Unit::Seconds)),
        "When the certificate that is kept of an authority expires, in seconds since 1970; 0 while there is none.",
        each(|figures| figures.expires.get()).into_iter().map(|(labels, ends)| (labels, Value::Now(ends))),
    );
}

fn process(sheet: &mut Sheet) {
    let Process { cpu, resident, reserved, descriptors, most_descriptors, threads, started } = Process::now();
    let one = |value: Option<Value>| value.map(|value| (Labels::new(), value));
    let whole = |number: Option<u64>| one(number.map(Value::Now));
    sheet.family(
        MetricType::Counter,
        ("process_cpu", Some(Unit::Seconds)),
        "Time that the process had of all cores.",
        one(cpu.map(Value::Spent)),
    );
    let bytes = Some(Unit::Bytes);
    let gauge = MetricType::Gauge;
    sheet.family(
        gauge,
        ("process_resident_memory", bytes.clone()),
        "Memory that the process holds.",
        whole(resident),
    );
    sheet.family(
        gauge,
        ("process_virtual_memory", bytes),
        "Memory that the process has reserved.",
        whole(reserved),
    );
    sheet.family(gauge, ("process_open_fds", None), "Descriptors in use.", whole(descriptors));
    sheet.family(gauge, ("process_max_fds", None), "Descriptors that there may be.", whole(most_descriptors));
    sheet.family(gauge, ("process_threads", None), "Threads.", whole(threads));
    sheet.family(
        gauge,
        ("process_start_time", Some(Unit::Seconds)),
        "When the process was started, in seconds since 1970.",
        one(started.map(Value::Point)),
    );
}
