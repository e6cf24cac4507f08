//! docs/metrics.md and docs/grafana.json: what they name is what is exported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use super::{look, site};
use crate::support::PATIENCE;

/// Set to write what is out of date instead of failing.
const UPDATE: &str = "UPDATE_DOCS";

const BEGIN: &str = "see tests/it/admin/document.rs -->\n";
const END: &str = "<!-- end of metrics -->";

/// Labels whose values are lists of the code's.
const LISTED: [&str; 4] = ["kind", "limit", "reason", "status"];

/// A second listener, whose certificate is to come from an authority that is not there.
const ACME: &str = r#"
[[listen]]
address = "127.0.0.1:0"
acme = { domains = ["acme.example"], dir = "acme", email = "ops@acme.example", directory = "https://127.0.0.1:1/dir" }
"#;

/// The fewest there may be, so that nothing that finds none passes.
const FAMILIES: usize = 60;
const PANELS: usize = 25;
const ALERTS: usize = 12;

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// A family of metrics as it is exported.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    /// With their values.
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// All families of a Sidestream that has something of everything.
fn exported() -> BTreeMap<String, Family> {
    let site = site().tls(&[&["shop.example"]]).more(ACME).start();
    let begun = Instant::now();
    // A certificate of an authority is counted from when somebody sees to it, which is a moment after the start.
    let text = loop {
        let text = look(&site, "/metrics").text();
        if text.contains("acme.example") {
            break text;
        }
        assert!(begun.elapsed() < PATIENCE, "{text}");
    };
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            let (name, help) = said.split_once(' ').unwrap();
            last = name.to_owned();
            let before = families.insert(last.clone(), Family { help: help.to_owned(), ..Family::default() });
            assert!(before.is_none(), "{name} is there twice");
        } else if let Some(said) = line.strip_prefix("# TYPE ") {
            let (name, kind) = said.split_once(' ').unwrap();
            assert_eq!(name, last);
            families.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            assert!(line.starts_with(&last), "{line} is not of {last}");
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            for label in labels.split("\",").filter(|label| !label.is_empty()) {
                let (name, value) = label.split_once("=\"").unwrap();
                let family = families.get_mut(&last).unwrap();
                let values = family.labels.entry(name.to_owned()).or_default();
                values.insert(value.trim_end_matches('"').to_owned());
            }
        }
    }
    assert!(families.len() >= FAMILIES, "only {} families", families.len());
    families
}

#[test]
fn the_document_lists_what_is_exported() {
    let mut table = String::from("\n| metric | type | labels | what it is |\n|---|---|---|---|\n");
    for (name, Family { kind, help, labels }) in exported() {
        assert!(help.ends_with('.'), "{name}: {help}");
        let labels = labels.into_iter().filter(|(name, _)| name != "le");
        let labels: Vec<_> = labels.map(|(name, values)| shown(&name, values)).collect();
        table += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join("; "));
    }
    table += "\n";
    let stored = read("metrics.md");
    let (before, rest) = stored.split_once(BEGIN).unwrap();
    let (listed, after) = rest.split_once(END).unwrap();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path("metrics.md"), format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(
        listed == table,
        "docs/metrics.md is out of date: {UPDATE}=1 cargo test --test it admin::document"
    );
}

/// A label, with its values if they are the code's and not the configuration's.
fn shown(name: &str, values: BTreeSet<String>) -> String {
    if !LISTED.contains(&name) {
        return format!("`{name}`");
    }
    let values: Vec<_> = values.into_iter().map(|value| format!("`{value}`")).collect();
    format!("`{name}`: {}", values.join(", "))
}

/// The metrics that a query of PromQL names: words with our prefix, or that of what is told of every process.
fn named(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("sidestream_") || word.starts_with("process_"))
}

fn is_exported(families: &BTreeMap<String, Family>, name: &str) -> bool {
    let of = |suffix| name.strip_suffix(suffix).and_then(|name| families.get(name));
    let is_histogram = |family: &Family| family.kind == "histogram";
    families.get(name).is_some_and(|family| !is_histogram(family))
        || ["_bucket", "_sum", "_count"].into_iter().any(|suffix| of(suffix).is_some_and(is_histogram))
}

#[test]
fn the_dashboard_shows_what_is_exported() {
    let families = exported();
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana.json")).unwrap();
    let mut ids = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        count += 1;
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let names: Vec<_> = named(query).collect();
            assert!(!names.is_empty(), "{query}");
            for name in names {
                assert!(is_exported(&families, name), "{name}, of {query}");
                seen.insert(name.to_owned());
            }
            let is_balanced = |open, close| query.matches(open).count() == query.matches(close).count();
            assert!(is_balanced('(', ')') && is_balanced('{', '}') && is_balanced('[', ']'), "{query}");
        }
    }
    assert!(count >= PANELS && seen.len() >= PANELS, "{count} panels over {} metrics", seen.len());
}

#[test]
fn the_alerts_are_over_what_is_exported() {
    let families = exported();
    let text = read("metrics.md");
    let (_, alerts) = text.split_once("## Alerts worth having").unwrap();
    let rows = alerts.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut count = 0;
    for row in rows.filter(|row| !row.starts_with("| It is down")) {
        let query = row.split('`').nth(1).unwrap();
        assert!(named(query).count() > 0, "{row}");
        count += 1;
    }
    assert!(count >= ALERTS, "only {count} alerts");
    // In text a histogram may go by its name alone, or a group of metrics by its beginning.
    for name in named(&text) {
        assert!(families.contains_key(name) || is_exported(&families, name), "{name}");
    }
}

#[test]
fn a_metric_that_is_not_there_is_not_found() {
    let families = exported();
    for name in
        ["sidestream_streams", "sidestream_deliveries_total", "sidestream_request_duration_seconds_bucket"]
    {
        assert!(is_exported(&families, name), "{name}");
    }
    for name in [
        "sidestream_nothing",
        "sidestream_deliveries",
        "sidestream_request_duration_seconds",
        "sidestream_streams_bucket",
    ] {
        assert!(!is_exported(&families, name), "{name}");
    }
}
