//! The servers of one app, as a worker knows them: a connection to one of them, whatever it takes to get it.
//!
//! Invariants: with one server and no limit, a connection that waits is taken without an atomic or an allocation; and
//! every wait has its bound: for a turn, for a connection, for an app that is being restarted.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::ProxyError;
use super::balance::Places;
use super::connection::Connection;
use super::error::{AppError, AppFault};
use super::server::{MAX_IDLE, Server};
use super::spool::Spools;
use super::standing::Shared;
use crate::config::{self, Balance, UpstreamKind};
use crate::metrics::{Counters, UpstreamCells};

/// A new buffer for a request's head, and the largest that is kept for another, in bytes.
const NEW_BUFFER: usize = 1024;
const MAX_BUFFER: usize = 4 * 1024;

/// The pause before an app that is not there is tried again, give or take a half.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// What a request adds to what may be spent on sending others again, what that costs, and how much can be saved up: one
/// in ten, and a hundred at once.
const EARNED: u32 = 1;
const COST: u32 = 10;
const SAVINGS: u32 = 1000;

/// The servers of one app, and a worker's connections to them.
#[derive(Debug)]
pub(super) struct Upstream {
    /// What the file says of it.
    config: config::Upstream,
    pub(super) kind: UpstreamKind,
    pub(super) response_timeout: Duration,
    pub(super) read_timeout: Duration,
    /// How much of an answer is read ahead of its client at most, in bytes.
    pub(super) read_ahead: u64,
    pub(super) queue_timeout: Duration,
    pub(super) balance: Balance,
    pub(super) servers: Vec<Server>,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<Counters>,
    /// What is counted of this one.
    pub(super) cells: Arc<UpstreamCells>,
    pub(super) spools: Arc<Spools>,
    retry_for: Duration,
    /// Where the next request looks first.
    turn: Cell<usize>,
    /// What may be spent on sending requests again.
    savings: Cell<u32>,
    /// Buffers for the heads of the next requests.
    buffers: RefCell<Vec<Vec<u8>>>,
    /// Told when the first connection waits.
    kept: Rc<Notify>,
}

/// What has been tried for one request.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    tried: Places,
    /// Where it begins to look.
    first: Option<usize>,
    /// Whether only a new connection will do, since one that waited was of no use.
    wants_new: bool,
    /// Whether the request could not be sent again.
    is_only_chance: bool,
}

impl Attempt {
    /// What a request begins with; `is_only_chance` says that it cannot be sent again once it has been.
    pub(super) fn new(is_only_chance: bool) -> Self {
        Self { is_only_chance, ..Self::default() }
    }

    /// It goes on, on a new connection, and to any server.
    pub(super) fn go_on(&mut self) {
        self.tried = Places::default();
        self.wants_new = true;
    }
}

impl Upstream {
    pub(super) fn new(
        config: &config::Upstream,
        shared: Arc<Shared>,
        spools: Arc<Spools>,
        counters: Arc<Counters>,
        kept: Rc<Notify>,
    ) -> Self {
        let servers = config.servers.iter().zip(&shared.servers);
        let cells = counters.upstreams.of(config.name.clone());
        Self {
            config: config.clone(),
            kind: config.kind,
            response_timeout: config.response_timeout,
            read_timeout: config.read_timeout,
            read_ahead: config.read_ahead,
            queue_timeout: config.queue_timeout,
            balance: config.balance,
            servers: servers
                .map(|(origin, standing)| Server::new(origin, config, standing.clone(), cells.clone()))
                .collect(),
            shared,
            counters,
            cells,
            spools,
            retry_for: config.retry_for,
            turn: Cell::new(0),
            savings: Cell::new(SAVINGS),
            buffers: RefCell::default(),
            kept,
        }
    }

    /// Whether it is called as the file calls this one.
    pub(super) fn is_of(&self, config: &config::Upstream) -> bool {
        self.config.name == config.name
    }

    /// Whether it would not be made otherwise now.
    pub(super) fn is_still(
        &self,
        config: &config::Upstream,
        shared: &Arc<Shared>,
        spools: &Arc<Spools>,
    ) -> bool {
        self.config == *config && Arc::ptr_eq(&self.shared, shared) && Arc::ptr_eq(&self.spools, spools)
    }

    /// Takes over the connections that wait of one that was there before it, to servers that both have.
    pub(super) fn take_connections(&self, before: &Self) {
        let is_alike = |a: &config::Upstream, b: &config::Upstream| {
            // A connection keeps the last of these for its next answer.
            a.tls == b.tls && a.kind == b.kind && a.response_timeout == b.response_timeout
        };
        if !is_alike(&self.config, &before.config) {
            return;
        }
        let mut is_first = false;
        for (place, server) in self.servers.iter().enumerate() {
            if let Some(old) = before.servers.iter().find(|old| old.name == server.name) {
                is_first |= server.take_from(old, place);
            }
        }
        if is_first {
            self.kept.notify_one();
        }
    }

    /// Closes the connections that wait. Those of requests that are under way are closed behind their answers.
    pub(super) fn retire(&self) {
        self.servers.iter().for_each(Server::retire);
    }

    /// Takes a connection that waits, where that is all there is to it: one server, and no limit.
    pub(super) fn take_idle(&self, attempt: &Attempt) -> Option<Box<Connection>> {
        self.savings.set((self.savings.get() + EARNED).min(SAVINGS));
        match &*self.servers {
            [server] if !server.standing.is_counted() => server.take_idle(attempt.is_only_chance),
            _ => None,
        }
    }

    /// A connection to a server that has time for the request, new or not. An app that is not there is waited for, as
    /// long as the configuration says.
    pub(super) async fn connection(&self, attempt: &mut Attempt) -> Result<Box<Connection>, ProxyError> {
        let mut held = None;
        loop {
            let (error, is_absent) = match self.try_servers(attempt).await {
                Ok(connection) => return Ok(connection),
                Err(failed) => failed,
            };
            if !is_absent || self.retry_for.is_zero() {
                return Err(error);
            }
            let (since, _waiting) = match &held {
                Some(held) => held,
                None => {
                    let Some(waiting) = self.shared.wait() else { return Err(error) };
                    self.counters.upstream_held.inc();
                    held.insert((Instant::now(), waiting))
                }
            };
            let pause = RESTART_PAUSE.mul_f64(0.5 + fastrand::f64());
            if since.elapsed() + pause > self.retry_for {
                return Err(error);
            }
            sleep(pause).await;
            attempt.go_on();
        }
    }

    /// Tries one server after the other. On failure says whether one of them was not there at all.
    async fn try_servers(&self, attempt: &mut Attempt) -> Result<Box<Connection>, (ProxyError, bool)> {
        let (mut last, mut is_absent) = (None, false);
        loop {
            let first =
                *attempt.first.get_or_insert_with(|| self.turn.replace(self.turn.get().wrapping_add(1)));
            let turn = self.turn(attempt.tried, first).await.map_err(|error| (error, false))?;
            let Some((place, lease)) = turn else {
                return Err((last.unwrap_or(ProxyError::NoUpstream), is_absent));
            };
            let server = &self.servers[place];
            if !attempt.wants_new
                && let Some(mut connection) = server.take_idle(attempt.is_only_chance)
            {
                connection.lease = lease;
                return Ok(connection);
            }
            if last.is_some() {
                self.counters.upstream_retries.inc();
            }
            let begun = Instant::now();
            match server.connect(place, lease).await {
                Ok(connection) => {
                    self.cells.connect.note(begun.elapsed());
                    return Ok(connection);
                }
                Err(fault) => {
                    attempt.tried.insert(place);
                    is_absent |= fault.is_absence();
                    self.blame(place, &fault);
                    last = Some(self.failed(place, fault));
                }
            }
        }
    }

    /// Whether a request that has been sent may be sent once more: if all were, an app in trouble would get twice the
    /// load. Counts it.
    pub(super) fn may_repeat(&self) -> bool {
        let Some(left) = self.savings.get().checked_sub(COST) else { return false };
        self.savings.set(left);
        self.counters.upstream_retries.inc();
        true
    }

    /// A server has answered.
    pub(super) fn praise(&self, place: usize) {
        if let [_, _, ..] = &*self.servers
            && self.servers[place].standing.answered()
        {
            tracing::info!(
                upstream = self.config.name,
                server = self.servers[place].name,
                "the server is back"
            );
        }
    }

    /// A server has failed. Of several, it may be left alone for a while.
    pub(super) fn blame(&self, place: usize, fault: &AppFault) {
        let (Some(server), [_, _, ..]) = (self.servers.get(place), &*self.servers) else { return };
        if let Some(rest) = server.standing.failed(fault.is_of_connecting()) {
            self.counters.upstream_ejections.inc();
            tracing::warn!(
                upstream = self.config.name,
                server = server.name,
                "the server is left alone for {rest:.1?}: {fault}"
            );
        }
    }

    /// What went wrong with the server in that place.
    pub(super) fn failed(&self, place: usize, fault: AppFault) -> ProxyError {
        self.cells.failures[fault.place()].inc();
        let server = self.servers.get(place).map_or_else(String::new, |server| server.name.clone());
        ProxyError::App(Box::new(AppError { upstream: self.config.name.clone(), server, fault }))
    }

    /// What went wrong with all servers.
    pub(super) fn failed_everywhere(&self, fault: AppFault) -> ProxyError {
        self.cells.failures[fault.place()].inc();
        let names: Vec<_> = self.servers.iter().map(|server| server.name.as_str()).collect();
        ProxyError::App(Box::new(AppError {
            upstream: self.config.name.clone(),
            server: names.join(", "),
            fault,
        }))
    }

    /// Keeps a connection whose answer was whole, if it is of use.
    pub(super) fn keep(&self, connection: Box<Connection>) {
        if let Some(server) = self.servers.get(connection.server)
            && server.keep(connection)
        {
            self.kept.notify_one();
        }
    }

    /// An empty buffer for a head.
    pub(super) fn take_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(NEW_BUFFER))
    }

    /// Keeps a buffer for another head.
    pub(super) fn keep_buffer(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < MAX_IDLE && (1..=MAX_BUFFER).contains(&buffer.capacity()) {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// Closes connections that are of no use any more. Says whether any go on waiting.
    pub(super) fn sweep(&self) -> bool {
        // All of them, whatever the first says.
        self.servers.iter().fold(false, |waiting, server| server.sweep() | waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    #[test]
    fn one_request_in_ten_may_be_sent_again_and_a_hundred_at_once() {
        let config = config::Upstream::new("app", vec![Origin::Unix("/nowhere".into())]);
        let shared = Arc::new(Shared::new(&config));
        let spools = Spools::new("/nowhere".into(), 0, 0);
        let upstream = Upstream::new(&config, shared, spools, Arc::default(), Rc::default());
        let repeats = || (0..1000).filter(|_| upstream.may_repeat()).count();
        assert_eq!((repeats(), repeats()), (100, 0));
        for _ in 0..99 {
            upstream.take_idle(&Attempt::default());
        }
        assert_eq!(repeats(), 9);
        for _ in 0..100_000 {
            upstream.take_idle(&Attempt::default());
        }
        assert_eq!(repeats(), 100);
    }
}
