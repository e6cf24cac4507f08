//! Streams, deliveries, publications and the store.

use prometheus_client::metrics::MetricType;

use super::{Labels, Sheet, Value, by};
use crate::admin::View;
use crate::metrics::{Spread, Totals};

pub(super) fn put(sheet: &mut Sheet, view: &View, totals: &Totals) {
    streams(sheet, view, totals);
    deliveries(sheet, view, totals);
    publications(sheet, view, totals);
}

fn streams(sheet: &mut Sheet, view: &View, totals: &Totals) {
    sheet.gauge("sidestream_streams", "Streams open now.", totals.streams);
    let users = view.shown().limits.users();
    let value =
        Value::Spread { sum: users.things as f64, count: users.keys(), buckets: users.buckets().collect() };
    sheet.family(
        MetricType::Histogram,
        ("sidestream_streams_per_user", None),
        "How many streams users have open now, of users for whom there is a limit; a state, of which no rate is to be \
         taken.",
        [(Labels::new(), value)],
    );
    sheet.counter("sidestream_streams_opened", "Streams opened.", totals.streams_opened);
    let closed = [
        ("gone", totals.gone),
        ("backlog_full", totals.evicted - totals.evicted_stalled.min(totals.evicted)),
        ("history_stalled", totals.evicted_stalled),
        ("max_age", totals.ended_by_age),
        ("expired", totals.ended_by_expiry),
        ("revoked", totals.revoked),
        ("disconnected", totals.disconnected),
        ("operator", totals.ended_by_operator),
        ("store_failed", totals.ended_by_store),
        ("drain", totals.drained),
    ];
    sheet.counters(
        "sidestream_streams_closed",
        "Streams closed, by the reason; slow readers are evicted with `backlog_full` and `history_stalled`.",
        by("reason", closed),
    );
    sheet.counter(
        "sidestream_streams_refused",
        "Streams refused: no or wrong credentials, or a channel that is not granted.",
        totals.streams_refused,
    );
    let limited = [
        ("streams", totals.streams_limited),
        ("streams_per_user", totals.streams_limited_user),
        ("streams_per_address", totals.streams_limited_address),
        ("opens_per_second", totals.streams_limited_rate),
        ("opens_per_second_per_address", totals.streams_limited_address_rate),
    ];
    sheet.counters(
        "sidestream_streams_limited",
        "Streams not opened because of a limit, by its key in [limits].",
        by("limit", limited),
    );
    let uncounted = [
        ("connections", totals.connections_uncounted),
        ("requests", totals.requests_uncounted),
        ("streams", totals.streams_uncounted),
    ];
    sheet.counters(
        "sidestream_limits_uncounted",
        "What was let in uncounted, since the table of a limit was full.",
        by("kind", uncounted),
    );
    let mut time = Spread::default();
    view.counters.iter().for_each(|counters| counters.stream_time.add_to(&mut time));
    sheet.times(
        "sidestream_stream_duration",
        "For how long streams were open that are closed.",
        [(Labels::new(), time)],
    );
    sheet.gauge(
        "sidestream_streams_behind",
        "Streams that have something waiting to be written.",
        totals.streams_behind,
    );
    sheet.bytes("sidestream_stream_backlog", "What waits to be written to streams.", totals.backlog_bytes);
    sheet.counter("sidestream_heartbeats_sent", "Heartbeats written.", totals.heartbeats);
    sheet.counter(
        "sidestream_heartbeats_failed",
        "Heartbeats that found out that the client was gone or too slow.",
        totals.heartbeats_failed,
    );
    sheet.counter(
        "sidestream_resumes",
        "Streams that came back with an id and had lost nothing.",
        totals.resumed,
    );
    let expired = totals.resets.saturating_sub(totals.resets_unknown_id + totals.resets_new_epoch);
    let resets = [
        ("unknown-id", totals.resets_unknown_id),
        ("expired", expired),
        ("new-epoch", totals.resets_new_epoch),
    ];
    sheet.counters(
        "sidestream_resets",
        "Streams that were told of a gap, by the reason they were told.",
        by("reason", resets),
    );
    sheet.counter("sidestream_replayed_events", "Events sent from history.", totals.replayed);
}

fn deliveries(sheet: &mut Sheet, view: &View, totals: &Totals) {
    sheet.counter("sidestream_deliveries", "Events handed to streams.", totals.deliveries);
    let mut time = Spread::default();
    view.counters.iter().for_each(|counters| counters.delivery.add_to(&mut time));
    sheet.times(
        "sidestream_delivery_duration",
        "From when an event was published until the last of a worker's streams had been written to, for each event and \
         worker with streams for it.",
        [(Labels::new(), time)],
    );
    sheet.byte_counters(
        "sidestream_stream_sent",
        "Bytes written to streams.",
        [(Labels::new(), totals.stream_bytes)],
    );
}

fn publications(sheet: &mut Sheet, view: &View, totals: &Totals) {
    let hub = view.hub.totals();
    sheet.counter("sidestream_publications", "Publications taken in.", hub.published);
    let refused = hub.refused.into_iter().chain([("rate", totals.publications_limited)]);
    sheet.counters(
        "sidestream_publications_refused",
        "Publications refused though they were well formed; a batch counts as one.",
        by("reason", refused),
    );
    let inboxes = hub.inboxes.iter().enumerate();
    sheet.gauges(
        "sidestream_worker_inbox_events",
        "Events that wait for a worker to deliver them.",
        inboxes.map(|(worker, waiting)| (vec![("worker", worker.to_string())], *waiting as u64)),
    );
    sheet.counter(
        "sidestream_source_events",
        "Publications that sources ([[source]]) have read.",
        totals.source_events,
    );
    sheet.counter(
        "sidestream_source_rejected",
        "What sources have read and what can be no publication.",
        totals.source_rejected,
    );
    sheet.counter(
        "sidestream_source_dropped",
        "What sources were told and had no room for.",
        totals.source_dropped,
    );
    sheet.gauge(
        "sidestream_store_up",
        "Whether the store takes events, and one in Redis is reached.",
        u64::from(view.hub.is_well()),
    );
    sheet.gauge(
        "sidestream_store_orders",
        "Publications that were handed to Redis and have no answer yet; 0 for any other store.",
        hub.ordered as u64,
    );
    sheet.gauge(
        "sidestream_store_queue_events",
        "Events that wait to be written to the disk.",
        hub.queued as u64,
    );
    sheet.gauge(
        "sidestream_store_events",
        "Events in history, counted once for each of their channels.",
        hub.store.events,
    );
    sheet.bytes(
        "sidestream_store",
        "What history takes, with what each event costs besides.",
        hub.store.bytes,
    );
    sheet.gauge("sidestream_store_channels", "Channels with history.", hub.store.channels);
    let keys = view.hub.keys();
    sheet.gauge("sidestream_store_keys", "Idempotency keys remembered.", keys.remembered as u64);
}
