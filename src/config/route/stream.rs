//! `[route.stream]`: where subscribers connect, what they get, and what the route itself says.

use std::num::NonZero;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::pattern::patterns;
use super::{Heartbeat, Names, OnGap, Replay, Said, named};
use crate::config::limits;
use crate::config::problem::{Fault, Problem, quote};
use crate::config::reader::{Section, Value};

const RETRY: Duration = Duration::from_secs(5);
const MAX_AGE: Duration = Duration::from_secs(3600);
const BACKLOG: usize = 64 * 1024;
/// The largest backlog. It is held for every slow reader.
const BACKLOG_BOUNDS: RangeInclusive<u64> = 1 << 10..=16 << 20;
const RETRY_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
/// A year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Headers that frame the response or say what a stream is.
const OWN_HEADERS: [HeaderName; 9] = [
    http::header::CONTENT_ENCODING,
    http::header::CONTENT_LENGTH,
    http::header::CONTENT_TYPE,
    http::header::DATE,
    http::header::TE,
    http::header::TRAILER,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// A subscriber's stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamRoute {
    /// Indexes into [`Config::auth`](crate::config::Config::auth), in the order they are tried; empty is anonymous.
    pub auth: Vec<usize>,
    /// Patterns of the channels that every subscriber gets; may hold `{user}` and `{claim}`.
    pub channels: Vec<String>,
    /// What `?channels=` may ask for: names, or prefixes that end in `*`; may hold `{user}` and `{claim}`.
    pub allow: Vec<String>,
    /// The event a stream opens with.
    pub hello: Option<Said>,
    /// What a quiet stream says; none is nothing.
    pub heartbeat: Option<Heartbeat>,
    /// What a subscriber gets of what it missed.
    pub replay: Replay,
    /// What a subscriber is told whose id history does not reach.
    pub on_gap: OnGap,
    /// The `retry:` field.
    pub retry: Duration,
    /// How long a stream lasts at most; none is no limit.
    pub max_age: Option<Duration>,
    /// How a subscriber without a good credential is refused.
    pub unauthorized: Unauthorized,
    /// The most streams of one user on this route, counted by themselves, and none of them is no limit. Without it,
    /// the limit of all routes.
    pub max_per_user: Option<Option<NonZero<u32>>>,
    /// The most bytes that wait for a slow reader before it is evicted.
    pub backlog: usize,
    /// Response headers that are set. `Connection` among them is `keep-alive`, and for HTTP/1.1 only.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl StreamRoute {
    /// Reads a `[route.stream]`.
    pub(super) fn read(section: &Section<'_>, names: &Names<'_>) -> Option<Self> {
        let auth = section.required("auth", "name providers, or write auth = [] to let anybody in");
        let anonymous = section.is_empty_list("auth");
        let route = Self::new(auth.map_or_else(Vec::new, |value| providers(&value, names)));
        let list = |key, wildcards| section.value(key).map(|value| patterns(&value, wildcards, anonymous));
        let channels = list("channels", false).unwrap_or(route.channels);
        let allow = list("allow", true).unwrap_or(route.allow);
        if section.is_empty_list("channels") && allow.is_empty() {
            let problem = Problem::new("a stream without channels never says anything");
            let problem = problem.at(section.value_span("channels"));
            section.report.add(problem.hint("name some here or under `allow`"));
        }
        let modes = [("status", Unauthorized::Status), ("event", Unauthorized::Event)];
        Some(Self {
            replay: Replay::read(section, &channels),
            channels,
            allow,
            hello: section.value("hello").and_then(|value| Said::hello(&value)),
            heartbeat: match section.value("heartbeat") {
                Some(value) => Heartbeat::read(&value),
                None => route.heartbeat,
            },
            on_gap: section.value("on_gap").and_then(|value| OnGap::read(&value)).unwrap_or(route.on_gap),
            retry: section.duration("retry", RETRY, RETRY_BOUNDS),
            max_age: Some(section.duration("max_age", MAX_AGE, Duration::ZERO..=LONGEST))
                .filter(|age| !age.is_zero()),
            unauthorized: section
                .value("unauthorized")
                .and_then(|value| value.choice(&modes, &[]))
                .unwrap_or(route.unauthorized),
            max_per_user: section.value("max_per_user").and_then(|value| limits::streams(&value)),
            backlog: section.room("backlog", BACKLOG, BACKLOG_BOUNDS),
            headers: section.value("headers").map_or_else(Vec::new, |value| headers(&value)),
            auth: route.auth,
        })
    }

    /// A route with the defaults of the file.
    pub(crate) fn new(auth: Vec<usize>) -> Self {
        let channels: &[&str] = if auth.is_empty() { &["all"] } else { &["user:{user}", "all"] };
        Self {
            auth,
            channels: channels.iter().map(ToString::to_string).collect(),
            allow: Vec::new(),
            hello: None,
            heartbeat: Some(Heartbeat::default()),
            replay: Replay::Since,
            on_gap: OnGap::Reset,
            retry: RETRY,
            max_age: Some(MAX_AGE),
            unauthorized: Unauthorized::Status,
            max_per_user: None,
            backlog: BACKLOG,
            headers: Vec::new(),
        }
    }
}

/// How a subscriber without a good credential is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unauthorized {
    /// By status, 401.
    Status,
    /// By an event on a stream that ends at once, for clients that cannot see a status.
    Event,
}

/// Reads the providers of a route.
pub(super) fn providers(value: &Value<'_>, names: &Names<'_>) -> Vec<usize> {
    let mut providers = Vec::new();
    for entry in value.list() {
        match named(&entry, "auth", names.auth.as_ref()) {
            Some(index) if providers.contains(&index) => entry.fault(Fault::new("is there twice")),
            Some(index) => providers.push(index),
            None => {}
        }
    }
    providers
}

/// Reads the response headers that a route sets.
fn headers(value: &Value<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, value) in value.entries() {
        let Ok(header) = HeaderName::from_bytes(name.get_ref().as_bytes()) else {
            let problem = Problem::new(format!("{} is not the name of a header", quote(name.get_ref())));
            value.report(problem.at(name.span()));
            continue;
        };
        if OWN_HEADERS.contains(&header) {
            let problem = Problem::new(format!("`{header}` is a header that Sidestream sets itself"));
            value.report(problem.at(name.span()));
            continue;
        }
        let content = value.parse(|text| {
            if header == http::header::CONNECTION && text != "keep-alive" {
                return Err(
                    Fault::new("is for Sidestream to decide").hint("only \"keep-alive\" can be said here")
                );
            }
            HeaderValue::from_str(text)
                .map_err(|_| Fault::new("holds what a header cannot: visible ASCII only"))
        });
        headers.extend(content.map(|content| (header, content)));
    }
    headers
}
