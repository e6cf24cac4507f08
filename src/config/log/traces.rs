//! `traces`: where spans are sent, and of how many requests.

use std::path::Path;

use http::Uri;
use toml::de::DeValue;

use crate::config::Origin;
use crate::config::problem::{Fault, Problem};
use crate::config::reader::{Section, Value};

/// Of a hundred requests one is recorded, unless the file says otherwise.
const SHARE: f64 = 0.01;

/// Where a collector takes spans over HTTP, unless the file says otherwise.
const TARGET: &str = "/v1/traces";

/// Where spans are sent, and of how many requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// Where the collector listens.
    pub origin: Origin,
    /// The path it takes them at.
    pub target: Uri,
    /// The share of requests that is recorded, from 0 to 1.
    pub share: f64,
}

impl Traces {
    pub(super) fn read(section: &Section<'_>, base: &Path) -> Option<Self> {
        let collector = section.value("traces");
        let share = section.value("trace_share");
        if collector.is_none() && share.is_some() {
            section.report.add(
                Problem::new("`trace_share` is of traces, and nothing says where they are sent")
                    .at(section.key_span("trace_share"))
                    .hint("add traces = \"http://127.0.0.1:4318\""),
            );
        }
        let share = share.map_or(Some(SHARE), |value| fraction(&value));
        let (origin, target) = collector?.parse(|text| address(text, base))?;
        Some(Self { origin, target, share: share? })
    }
}

/// Reads where a collector listens, and its path if that is not the usual one.
fn address(text: &str, base: &Path) -> Result<(Origin, Uri), Fault> {
    let start = text.find("://").map_or(text.len(), |at| at + 3);
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    let (server, path) = text.split_at(end);
    if server.contains('@') {
        return Err(Fault::new("holds a user, and collectors are told none"));
    }
    let origin = Origin::parse(server, base)?;
    let path = if matches!(path, "" | "/") { TARGET } else { path };
    match path.parse() {
        Ok(target) if !path.contains(['?', '#']) => Ok((origin, target)),
        _ => Err(Fault::new("may have a path, and nothing behind it").hint(format!("write \"{server}\""))),
    }
}

/// Reads a number from 0 to 1.
fn fraction(value: &Value<'_>) -> Option<f64> {
    let text = match value.node() {
        DeValue::Float(number) => number.as_str(),
        DeValue::Integer(number) => number.as_str(),
        _ => {
            value.wrong_type("a number from 0 to 1");
            return None;
        }
    };
    let share = text.replace('_', "").parse().ok().filter(|share| (0.0..=1.0).contains(share));
    if share.is_none() {
        value
            .fault(Fault::new("is not from 0 to 1").hint("0.01 is one request of a hundred, 1 is every one"));
    }
    share
}
