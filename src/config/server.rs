//! `[server]`: what holds for the whole process.

use std::net::IpAddr;
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use ipnet::IpNet;

/// Long enough for ordinary requests, short enough for an orchestrator's own deadline (Kubernetes waits 30 s too).
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// The process.
#[derive(Debug, Clone)]
pub struct Server {
    /// Worker threads, at least one. `workers = 0` in the file has become one per core.
    pub workers: usize,
    /// How long a graceful stop may take, streams included.
    pub shutdown_timeout: Duration,
    /// The most client connections at once. Without it, what the limit of file descriptors allows.
    pub max_connections: Option<usize>,
    /// The peers whose forwarding headers are believed.
    pub trusted_proxies: TrustedProxies,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            workers: cores(),
            shutdown_timeout: SHUTDOWN_TIMEOUT,
            max_connections: None,
            trusted_proxies: TrustedProxies::default(),
        }
    }
}

/// The peers whose `X-Forwarded-*` and `Forwarded` headers are kept; everybody else's are replaced.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    /// Networks of trusted peers.
    pub networks: Vec<IpNet>,
    /// Whether peers on a Unix socket are trusted.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether a TCP peer is trusted. An IPv4 peer seen through an IPv6 socket counts as the IPv4 address it is.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }
}

/// One worker per core that this process may run on.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
