//! `health` of an upstream: how its servers are asked whether they are well.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderValue;
use http::uri::{Authority, PathAndQuery};

use crate::config::problem::Fault;
use crate::config::reader::Section;

const EVERY: Duration = Duration::from_secs(5);
/// Less often than once an hour says nothing.
const EVERY_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// A question that each server is asked again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// The path, and the query if there is one.
    pub path: String,
    /// How often it is asked for.
    pub every: Duration,
    /// The Host that is asked for, if it is not the server's own.
    pub host: Option<HeaderValue>,
}

impl Health {
    /// Reads the table.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let path = section.required("path", "write health = { path = \"/healthz\" }");
        let every = section.duration("every", EVERY, EVERY_BOUNDS);
        let host = section.value("host").and_then(|value| value.parse(host));
        let path = path?.parse(|text| {
            let is_path = text.starts_with('/') && text.parse::<PathAndQuery>().is_ok();
            is_path
                .then(|| text.to_owned())
                .ok_or_else(|| Fault::new("is not a path").hint("write \"/healthz\""))
        })?;
        Some(Self { path, every, host })
    }
}

fn host(text: &str) -> Result<HeaderValue, Fault> {
    let wrong = || Fault::new("is not a host").hint("write \"shop.example\"");
    let authority: Authority = text.parse().map_err(|_| wrong())?;
    if authority.as_str().contains('@') {
        return Err(wrong());
    }
    HeaderValue::from_str(text).map_err(|_| wrong())
}
