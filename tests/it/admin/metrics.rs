//! What `/metrics` says, seen from what happened.

use std::time::Duration;

use super::{TOKEN, ask, look, site};
use crate::support::{App, Sidestream, Site, Subscriber};

/// The value of a row; rows are written as they come.
fn value(text: &str, row: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no {row} in:\n{text}")).parse().unwrap()
}

fn metric(sidestream: &Sidestream, row: &str) -> f64 {
    value(&look(sidestream, "/metrics").text(), row)
}

/// Waits until a row has a value.
fn becomes(sidestream: &Sidestream, row: &str, wanted: f64) {
    sidestream.comes(|| metric(sidestream, row), |value| (value - wanted).abs() < f64::EPSILON);
}

fn before(app: &App) -> Site {
    Site::before(app.origin()).more("[admin]\naddress = \"127.0.0.1:0\"")
}

#[test]
fn requests_are_counted_by_route_upstream_and_status() {
    let app = App::start(|mut client| {
        while let Some(head) = client.try_head() {
            let status = if head.contains("/no") { 404 } else { 200 };
            let _ = client.try_send(format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\nhello"));
        }
    });
    let sidestream = before(&app).start();
    let mut client = sidestream.connect();
    for (target, status) in [("/", 200), ("/no", 404), ("/yes", 200)] {
        assert_eq!(client.get(target, "").response().status, status);
    }
    assert_eq!(client.post("/", "", "[1,2]").response().status, 200);
    // It is counted when its answer has been taken whole, which its client may see first.
    let row =
        |status| format!("sidestream_requests_total{{route=\"/\",upstream=\"app\",status=\"{status}\"}}");
    becomes(&sidestream, &row("2xx"), 3.0);
    let text = look(&sidestream, "/metrics").text();
    assert_eq!(value(&text, &row("4xx")), 1.0);
    assert_eq!(value(&text, &row("5xx")), 0.0);
    let of_app = "{route=\"/\",upstream=\"app\"}";
    assert_eq!(value(&text, &format!("sidestream_response_body_bytes_total{of_app}")), 20.0);
    assert_eq!(value(&text, "sidestream_request_body_bytes_total"), 5.0);
    assert_eq!(value(&text, &format!("sidestream_request_duration_seconds_count{of_app}")), 4.0);
    assert_eq!(value(&text, &format!("sidestream_requests_active{of_app}")), 0.0);
    assert_eq!(value(&text, "sidestream_upstream_first_byte_seconds_count{upstream=\"app\"}"), 4.0);
    let connects = value(&text, "sidestream_upstream_connect_seconds_count{upstream=\"app\"}");
    assert_eq!(connects, f64::from(u32::try_from(app.connections()).unwrap()));
    assert_eq!(value(&text, "sidestream_upstream_idle_connections{upstream=\"app\"}"), 1.0);
    assert_eq!(client.get("/events", "").response().status, 401);
    becomes(&sidestream, "sidestream_requests_total{route=\"/events\",upstream=\"\",status=\"4xx\"}", 1.0);
    becomes(&sidestream, "sidestream_streams_refused_total", 1.0);
}

#[test]
fn one_who_goes_away_before_the_answer_is_counted_as_that() {
    let app = App::start(|mut client| {
        let _ = client.try_head();
        let _ = client.try_head();
    });
    let sidestream = before(&app).start();
    let mut client = sidestream.connect();
    client.get("/", "");
    becomes(&sidestream, "sidestream_requests_active{route=\"/\",upstream=\"app\"}", 1.0);
    drop(client);
    becomes(&sidestream, "sidestream_requests_total{route=\"/\",upstream=\"app\",status=\"aborted\"}", 1.0);
    assert_eq!(metric(&sidestream, "sidestream_requests_active{route=\"/\",upstream=\"app\"}"), 0.0);
}

#[test]
fn an_app_that_is_not_there_is_counted_with_the_reason() {
    let sidestream = site().start();
    assert_eq!(sidestream.connect().get("/", "").response().status, 502);
    becomes(&sidestream, "sidestream_upstream_errors_total", 1.0);
    let failed = "sidestream_upstream_failures_total{upstream=\"app\",reason=\"connect\"}";
    assert_eq!(metric(&sidestream, failed), 1.0);
    assert_eq!(metric(&sidestream, "sidestream_upstream_first_byte_seconds_count{upstream=\"app\"}"), 0.0);
}

#[test]
fn streams_are_counted_from_their_opening_to_their_end() {
    let sidestream = site().start();
    let mut streams: Vec<_> = (0..3).map(|_| Subscriber::of(sidestream.connect(), "7")).collect();
    sidestream.publish(r#"{"user": 7, "data": "hello"}"#);
    for stream in &mut streams {
        assert_eq!(stream.event().data.as_deref(), Some("hello"));
    }
    becomes(&sidestream, "sidestream_deliveries_total", 3.0);
    let text = look(&sidestream, "/metrics").text();
    for (row, expected) in [
        ("sidestream_streams", 3.0),
        ("sidestream_streams_opened_total", 3.0),
        ("sidestream_publications_total", 1.0),
        ("sidestream_delivery_duration_seconds_count", 1.0),
        ("sidestream_streams_per_user_bucket{le=\"2.0\"}", 0.0),
        ("sidestream_streams_per_user_bucket{le=\"3.0\"}", 1.0),
        ("sidestream_streams_per_user_sum", 3.0),
        ("sidestream_streams_behind", 0.0),
        ("sidestream_stream_backlog_bytes", 0.0),
        ("sidestream_store_events", 1.0),
        ("sidestream_requests_total{route=\"/events\",upstream=\"\",status=\"2xx\"}", 3.0),
        ("sidestream_requests_active{route=\"/events\",upstream=\"\"}", 0.0),
    ] {
        assert_eq!(value(&text, row), expected, "{row}");
    }
    assert!(value(&text, "sidestream_stream_sent_bytes_total") > 100.0);
    drop(streams);
    becomes(&sidestream, "sidestream_streams", 0.0);
    assert_eq!(metric(&sidestream, "sidestream_streams_closed_total{reason=\"gone\"}"), 3.0);
    assert_eq!(metric(&sidestream, "sidestream_stream_duration_seconds_count"), 3.0);
    assert_eq!(metric(&sidestream, "sidestream_streams_per_user_count"), 0.0);
}

#[test]
fn what_a_slow_reader_leaves_is_counted_until_it_is_evicted() {
    let sidestream = site().start();
    let silent = Subscriber::of(sidestream.connect(), "8");
    let large = "x".repeat(200_000);
    let event = format!(r#"{{"user": 8, "data": "{large}"}}"#);
    sidestream.comes(
        || {
            sidestream.publish(&event);
            metric(&sidestream, "sidestream_streams_closed_total{reason=\"backlog_full\"}")
        },
        |evicted| *evicted > 0.0,
    );
    let text = look(&sidestream, "/metrics").text();
    assert_eq!(value(&text, "sidestream_streams_behind"), 0.0);
    assert_eq!(value(&text, "sidestream_stream_backlog_bytes"), 0.0);
    drop(silent);
}

#[test]
fn certificates_say_when_they_expire() {
    let sidestream = site().tls(&[&["shop.example"], &["other.example"]]).start();
    let text = look(&sidestream, "/metrics").text();
    let address = sidestream.address();
    for host in ["shop.example", "other.example"] {
        let row = format!(
            "sidestream_certificate_expiry_timestamp_seconds{{listener=\"{address}\",host=\"{host}\"}}"
        );
        assert!(value(&text, &row) > 1e9, "{row}");
    }
    assert_eq!(value(&text, "sidestream_tls_handshakes_total"), 0.0);
}

#[test]
fn the_form_is_the_one_that_is_asked_for() {
    let sidestream = site().start();
    let mut client = sidestream.admin();
    let open =
        ask(&mut client, "GET", "/metrics", "Host: localhost\r\nAccept: application/openmetrics-text\r\n");
    assert!(open.field("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(
        open.text().ends_with("# EOF\n") && open.text().contains("# TYPE sidestream_deliveries counter\n")
    );
    let plain = ask(&mut client, "GET", "/metrics", "Host: localhost\r\n");
    assert_eq!(plain.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(
        !plain.text().contains("# EOF")
            && plain.text().contains("# TYPE sidestream_deliveries_total counter\n")
    );
}

#[test]
fn no_secret_user_or_path_of_a_client_is_among_it() {
    let app = App::that_echoes();
    let sidestream = before(&app).start();
    let mut stream = Subscriber::of(sidestream.connect(), "somebody-secret");
    sidestream.publish(r#"{"user": "somebody-secret", "data": 1}"#);
    stream.event();
    sidestream.connect().get("/a-path-of-a-client?x=1", "").response();
    let text = look(&sidestream, "/metrics").text();
    for word in ["somebody", "a-path", TOKEN, "user:"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn it_answers_while_all_workers_are_busy() {
    let app = App::that_says(format!("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "x".repeat(9)));
    let sidestream = before(&app).start();
    let address = sidestream.address().to_owned();
    let load: Vec<_> = (0..8)
        .map(|_| {
            let mut client = crate::support::Client::connect(&address);
            std::thread::spawn(move || {
                (0..300).for_each(|_| assert_eq!(client.get("/", "").response().status, 200));
            })
        })
        .collect();
    let begun = std::time::Instant::now();
    while load.iter().any(|thread| !thread.is_finished()) {
        assert_eq!(look(&sidestream, "/metrics").status, 200);
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    load.into_iter().for_each(|thread| thread.join().unwrap());
    becomes(&sidestream, "sidestream_requests_total{route=\"/\",upstream=\"app\",status=\"2xx\"}", 2400.0);
}
