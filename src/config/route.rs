//! `[[route]]`: a path, and the one thing that happens there.

mod publish;
mod stream;

pub use publish::{PublishCheck, PublishRoute};
pub use stream::{Heartbeat, HeartbeatForm, OnGap, Said, StreamRoute, Unauthorized};

/// One row of the routing table.
#[derive(Debug, Clone)]
pub struct Route {
    /// The path, from `/` on, as it stands in a request target before any `?`.
    pub path: String,
    /// The hosts it is for, in lower case; empty is any.
    pub hosts: Vec<String>,
    /// What happens there.
    pub action: Action,
}

impl Route {
    /// Whether the path is a prefix: a `proxy` route whose path ends in `/`. Every other path is exact.
    pub fn is_prefix(&self) -> bool {
        matches!(self.action, Action::Proxy(_)) && self.path.ends_with('/')
    }
}

/// What a route does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Forwards to an upstream.
    Proxy(ProxyRoute),
    /// Is a subscriber's stream.
    Stream(Box<StreamRoute>),
    /// Takes publications from outside.
    Publish(PublishRoute),
}

/// Forwards to an upstream.
#[derive(Debug, Clone)]
pub struct ProxyRoute {
    /// The index into [`Config::upstreams`](super::Config::upstreams).
    pub upstream: usize,
    /// The largest request body, in bytes: the route's own bound, or else its upstream's.
    pub max_body: u64,
}
