//! Connections to the app: made when they are needed, kept while they are useful.
//!
//! No connection is ever made in advance: a synchronous worker that accepts a connection waits on it for a request
//! and serves nobody else meanwhile.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use super::ProxyError;
use super::body::RequestBody;
use super::heard::{Heard, Overheard};
use crate::config::{self, Origin, UpstreamKind};
use crate::transport::Socket;

/// How many idle connections a worker keeps to one upstream.
const MAX_IDLE: usize = 128;

/// How long an answered connection may take to be ready for the next request, before it is closed instead.
const SETTLE: Duration = Duration::from_secs(1);

/// The servers of one app, and a worker's connections to them.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) kind: UpstreamKind,
    pub(super) response_timeout: Duration,
    connect_timeout: Duration,
    servers: Vec<Origin>,
    /// Where the next connection is tried first.
    turn: Cell<usize>,
    /// The newest last: it is taken first, so that the others can grow old and be closed.
    idle: RefCell<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    heard: Heard,
    since: Instant,
}

impl Upstream {
    pub(super) fn new(config: &config::Upstream) -> Self {
        Self {
            kind: config.kind,
            response_timeout: config.response_timeout,
            connect_timeout: config.connect_timeout,
            servers: config.servers.clone(),
            turn: Cell::new(0),
            idle: RefCell::default(),
        }
    }

    /// Takes a connection that waits, the one used last.
    pub(super) fn take_idle(self: &Rc<Self>) -> Option<Lease> {
        let limit = idle_limit(self.kind);
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { sender, heard, since }) = idle.pop() {
            if sender.is_ready() && since.elapsed() < limit {
                heard.set(false);
                return Some(Lease { upstream: self.clone(), sender, heard });
            }
        }
        None
    }

    /// Makes a new connection, to the first server that takes it.
    pub(super) async fn connect(self: &Rc<Self>) -> Result<Lease, ProxyError> {
        let mut last = ProxyError::NoUpstream;
        let first = self.turn.replace(self.turn.get().wrapping_add(1));
        for offset in 0..self.servers.len() {
            let server = &self.servers[first.wrapping_add(offset) % self.servers.len()];
            match timeout(self.connect_timeout, connect(server)).await {
                Ok(Ok(socket)) => return self.handshake(socket).await,
                Ok(Err(error)) => last = ProxyError::Connect(error),
                Err(_) => last = ProxyError::ConnectTimeout,
            }
        }
        Err(last)
    }

    async fn handshake(self: &Rc<Self>, socket: Socket) -> Result<Lease, ProxyError> {
        let socket = Overheard::new(socket);
        let heard = socket.heard();
        let made = http1::Builder::new().handshake(TokioIo::new(socket)).await;
        let (sender, connection) = made.map_err(ProxyError::Broken)?;
        tokio::task::spawn_local(async move {
            // Its errors reach whoever waits for an answer; an idle connection has nobody to tell.
            let _ = connection.with_upgrades().await;
        });
        Ok(Lease { upstream: self.clone(), sender, heard })
    }

    fn keep(&self, sender: SendRequest<RequestBody>, heard: Heard) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { sender, heard, since: Instant::now() });
        }
    }

    /// Closes what has waited for too long.
    pub(super) fn sweep(&self) {
        let limit = idle_limit(self.kind);
        self.idle.borrow_mut().retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < limit);
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

/// A connection in use. Dropped, it is closed; released, it waits for the next request.
#[derive(Debug)]
pub(super) struct Lease {
    upstream: Rc<Upstream>,
    pub(super) sender: SendRequest<RequestBody>,
    /// Whether the app has said anything since the connection was taken.
    pub(super) heard: Heard,
}

impl Lease {
    /// Gives the connection back once it is ready for the next request.
    pub(super) fn release(self) {
        let Self { upstream, mut sender, heard } = self;
        if sender.is_closed() {
            return;
        }
        if sender.is_ready() {
            upstream.keep(sender, heard);
            return;
        }
        // The end of the request is still being written, or the connection has not looked yet.
        tokio::task::spawn_local(async move {
            if let Ok(Ok(())) = timeout(SETTLE, sender.ready()).await {
                upstream.keep(sender, heard);
            }
        });
    }
}
