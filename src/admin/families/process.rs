//! The process, its configuration and its certificates.
//!
//! What the system says of the process has the names that every exporter gives it, so that dashboards know them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use x509_parser::parse_x509_certificate;

use super::{Labels, Sheet, Value};
use crate::admin::View;
use crate::admin::process::Process;
use crate::metrics::Totals;

pub(super) fn put(sheet: &mut Sheet, view: &View, totals: &Totals) {
    sheet.counter(
        "sidestream_access_log_dropped_lines",
        "Lines that the access log had no room for, since its disk or reader was too slow.",
        totals.log_lines_dropped,
    );
    sheet.gauge("sidestream_workers", "Workers that run.", view.workers.strong_count() as u64);
    sheet.gauge(
        "sidestream_config_generation",
        "How many configurations have been taken into use.",
        view.generation.load(Ordering::Relaxed),
    );
    sheet.family(
        MetricType::Gauge,
        ("sidestream_certificate_expiry_timestamp", Some(Unit::Seconds)),
        "When a certificate expires, in seconds since 1970, by listener and by the first host that it names.",
        expiries(view),
    );
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    sheet.gauges("sidestream_build_info", "Which version runs; always 1.", [(version, 1)]);
    process(sheet);
}

/// Of several certificates for the same host the soonest is told.
fn expiries(view: &View) -> Vec<(Labels, Value)> {
    let mut soonest: BTreeMap<(&str, String), i64> = BTreeMap::new();
    for (listener, tls) in &view.tls {
        for certificate in tls.current().leaves() {
            let Ok((_, read)) = parse_x509_certificate(certificate) else { continue };
            let ends = read.validity().not_after.timestamp();
            let known = soonest.entry((listener, first_host(certificate))).or_insert(ends);
            *known = ends.min(*known);
        }
    }
    let row = |((listener, host), ends): ((&str, String), i64)| {
        (vec![("listener", listener.to_owned()), ("host", host)], Value::Point(ends as f64))
    };
    soonest.into_iter().map(row).collect()
}

/// The first host that a certificate names; empty if it names none.
fn first_host(certificate: &rustls::pki_types::CertificateDer<'_>) -> String {
    let read = webpki::EndEntityCert::try_from(certificate).ok();
    read.and_then(|read| read.valid_dns_names().next().map(str::to_ascii_lowercase)).unwrap_or_default()
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
