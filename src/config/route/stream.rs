//! `[route.stream]`: where subscribers connect, what they get, and what the route itself says.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

const RETRY: Duration = Duration::from_secs(5);
const MAX_AGE: Duration = Duration::from_secs(3600);
const BACKLOG: usize = 64 * 1024;
/// Below the minute after which most proxies and load balancers cut a silent connection.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// A subscriber's stream.
#[derive(Debug, Clone)]
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
    /// Whether events since `Last-Event-ID` are sent again.
    pub replay: bool,
    /// What a subscriber is told whose id history does not reach.
    pub on_gap: OnGap,
    /// The `retry:` field.
    pub retry: Duration,
    /// How long a stream lasts at most; none is no limit.
    pub max_age: Option<Duration>,
    /// How a subscriber without a good credential is refused.
    pub unauthorized: Unauthorized,
    /// The most bytes that wait for a slow reader before it is evicted.
    pub backlog: usize,
    /// Response headers that are set.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl StreamRoute {
    /// A route with the defaults of the file.
    pub(in crate::config) fn new(auth: Vec<usize>) -> Self {
        let channels: &[&str] = if auth.is_empty() { &["all"] } else { &["user:{user}", "all"] };
        Self {
            auth,
            channels: channels.iter().map(ToString::to_string).collect(),
            allow: Vec::new(),
            hello: None,
            heartbeat: Some(Heartbeat::default()),
            replay: true,
            on_gap: OnGap::Reset,
            retry: RETRY,
            max_age: Some(MAX_AGE),
            unauthorized: Unauthorized::Status,
            backlog: BACKLOG,
            headers: Vec::new(),
        }
    }
}

/// An event that the route itself sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The `event:` field; none is the client's default, `message`. No control characters.
    pub event: Option<String>,
    /// The data, as it is; no NUL.
    pub data: String,
}

/// What a quiet stream says, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The time between two of them.
    pub every: Duration,
    /// What is said.
    pub form: HeartbeatForm,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { every: HEARTBEAT, form: HeartbeatForm::Comment(String::new()) }
    }
}

/// What a heartbeat is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeartbeatForm {
    /// A comment line of this text (without line breaks), which a client ignores.
    Comment(String),
    /// An event that a client sees.
    Event {
        /// What it says.
        said: Said,
        /// Whether it repeats the subscriber's own cursor as its id.
        id: bool,
    },
}

/// What a subscriber is told whose id history does not reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnGap {
    /// `event: reset`, with the reason.
    Reset,
    /// Nothing: the stream goes on with live events.
    Ignore,
    /// An event of the operator's own.
    Event(Said),
}

/// How a subscriber without a good credential is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unauthorized {
    /// By status, 401.
    Status,
    /// By an event on a stream that ends at once, for clients that cannot see a status.
    Event,
}
