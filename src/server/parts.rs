//! What the workers share of a configuration, made of it and of what was there before.
//!
//! Invariant: what can fail is made first ([`Made`] and what stands beside it), and only then is anything changed that
//! requests under the old configuration see.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::task::{AbortHandle, spawn_local};

use crate::access_log::{Rotation, Sink, Syslog};
use crate::acme::{Challenges, Renewals};
use crate::admin::Shown;
use crate::auth::{Authenticator, Background, Tickets};
use crate::config::{self, Action, Auth, Config, SocketPlace};
use crate::handover::{Heir, Inheritance};
use crate::limits::{AddressLimit, Limits};
use crate::proxy::{HealthChecks, Spools, Standings};
use crate::publish::{PublishSocket, Publisher};
use crate::router::Fronts;
use crate::systemd::Passed;
use crate::trace::{Exporter, Tracer};
use crate::worker::Parts;

use super::certificates::Keeper;
use super::listeners::Listeners;
use super::{BindError, descriptors};

/// What of a configuration cannot be made if the system has no random bytes.
pub(super) struct Made {
    pub(super) tickets: Arc<Tickets>,
    pub(super) fronts: Fronts,
}

impl Made {
    /// Makes it; what did not change is that of the parts in force.
    pub(super) fn of(config: &Config, before: &Parts) -> Result<Self, BindError> {
        let fronts = Fronts::new(config, Some((&before.config, &before.fronts)));
        Ok(Self { tickets: tickets(config, Some(before))?, fronts: fronts.map_err(|_| BindError::Random)? })
    }
}

/// Opens where the access log goes. A file of it is opened anew whenever `rotation` is asked for that.
pub(super) fn sink(access: &config::AccessLog, rotation: &Rotation) -> Result<Option<Sink>, BindError> {
    Ok(match access {
        config::AccessLog::Off => None,
        config::AccessLog::Stdout => Some(Sink::Stdout),
        config::AccessLog::Syslog(path) => Some(Sink::Syslog(Syslog::new(path))),
        config::AccessLog::File(path) => {
            let sink = Sink::file(path, rotation);
            Some(sink.map_err(|cause| BindError::AccessLog { path: path.clone(), cause })?)
        }
    })
}

/// Opens the publish socket.
pub(super) fn publish_socket(
    publish: &config::Publish,
    inherited: &Inheritance,
) -> Result<Option<PublishSocket>, BindError> {
    let allow_uids = publish.allow_uids.clone();
    match &publish.socket {
        None => Ok(None),
        Some(SocketPlace::Path(path)) => {
            let socket = match inherited.take(Heir::Publish, &path.to_string_lossy()).pop() {
                Some(Passed::Unix(listener)) => {
                    PublishSocket::handed(listener, path, publish.mode, allow_uids)
                }
                _ => PublishSocket::bind(path, publish.mode, allow_uids),
            };
            let socket = socket.map_err(BindError::PublishSocket)?;
            Ok(Some(socket.claimed_by(inherited.claim())))
        }
        Some(SocketPlace::Inherited(name)) => {
            let not_unix =
                || io::Error::new(io::ErrorKind::InvalidInput, "it is a TCP socket; it has to be a Unix one");
            let listener =
                inherited.sockets().named(name).and_then(Passed::try_clone).and_then(|socket| match socket {
                    Passed::Unix(listener) => Ok(listener),
                    Passed::Tcp(_) => Err(not_unix()),
                });
            let socket = listener.and_then(|listener| PublishSocket::inherited(listener, allow_uids));
            socket.map(Some).map_err(|cause| BindError::PublishInherited { name: name.clone(), cause })
        }
    }
}

/// What seals tickets: what did so before, as long as nobody says otherwise.
pub(super) fn tickets(config: &Config, before: Option<&Parts>) -> Result<Arc<Tickets>, BindError> {
    let known = before.filter(|before| before.config.server.secret == config.server.secret);
    if let Some(known) = known {
        return Ok(known.auth.tickets().clone());
    }
    let tickets = match &config.server.secret {
        Some(secret) => Tickets::new(secret.expose().as_bytes()),
        None => Tickets::random().map_err(|_| BindError::Random)?,
    };
    Ok(Arc::new(tickets))
}

/// The most connections.
pub(super) fn max_connections(config: &Config) -> usize {
    config.server.max_connections.unwrap_or_else(descriptors::default_connections)
}

/// The query parameters that carry credentials. Those that did `before` are among them: streams that are open have them
/// in their targets.
pub(super) fn secret_parameters(config: &Config, before: &[String]) -> Vec<String> {
    let mut parameters = before.to_vec();
    for parameter in config.auth.iter().filter_map(Auth::query) {
        if !parameters.iter().any(|known| known == parameter) {
            parameters.push(parameter.to_owned());
        }
    }
    parameters
}

/// The parts of the first configuration, and what its providers need done.
pub(super) fn first(
    config: Arc<Config>,
    made: Made,
    publisher: &Publisher,
    challenges: Challenges,
    alive: Arc<AtomicUsize>,
    tracer: Option<Tracer>,
) -> (Parts, Background) {
    let Made { tickets, fronts } = made;
    let (auth, background) = Authenticator::new(&config.auth, &config.upstreams, tickets, None);
    warn_of_missing_roots(&config);
    let parts = Parts {
        number: 1,
        auth: Arc::new(auth),
        stream_limits: Limits::new(&config.limits),
        addresses: config.limits.connections_per_address.map(AddressLimit::new),
        standings: Standings::new(&config.upstreams),
        spools: spools(&config.server),
        challenges,
        publisher: publisher.with_rates(&config.routes, &[]),
        fronts,
        tracer,
        alive,
        config,
    };
    (parts, background)
}

/// The parts of another configuration. What did not change is taken over, and what counts goes on counting.
pub(super) fn next(
    config: Arc<Config>,
    made: Made,
    tracer: Option<Tracer>,
    before: &Parts,
) -> (Parts, Background) {
    let Made { tickets, fronts } = made;
    let old = &before.config;
    let auth = Authenticator::new(&config.auth, &config.upstreams, tickets, Some(&before.auth));
    let (auth, background) = auth;
    warn_of_missing_roots(&config);
    let most = config.limits.connections_per_address;
    let addresses = most.map(|most| match &before.addresses {
        Some(limit) => limit.become_one_of(most),
        None => AddressLimit::new(most),
    });
    let is_same =
        |of: fn(&config::Server) -> (&std::path::Path, usize, usize)| of(&config.server) == of(&old.server);
    let parts = Parts {
        number: before.number + 1,
        auth: Arc::new(auth),
        stream_limits: before.stream_limits.become_those(&config.limits),
        addresses,
        standings: before.standings.become_those(&old.upstreams, &config.upstreams),
        spools: match is_same(|server| (&server.temp_dir, server.spool_memory, server.spool_disk)) {
            true => before.spools.clone(),
            false => spools(&config.server),
        },
        challenges: before.challenges.clone(),
        publisher: before.publisher.with_rates(&config.routes, &old.routes),
        fronts,
        tracer,
        alive: before.alive.clone(),
        config,
    };
    (parts, background)
}

/// What a configuration needs done on the control thread, over and over.
#[derive(Debug)]
pub(super) struct Chores {
    renewals: Renewals,
    exporter: Exporter,
    checks: HealthChecks,
    others: Vec<AbortHandle>,
}

impl Chores {
    /// Nothing yet.
    pub(super) fn new(renewals: Renewals) -> Self {
        let (exporter, checks) = (Exporter::default(), HealthChecks::default());
        Self { renewals, exporter, checks, others: Vec::new() }
    }

    /// Has spans sent where a configuration says. Gives what decides of which requests.
    pub(super) fn trace(&mut self, config: &Config) -> Option<Tracer> {
        self.exporter.become_those(config.log.traces.as_ref()).unwrap_or_else(|error| {
            tracing::error!(%error, "the thread that sends traces cannot be started: there are none");
            None
        })
    }

    /// What is left to be sent when all is over.
    pub(super) fn into_exporter(self) -> Exporter {
        self.exporter
    }

    /// Does what a configuration needs from now on. Runs within a `LocalSet`.
    pub(super) fn become_those(&mut self, parts: &Parts, keeper: Keeper) {
        self.renewals.become_those(&parts.config);
        self.checks.become_those(&parts.config.upstreams, &parts.standings);
        self.others.drain(..).for_each(|task| task.abort());
        self.others.push(spawn_local(keeper.run()).abort_handle());
        self.others.push(spawn_local(parts.fronts.clone().watch()).abort_handle());
    }
}

/// What the operator is shown of a configuration that is in force.
pub(super) fn shown(parts: &Parts, listeners: &Listeners, chores: &Chores) -> Shown {
    Shown {
        number: parts.number,
        config: parts.config.clone(),
        limits: parts.stream_limits.clone(),
        standings: parts.standings.clone(),
        tls: listeners.tls(),
        certificates: chores.renewals.figures(),
        traces: chores.exporter.figures(),
    }
}

/// Where bodies wait. A folder that is of no use is told at once, and not when the first large body comes.
fn spools(server: &config::Server) -> Arc<Spools> {
    let spools = Spools::new(server.temp_dir.clone(), server.spool_memory, server.spool_disk);
    if let Err(error) = spools.check() {
        let temp_dir = server.temp_dir.display();
        tracing::warn!(%temp_dir, %error, "no file can be made in temp_dir: large bodies for wsgi apps will be refused");
    }
    spools
}

/// Says which folders are not there. They may be made later, and a site need not wait for them.
fn warn_of_missing_roots(config: &Config) {
    for route in &config.routes {
        if let Action::Files(files) = &route.action
            && !files.root.is_dir()
        {
            let (path, root) = (&route.path, files.root.display());
            tracing::warn!(path, %root, "the folder of a files route is not there; until it is, nothing is found in it");
        }
    }
}
