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
use tokio::task::{AbortHandle, spawn_local};
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

/// The checks of all upstreams. They run within a `LocalSet` until this is dropped.
#[derive(Debug, Default)]
pub struct HealthChecks {
    running: Vec<Running>,
    /// Hosts that have a name, and have been looked for.
    named: Vec<(String, u16)>,
}

/// The checks of one server, while they run.
#[derive(Debug)]
struct Running {
    upstream: config::Upstream,
    standing: Arc<Standing>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HealthChecks {
    /// Makes them those that a configuration asks for: what did not change goes on. Says which names cannot be found.
    pub fn become_those(&mut self, upstreams: &[config::Upstream], standings: &Standings) {
        let mut before = std::mem::take(&mut self.running);
        let known = std::mem::take(&mut self.named);
        for (upstream, shared) in upstreams.iter().zip(&standings.0) {
            for origin in &upstream.servers {
                let Some(host) = name(origin) else { continue };
                if !known.contains(&host) {
                    spawn_local(look_for(upstream.name.clone(), origin.to_string(), host.clone()));
                }
                self.named.push(host);
            }
            let Some(health) = &upstream.health else { continue };
            for (place, standing) in Place::of(upstream).into_iter().zip(&shared.servers) {
                let is_same = |running: &Running| {
                    running.upstream == *upstream && Arc::ptr_eq(&running.standing, standing)
                };
                let running = match before.iter().position(is_same) {
                    Some(place) => before.swap_remove(place),
                    None => {
                        let (name, health) = (upstream.name.clone(), health.clone());
                        let check = Check { upstream: name, place, health, standing: standing.clone() };
                        let task = spawn_local(check.run()).abort_handle();
                        Running { upstream: upstream.clone(), standing: standing.clone(), task }
                    }
                };
                self.running.push(running);
            }
        }
    }
}

/// Says it if the name of a server's host cannot be found.
async fn look_for(upstream: String, server: String, host: (String, u16)) {
    if let Err(error) = lookup_host(host).await {
        tracing::warn!(upstream, server, "the name of the server's host cannot be found yet: {error}");
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
        let (mut is_down, mut others) = (self.standing.is_down(), 0);
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
