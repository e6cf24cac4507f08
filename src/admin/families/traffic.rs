//! Connections, requests and upstreams.

use std::collections::BTreeMap;

use super::{Labels, Sheet, by};
use crate::admin::{Shown, View};
use crate::metrics::{CONNECT, Class, FAILURES, REQUEST, RouteLabel, Spread, Totals};

pub(super) fn put(sheet: &mut Sheet, view: &View, totals: &Totals) {
    connections(sheet, totals);
    requests(sheet, view, totals);
    upstreams(sheet, view, totals);
}

fn connections(sheet: &mut Sheet, totals: &Totals) {
    sheet.gauge("sidestream_connections", "Client connections open now.", totals.connections);
    sheet.counter(
        "sidestream_connections_accepted",
        "Client connections accepted.",
        totals.connections_accepted,
    );
    let refused = [
        ("max_connections", totals.connections_refused),
        ("connections_per_address", totals.connections_limited_address),
        ("proxy_protocol", totals.proxy_headers_refused),
    ];
    sheet.counters(
        "sidestream_connections_refused",
        "Client connections closed at once, by the limit or the rule.",
        by("reason", refused),
    );
    sheet.counter(
        "sidestream_connections_timed_out",
        "Client connections ended by a deadline of their listener.",
        totals.connections_timed_out,
    );
    sheet.counter(
        "sidestream_accept_errors",
        "Times that the system gave no connection.",
        totals.accept_errors,
    );
    sheet.counter("sidestream_tls_handshakes", "TLS handshakes made.", totals.handshakes);
    sheet.counter(
        "sidestream_tls_handshake_failures",
        "TLS handshakes that failed, took too long, or asked for a host that is not served.",
        totals.handshakes_failed,
    );
    sheet.gauge("sidestream_tunnels", "WebSockets and other upgraded connections open now.", totals.tunnels);
}

/// What is counted of a route by all workers.
#[derive(Default)]
struct Route {
    classes: [u64; Class::NAMES.len()],
    active: u64,
    time: Spread<REQUEST>,
    answered: u64,
}

fn requests(sheet: &mut Sheet, view: &View, totals: &Totals) {
    let Shown { config, .. } = &*view.shown();
    // Also those that no worker has counted anything of yet.
    let known = config.routes.iter().map(|route| config.label_of(route));
    let known = known.chain([RouteLabel::default()]).map(|label| (label, Route::default()));
    let mut routes: BTreeMap<RouteLabel, Route> = known.collect();
    for counters in &*view.counters {
        counters.routes.each(|label, cells| {
            let route = routes.entry(label.clone()).or_default();
            for (sum, count) in route.classes.iter_mut().zip(cells.classes()) {
                *sum += count;
            }
            route.active += cells.active.get();
            route.answered += cells.answered.get();
            cells.time.add_to(&mut route.time);
        });
    }
    let labels = |label: &RouteLabel| -> Labels {
        vec![("route", label.route.clone()), ("upstream", label.upstream.clone())]
    };
    let each = || routes.iter().map(|(label, route)| (labels(label), route));
    sheet.counters(
        "sidestream_requests",
        "Requests that are over, and streams that were opened, by the class of their status; `aborted` are those \
         whose clients went away before they were answered.",
        each().flat_map(|(labels, route)| {
            let classes = Class::NAMES.into_iter().zip(route.classes);
            classes.map(move |(class, count)| {
                (labels.iter().cloned().chain([("status", class.to_owned())]).collect(), count)
            })
        }),
    );
    sheet.gauges(
        "sidestream_requests_active",
        "Requests that are being answered now.",
        each().map(|(labels, route)| (labels, route.active)),
    );
    sheet.times(
        "sidestream_request_duration",
        "From the head of a request to the end of its answer; streams are not among them.",
        each().map(|(labels, route)| (labels, route.time.clone())),
    );
    sheet.byte_counters(
        "sidestream_response_body",
        "Bytes of the bodies of answers; streams are not among them.",
        each().map(|(labels, route)| (labels, route.answered)),
    );
    sheet.byte_counters(
        "sidestream_request_body",
        "Bytes of the bodies of requests for apps.",
        [(Labels::new(), totals.request_bytes)],
    );
    sheet.counter(
        "sidestream_requests_malformed",
        "Requests that were no HTTP or had too large a head; they reach no route.",
        totals.requests_malformed,
    );
    let refused = [
        ("address", totals.requests_denied),
        ("rate", totals.requests_limited),
        ("password", totals.passwords_refused),
        ("maintenance", totals.requests_in_maintenance),
        ("spool", totals.spool_refused),
    ];
    sheet.counters(
        "sidestream_requests_refused",
        "Requests refused, by what refused them (allow_from and deny_from, rate, basic_auth, maintenance, spool_disk).",
        by("reason", refused),
    );
    sheet.counter(
        "sidestream_panics",
        "Requests and connections that a mistake of Sidestream's own ended.",
        totals.panics,
    );
}

/// What is counted of an upstream by all workers.
#[derive(Default)]
struct Upstream {
    queue: Spread<REQUEST>,
    connect: Spread<CONNECT>,
    first_byte: Spread<REQUEST>,
    failures: [u64; FAILURES.len()],
    idle: u64,
}

fn upstreams(sheet: &mut Sheet, view: &View, totals: &Totals) {
    let Shown { config, standings, .. } = &*view.shown();
    let known = config.upstreams.iter().map(|upstream| (upstream.name.clone(), Upstream::default()));
    let mut upstreams: BTreeMap<String, Upstream> = known.collect();
    for counters in &*view.counters {
        counters.upstreams.each(|name, cells| {
            let upstream = upstreams.entry(name.clone()).or_default();
            cells.queue.add_to(&mut upstream.queue);
            cells.connect.add_to(&mut upstream.connect);
            cells.first_byte.add_to(&mut upstream.first_byte);
            for (sum, cell) in upstream.failures.iter_mut().zip(&cells.failures) {
                *sum += cell.get();
            }
            upstream.idle += cells.idle.get();
        });
    }
    let each = || upstreams.iter().map(|(name, upstream)| (vec![("upstream", name.clone())], upstream));
    sheet.times(
        "sidestream_upstream_queue",
        "How long requests waited for their turn (max_connections), of those that had to wait.",
        each().map(|(labels, upstream)| (labels, upstream.queue.clone())),
    );
    sheet.times(
        "sidestream_upstream_connect",
        "How long new connections to the app took, TLS included; most requests need none.",
        each().map(|(labels, upstream)| (labels, upstream.connect.clone())),
    );
    sheet.times(
        "sidestream_upstream_first_byte",
        "From the head of a request to the head of the app's answer, waiting and connecting included.",
        each().map(|(labels, upstream)| (labels, upstream.first_byte.clone())),
    );
    sheet.counters(
        "sidestream_upstream_failures",
        "Attempts to have a request answered that failed; another one may have succeeded.",
        each().flat_map(|(labels, upstream)| {
            FAILURES.into_iter().zip(upstream.failures).map(move |(reason, count)| {
                (labels.iter().cloned().chain([("reason", reason.to_owned())]).collect(), count)
            })
        }),
    );
    sheet.gauges(
        "sidestream_upstream_idle_connections",
        "Connections to the app that wait for their next request.",
        each().map(|(labels, upstream)| (labels, upstream.idle)),
    );
    let servers = config.upstreams.iter().zip(standings.well());
    let servers = servers.flat_map(|(upstream, well)| {
        upstream.servers.iter().zip(well).map(|(server, is_well)| {
            let labels = vec![("upstream", upstream.name.clone()), ("server", server.to_string())];
            (labels, u64::from(is_well))
        })
    });
    sheet.gauges(
        "sidestream_upstream_server_up",
        "Whether requests are sent to a server: 0 if it fails its health checks, or is left alone since it failed.",
        servers.collect::<Vec<_>>(),
    );
    sheet.counter(
        "sidestream_upstream_errors",
        "Requests that no server answered, so that the client got 502, 503 or 504.",
        totals.upstream_errors,
    );
    sheet.counter(
        "sidestream_upstream_retries",
        "Times that a request was sent to another server or on another connection.",
        totals.upstream_retries,
    );
    sheet.counter(
        "sidestream_upstream_ejections",
        "Times that a server of several was left alone since it had failed.",
        totals.upstream_ejections,
    );
    sheet.counter(
        "sidestream_upstream_held",
        "Requests that waited for an app that was being restarted (retry_for).",
        totals.upstream_held,
    );
    let spooled = [("request", totals.bodies_spooled), ("response", totals.answers_spooled)];
    sheet.counters("sidestream_bodies_spooled", "Bodies that waited in a file.", by("kind", spooled));
}
