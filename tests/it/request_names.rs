//! What a request is called on its way: `X-Request-ID`, ours or a trusted proxy's, and `traceparent`, which is not ours.

use std::collections::BTreeSet;

use crate::support::settings::Settings;
use crate::support::{App, Sidestream};

fn trusting(app: &App) -> Sidestream {
    Settings { server: "trusted_proxies = [\"127.0.0.1\"]", ..Settings::default() }.before(app)
}

/// What the app was sent of a field.
fn sent(site: &Sidestream, fields: &str, name: &str) -> Vec<String> {
    let echoed = site.connect().get("/", fields).response().text();
    let values = echoed.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    values.map(str::to_owned).collect()
}

fn is_ours(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
fn a_request_has_one_name_of_ours() {
    let app = App::that_echoes();
    let site = Settings::default().before(&app);
    let mut names = BTreeSet::new();
    for fields in ["", "X-Request-ID: mine\r\n", "X-Request-ID: a\r\nX-Request-ID: b\r\n"] {
        let ids = sent(&site, fields, "x-request-id");
        assert!(ids.len() == 1 && is_ours(&ids[0]), "{ids:?}");
        assert!(names.insert(ids[0].clone()), "twice the same: {ids:?}");
    }
}

#[test]
fn a_trusted_proxys_name_is_kept_if_it_is_one() {
    let app = App::that_echoes();
    let site = trusting(&app);
    let longest = "x".repeat(128);
    for name in ["a", "7f3c9e1a-52d0-4b8f-9a41-0c6de8a1b2c3", "Root.1_2-3", &longest] {
        assert_eq!(sent(&site, &format!("X-Request-ID: {name}\r\n"), "x-request-id"), [name]);
    }
    let too_long = "x".repeat(129);
    for name in ["", "a b", "a,b", "a\"b", "<script>", "a/b", "a;b", "\u{e9}", &too_long] {
        let ids = sent(&site, &format!("X-Request-ID: {name}\r\n"), "x-request-id");
        assert!(ids.len() == 1 && is_ours(&ids[0]), "{name:?}: {ids:?}");
    }
}

#[test]
fn a_trace_passes_as_it_is() {
    let app = App::that_echoes();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
    let fields = format!("Traceparent: {parent}\r\nTracestate: {state}\r\nBaggage: k=v\r\n");
    for site in [Settings::default().before(&app), trusting(&app)] {
        assert_eq!(sent(&site, &fields, "traceparent"), [parent]);
        assert_eq!(sent(&site, &fields, "tracestate"), [state]);
        assert_eq!(sent(&site, &fields, "baggage"), ["k=v"]);
        assert!(sent(&site, "", "traceparent").is_empty(), "none is made up");
    }
}
