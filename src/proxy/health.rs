//! Health checks: each server is asked for a path again and again, once for the whole process, on the control thread.
//!
//! Invariants: a check is a whole request, since a bare connection would hold a synchronous worker; and it takes its turn
//! like any other request, so that a server with `max_connections` never gets one more than that. A server that is
//! too busy for a check is well.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{HOST, HeaderMap, HeaderValue, USER_AGENT};
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::standing::{Standing, Standings};
use crate::config::{self, Health, Origin};
use crate::fetch::{self, FetchError, Place, Question};

/// After so many failures in a row a server is passed over, and after so many successes it is asked again.
const FALL: u32 = 3;
const RISE: u32 = 2;

/// How long a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer to a check, in bytes; it is thrown away.
const MAX_ANSWER: usize = 1 << 20;

const WHO: HeaderValue = HeaderValue::from_static("sidestream-health");

/// The checks of all upstreams, before they run.
#[derive(Debug)]
pub struct HealthChecks {
    checks: Vec<Check>,
    /// Hosts that have a name: upstream, server, host and port.
    named: Vec<(String, String, (String, u16))>,
}

impl HealthChecks {
    /// The checks that the configuration asks for.
    pub fn new(upstreams: &[config::Upstream], standings: &Standings) -> Self {
        let (mut checks, mut named) = (Vec::new(), Vec::new());
        for (upstream, shared) in upstreams.iter().zip(&standings.0) {
            for origin in &upstream.servers {
                named.extend(name(origin).map(|host| (upstream.name.clone(), origin.to_string(), host)));
            }
            let Some(health) = &upstream.health else { continue };
            for (place, standing) in Place::of(upstream).into_iter().zip(&shared.servers) {
                let (upstream, health) = (upstream.name.clone(), health.clone());
                checks.push(Check { upstream, place, health, standing: standing.clone() });
            }
        }
        Self { checks, named }
    }

    /// Does them, within a `LocalSet`, for ever. First it says which names cannot be found.
    pub async fn run(self) {
        let mut work = JoinSet::new();
        for (upstream, server, host) in self.named {
            work.spawn_local(async move {
                if let Err(error) = lookup_host(host).await {
                    tracing::warn!(
                        upstream,
                        server,
                        "the name of the server's host cannot be found yet: {error}"
                    );
                }
            });
        }
        for check in self.checks {
            work.spawn_local(check.run());
        }
        while let Some(ended) = work.join_next().await {
            if ended.is_err() {
                tracing::error!("a health check panicked");
            }
        }
    }
}

/// The host of a server, if it has a name.
fn name(origin: &Origin) -> Option<(String, u16)> {
    match origin {
        Origin::Tcp { host, port } | Origin::Tls { host, port } => {
            host.parse::<IpAddr>().is_err().then(|| (host.clone(), *port))
        }
        Origin::Unix(_) => None,
    }
}

/// The checks of one server.
#[derive(Debug)]
struct Check {
    upstream: String,
    place: Place,
    health: Health,
    standing: Arc<Standing>,
}

/// Why a server is not well.
#[derive(Debug)]
enum Ill {
    Fetch(FetchError),
    Status(StatusCode),
    Slow,
}

impl fmt::Display for Ill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(error) => error.fmt(f),
            Self::Status(status) => write!(f, "it answered {status}"),
            Self::Slow => write!(f, "it took longer than {CHECK_TIMEOUT:?}"),
        }
    }
}

impl Check {
    async fn run(self) {
        let (mut is_down, mut others) = (false, 0);
        loop {
            // Servers are not asked in step, nor by several Sidestreams.
            sleep(self.health.every.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
            let Ok(lease) = timeout(self.health.every, self.standing.clone().wait()).await else { continue };
            let found = timeout(CHECK_TIMEOUT, self.ask()).await.unwrap_or(Err(Ill::Slow));
            drop(lease);
            if found.is_err() == is_down {
                others = 0;
                continue;
            }
            others += 1;
            if others < if is_down { RISE } else { FALL } {
                continue;
            }
            (is_down, others) = (!is_down, 0);
            self.standing.set_down(is_down);
            let (upstream, server) = (&self.upstream, &self.place);
            match found {
                Ok(()) => tracing::info!(upstream, %server, "the server is well again"),
                Err(ill) => tracing::warn!(upstream, %server, "the server is not well: {ill}"),
            }
        }
    }

    async fn ask(&self) -> Result<(), Ill> {
        let mut fields = HeaderMap::new();
        fields.insert(USER_AGENT, WHO);
        if let Some(host) = &self.health.host {
            fields.insert(HOST, host.clone());
        }
        let question = Question { target: &self.health.path, fields, max_body: MAX_ANSWER };
        let answer = fetch::get(&self.place, question).await.map_err(Ill::Fetch)?;
        let is_well = answer.status.is_success() || answer.status.is_redirection();
        is_well.then_some(()).ok_or(Ill::Status(answer.status))
    }
}
