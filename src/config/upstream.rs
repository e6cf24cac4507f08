//! `[upstreams.NAME]`: the apps behind Sidestream.

mod authorities;
mod health;
mod origin;

use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::Fault;
use super::reader::Section;
use super::schema;

pub use authorities::UpstreamTls;
pub use health::Health;
pub use origin::Origin;

pub(super) use authorities::client_of;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Pages and most downloads whole, and so little that a few slow clients do not fill the disk.
const READ_AHEAD: u64 = 64 * 1024 * 1024;
/// Larger than nginx's 1 MiB, which is the first thing everybody raises.
const MAX_BODY: u64 = 10 * 1024 * 1024;

const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// An app that takes longer than a day is a stream, and those do not go through here.
const TIMEOUT_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
/// None, or up to ten minutes: an app that is away for longer is not being restarted.
const RETRY_BOUNDS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(600);
/// More connections than a machine has ports.
const CONNECTIONS_BOUNDS: RangeInclusive<u64> = 0..=1_000_000;
/// The most servers of one upstream.
const MAX_SERVERS: usize = 64;
/// Up to 1 TiB; bodies are streamed, so this is no question of memory.
pub(super) const BODY_BOUNDS: RangeInclusive<u64> = 0..=1 << 40;

/// An app, and how it is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name in the file.
    pub name: String,
    /// Where it listens; at least one.
    pub servers: Vec<Origin>,
    /// What kind of server runs it.
    pub kind: UpstreamKind,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long it may take to the head of a response.
    pub response_timeout: Duration,
    /// How long it may pause within a response, but for an event stream.
    pub read_timeout: Duration,
    /// How much of a response is read ahead of its client, in bytes; 0 is none.
    pub read_ahead: u64,
    /// The largest request body, in bytes.
    pub max_body: u64,
    /// Which of several servers is next.
    pub balance: Balance,
    /// How many requests one server is sent at once, over all workers; 0 is no limit.
    pub max_connections: usize,
    /// How long a request may wait for its turn.
    pub queue_timeout: Duration,
    /// For how long a request waits for an app that is not there; zero is not at all.
    pub retry_for: Duration,
    /// How the servers are asked whether they are well.
    pub health: Option<Health>,
    /// How TLS is spoken to its servers; there is one if a server needs it.
    pub tls: Option<UpstreamTls>,
}

impl Upstream {
    /// Reads an `[upstreams.NAME]`.
    pub(super) fn read(name: &str, section: &Section<'_>) -> Option<Self> {
        let servers =
            section.required("servers", "write servers = [\"http://127.0.0.1:8000\"] or [\"unix:PATH\"]");
        let kinds =
            [("wsgi", UpstreamKind::Wsgi), ("asgi", UpstreamKind::Asgi), ("node", UpstreamKind::Node)];
        let kind = section.value("kind").and_then(|value| value.choice(&kinds, &[])).unwrap_or_default();
        let connect_timeout = section.duration("connect_timeout", CONNECT_TIMEOUT, TIMEOUT_BOUNDS);
        let response_timeout = section.duration("response_timeout", RESPONSE_TIMEOUT, TIMEOUT_BOUNDS);
        let read_timeout = section.duration("read_timeout", READ_TIMEOUT, TIMEOUT_BOUNDS);
        let read_ahead = section.size("read_ahead", READ_AHEAD, BODY_BOUNDS);
        let max_body = section.size("max_body", MAX_BODY, BODY_BOUNDS);

        let rules = [("round-robin", Balance::RoundRobin), ("least-connections", Balance::LeastConnections)];
        let balance =
            section.value("balance").and_then(|value| value.choice(&rules, &[])).unwrap_or_default();
        let max_connections = section.count("max_connections", 0, CONNECTIONS_BOUNDS);
        let queue_timeout = section.duration("queue_timeout", QUEUE_TIMEOUT, TIMEOUT_BOUNDS);
        let retry_for = section.duration("retry_for", Duration::ZERO, RETRY_BOUNDS);
        let health = section.section("health", &schema::HEALTH).and_then(|section| Health::read(&section));
        let ca = section.value("ca");

        let value = servers?;
        let entries = value.list();
        if entries.is_empty() && value.node().is_array() {
            value.fault(Fault::new("is empty").hint("an upstream has at least one server"));
        }
        let mut servers = Vec::new();
        for entry in entries {
            match entry.parse(|text| Origin::parse(text, section.report.base)) {
                Some(origin) if servers.contains(&origin) => entry.fault(Fault::new("is there twice")),
                Some(origin) => servers.push(origin),
                None => {}
            }
        }
        if servers.len() > MAX_SERVERS {
            value.fault(Fault::new(format!("has more than {MAX_SERVERS} entries")));
        }
        let tls = authorities::read(ca, &servers, section.report.base);
        let new = Self::new(name, servers);
        Some(Self {
            kind,
            connect_timeout,
            response_timeout,
            read_timeout,
            read_ahead,
            max_body,
            balance,
            max_connections,
            queue_timeout,
            retry_for,
            health,
            tls,
            ..new
        })
    }

    /// An upstream with the defaults of the file.
    pub fn new(name: impl Into<String>, servers: Vec<Origin>) -> Self {
        Self {
            name: name.into(),
            tls: authorities::public_if_needed(&servers),
            servers,
            kind: UpstreamKind::default(),
            connect_timeout: CONNECT_TIMEOUT,
            response_timeout: RESPONSE_TIMEOUT,
            read_timeout: READ_TIMEOUT,
            read_ahead: READ_AHEAD,
            max_body: MAX_BODY,
            balance: Balance::default(),
            max_connections: 0,
            queue_timeout: QUEUE_TIMEOUT,
            retry_for: Duration::ZERO,
            health: None,
        }
    }
}

/// Which of several servers is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one that has the fewest requests.
    LeastConnections,
}

/// What runs the app; it decides how long an idle connection to it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamKind {
    /// gunicorn, uWSGI and their like.
    #[default]
    Wsgi,
    /// uvicorn, daphne, hypercorn.
    Asgi,
    /// Next.js and other Node servers.
    Node,
}
