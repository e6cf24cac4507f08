//! One server of an upstream, and a worker's connections to it: made when they are needed, kept while they are useful.
//!
//! No connection is ever made in advance: a synchronous worker that accepts a connection waits on it for a request
//! and serves nobody else meanwhile.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use super::address::Address;
use super::connection::Connection;
use super::error::AppFault;
use super::standing::{Lease, Standing};
use crate::clock;
use crate::config::{self, Origin, UpstreamKind};
use crate::metrics::UpstreamCells;

/// How many idle connections a worker keeps to one server.
pub(super) const MAX_IDLE: usize = 128;

/// How old a connection may grow: behind a name there may be another machine by then.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// By how much earlier a connection is given up than the app says that it closes it.
const MARGIN: Duration = Duration::from_secs(1);

/// A server of an app.
#[derive(Debug)]
pub(super) struct Server {
    /// As it is written in the file.
    pub(super) name: String,
    pub(super) standing: Arc<Standing>,
    kind: UpstreamKind,
    address: Address,
    connect_timeout: Duration,
    response_timeout: Duration,
    idle_limit: Duration,
    /// The newest last: it is taken first, so that the others can grow old and be closed.
    idle: RefCell<Vec<Idle>>,
    /// Whether no further request will come, so that no connection is to wait for one.
    is_retired: Cell<bool>,
    cells: Arc<UpstreamCells>,
}

#[derive(Debug)]
struct Idle {
    /// Boxed for all its life, since it is moved many times a request.
    connection: Box<Connection>,
    until: Instant,
}

impl Server {
    pub(super) fn new(
        origin: &Origin,
        config: &config::Upstream,
        standing: Arc<Standing>,
        cells: Arc<UpstreamCells>,
    ) -> Self {
        Self {
            name: origin.to_string(),
            standing,
            kind: config.kind,
            address: Address::new(origin, config.tls.as_ref().map(|tls| &tls.config)),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            idle_limit: idle_limit(config.kind),
            idle: RefCell::default(),
            is_retired: Cell::new(false),
            cells,
        }
    }

    /// Takes a connection that waits, the one used last. `for_certain` asks the system whether it is still open, at the
    /// cost of a call: for a request that could not be sent again.
    pub(super) fn take_idle(&self, for_certain: bool) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { mut connection, until }) = idle.pop() {
            self.cells.idle.dec();
            if connection.is_silent() && clock::now() < until && (!for_certain || connection.is_open()) {
                connection.heard = false;
                return Some(connection);
            }
        }
        None
    }

    /// Makes a new connection. `place` is the server's in the upstream.
    pub(super) async fn connect(&self, place: usize, lease: Lease) -> Result<Box<Connection>, AppFault> {
        let link = self.address.connect(self.connect_timeout).await?;
        let tells_unread = link.tells_unread(self.kind);
        let mut connection = Box::new(Connection::new(link, place, self.response_timeout));
        connection.tells_unread = tells_unread;
        connection.lease = lease;
        Ok(connection)
    }

    /// Keeps a connection whose answer was whole, unless something came behind it, it is too old, or the app is about to
    /// close it. Says whether it is the first that waits.
    pub(super) fn keep(&self, mut connection: Box<Connection>) -> bool {
        let mut idle = self.idle.borrow_mut();
        if self.is_retired.get() || idle.len() >= MAX_IDLE || !connection.read.is_empty() {
            return false;
        }
        let said = connection.keep_alive.map(|said| said.saturating_sub(MARGIN));
        let until = clock::now() + said.map_or(self.idle_limit, |said| said.min(self.idle_limit));
        if said == Some(Duration::ZERO) || until > connection.made + MAX_AGE {
            return false;
        }
        connection.is_used = true;
        let lease = std::mem::take(&mut connection.lease);
        idle.push(Idle { connection, until });
        self.cells.idle.inc();
        drop(lease);
        idle.len() == 1
    }

    /// Takes over the connections that wait of the same server of another configuration, in which it may have had another
    /// place. Says whether there are any.
    pub(super) fn take_from(&self, before: &Self, place: usize) -> bool {
        let mut taken = before.idle.take();
        for idle in &mut taken {
            idle.connection.server = place;
        }
        let has_any = !taken.is_empty();
        self.idle.replace(taken);
        has_any
    }

    /// Closes the connections that wait, and lets none wait any more.
    pub(super) fn retire(&self) {
        self.is_retired.set(true);
        self.cells.idle.sub(self.idle.take().len() as u64);
    }

    /// Closes what has waited for too long, has been closed by the app, or was spoken on unasked. What goes on waiting
    /// keeps no buffer: that of a large answer's last piece is 64 KiB. Says whether something goes on waiting.
    pub(super) fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        idle.retain_mut(|idle| {
            idle.connection.read = BytesMut::new();
            idle.connection.is_silent() && now < idle.until
        });
        self.cells.idle.sub((before - idle.len()) as u64);
        !idle.is_empty()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cells.idle.sub(self.idle.borrow().len() as u64);
    }
}

/// How long a connection is kept: less than the app itself keeps it (gunicorn 2 s, uvicorn and Node 5 s), so that the
/// app is seldom the one that closes it just when a request is sent.
fn idle_limit(kind: UpstreamKind) -> Duration {
    match kind {
        UpstreamKind::Wsgi => Duration::from_millis(1500),
        UpstreamKind::Asgi | UpstreamKind::Node => Duration::from_secs(4),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;
    use tokio::time::advance;

    use super::*;
    use crate::proxy::standing::Shared;
    use crate::transport::Socket;

    fn server() -> Server {
        let origin = Origin::Unix("/nowhere".into());
        let config = config::Upstream::new("app", vec![origin.clone()]);
        let shared = Shared::new(&config);
        Server::new(&origin, &config, shared.servers[0].clone(), Arc::default())
    }

    fn connection() -> (Box<Connection>, UnixStream) {
        let (ours, app) = UnixStream::pair().unwrap();
        (Box::new(Connection::new(Socket::from(ours).into(), 0, Duration::from_secs(1))), app)
    }

    #[tokio::test]
    async fn a_connection_that_waits_keeps_no_buffer() {
        let server = server();
        let (mut connection, app) = connection();
        connection.read.reserve(64 * 1024);
        server.keep(connection);
        server.sweep();
        let connection = server.take_idle(true).expect("it is still open");
        assert_eq!(connection.read.capacity(), 0);
        drop(app);
    }

    #[tokio::test]
    async fn what_the_app_has_closed_is_seen_at_once_where_it_matters() {
        let server = server();
        for (for_certain, is_taken) in [(false, true), (true, false)] {
            let (connection, app) = connection();
            server.keep(connection);
            // The runtime has not been told, since nothing is awaited here.
            drop(app);
            assert_eq!(server.take_idle(for_certain).is_some(), is_taken);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_given_up_before_the_app_closes_it() {
        let server = server();
        for (said, at, is_kept) in [
            (None, 1400, true),
            (None, 1500, false),
            (Some(2), 900, true),
            (Some(2), 1000, false),
            (Some(60), 1400, true),
            (Some(60), 1500, false),
            (Some(1), 0, false),
            (Some(0), 0, false),
        ] {
            let (mut connection, app) = connection();
            connection.keep_alive = said.map(Duration::from_secs);
            server.keep(connection);
            advance(Duration::from_millis(at)).await;
            assert_eq!(server.take_idle(false).is_some(), is_kept, "{said:?} after {at} ms");
            drop(app);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_does_not_live_for_ever() {
        let server = server();
        let (mut connection, app) = connection();
        let begun = Instant::now();
        loop {
            if !server.keep(connection) {
                break;
            }
            advance(Duration::from_secs(1)).await;
            connection = server.take_idle(false).expect("it is still open");
        }
        assert!(begun.elapsed() <= MAX_AGE && begun.elapsed() > MAX_AGE - Duration::from_secs(5));
        drop(app);
    }
}
