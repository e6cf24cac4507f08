//! Connections to the app: made when they are needed, kept while they are useful.
//!
//! No connection is ever made in advance: a synchronous worker that accepts a connection waits on it for a request
//! and serves nobody else meanwhile.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::ProxyError;
use super::connection::Connection;
use super::error::{AppError, AppFault};
use crate::config::{self, Origin, UpstreamKind};
use crate::transport::Socket;

/// How many idle connections, and buffers, a worker keeps for one upstream.
const MAX_IDLE: usize = 128;

/// A new buffer for a request's head, and the largest that is kept for another, in bytes.
const NEW_BUFFER: usize = 1024;
const MAX_BUFFER: usize = 4 * 1024;

/// The servers of one app, and a worker's connections to them.
#[derive(Debug)]
pub(super) struct Upstream {
    /// What it is called in the file.
    name: String,
    pub(super) kind: UpstreamKind,
    pub(super) response_timeout: Duration,
    connect_timeout: Duration,
    servers: Vec<Origin>,
    /// Where the next connection is tried first.
    turn: Cell<usize>,
    /// The newest last: it is taken first, so that the others can grow old and be closed.
    idle: RefCell<Vec<Idle>>,
    /// Buffers for the heads of the next requests.
    buffers: RefCell<Vec<Vec<u8>>>,
    /// Told when the first connection waits.
    kept: Rc<Notify>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Upstream {
    pub(super) fn new(config: &config::Upstream, kept: Rc<Notify>) -> Self {
        Self {
            name: config.name.clone(),
            kind: config.kind,
            response_timeout: config.response_timeout,
            connect_timeout: config.connect_timeout,
            servers: config.servers.clone(),
            turn: Cell::new(0),
            idle: RefCell::default(),
            buffers: RefCell::default(),
            kept,
        }
    }

    /// Takes a connection that waits, the one used last.
    pub(super) fn take_idle(&self) -> Option<Connection> {
        let limit = idle_limit(self.kind);
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { mut connection, since }) = idle.pop() {
            if connection.is_silent() && since.elapsed() < limit {
                connection.heard = false;
                return Some(connection);
            }
        }
        None
    }

    /// Makes a new connection, to the first server that takes it.
    pub(super) async fn connect(&self) -> Result<Connection, ProxyError> {
        let mut last = ProxyError::NoUpstream;
        let first = self.turn.replace(self.turn.get().wrapping_add(1));
        for offset in 0..self.servers.len() {
            let place = first.wrapping_add(offset) % self.servers.len();
            let fault = match timeout(self.connect_timeout, connect(&self.servers[place])).await {
                Ok(Ok(socket)) => return Ok(Connection::new(socket, place, self.response_timeout)),
                Ok(Err(error)) => AppFault::Connect(error),
                Err(_) => AppFault::ConnectTimeout,
            };
            last = self.failed(place, fault);
        }
        Err(last)
    }

    /// What went wrong with the server in that place.
    pub(super) fn failed(&self, server: usize, fault: AppFault) -> ProxyError {
        let server = self.servers.get(server).map_or_else(String::new, ToString::to_string);
        ProxyError::App(Box::new(AppError { upstream: self.name.clone(), server, fault }))
    }

    /// Keeps a connection whose answer was whole, unless something came behind it.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE && connection.read.is_empty() {
            if idle.is_empty() {
                self.kept.notify_one();
            }
            idle.push(Idle { connection, since: Instant::now() });
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

    /// Closes what has waited for too long, has been closed by the app, or was spoken on unasked. What goes on waiting
    /// keeps no buffer: that of a large answer's last piece is 64 KiB. Says whether something goes on waiting.
    pub(super) fn sweep(&self) -> bool {
        let limit = idle_limit(self.kind);
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|idle| {
            idle.connection.read = BytesMut::new();
            idle.connection.is_silent() && idle.since.elapsed() < limit
        });
        !idle.is_empty()
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

async fn connect(server: &Origin) -> io::Result<Socket> {
    Ok(match server {
        Origin::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            stream.into()
        }
        // By its path each time: a deploy puts a new socket in the place of the old.
        Origin::Unix(path) => UnixStream::connect(path).await?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_waits_keeps_no_buffer() {
        let upstream = Upstream::new(
            &config::Upstream {
                name: "app".to_owned(),
                servers: Vec::new(),
                kind: UpstreamKind::Asgi,
                connect_timeout: Duration::from_secs(1),
                response_timeout: Duration::from_secs(1),
                max_body: 0,
            },
            Rc::default(),
        );
        let (ours, app) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours.into(), 0, Duration::from_secs(1));
        connection.read.reserve(64 * 1024);
        upstream.keep(connection);
        upstream.sweep();
        let connection = upstream.take_idle().expect("it is still open");
        assert_eq!(connection.read.capacity(), 0);
        drop(app);
    }
}
