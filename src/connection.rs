//! One connection of a client, from accept to close: handshake, protocol, deadlines, and the moment at which hyper
//! gives the socket away, to a stream or to a tunnel.
//!
//! The protocol is chosen by ALPN under TLS; cleartext is HTTP/1. Invariants: every phase of a connection has a
//! deadline; a connection leaves hyper only when nothing of an earlier response is left to write; what a connection
//! counts and holds is given back when its task ends, however it ends.

mod http1;
mod http2;
mod pieces;
mod watch;

use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::config::{Deadlines, TrustedProxies};
use crate::http::{Peer, PeerAddress};
use crate::metrics::Counters;
use crate::proxy::Switched;
use crate::stream::{Grant, Streams};
use crate::tls::{Certificates, is_h2};
use crate::transport::{DirectFiles, Socket, Transport};

pub use watch::Tracked;

/// What all connections of a listener have in common.
pub struct Settings {
    /// How long a client may take.
    pub deadlines: Deadlines,
    /// The most bytes of a request head.
    pub max_headers: usize,
    /// Hosts that are served; empty is any. In lower case.
    pub server_names: Vec<String>,
    /// Certificates and the TLS configuration made of them; none is cleartext.
    pub tls: Option<(Arc<Certificates>, TlsAcceptor)>,
    /// Whose word on the client's address is believed.
    pub trusted: TrustedProxies,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("server_names", &self.server_names).finish_non_exhaustive()
    }
}

/// What a request's handler knows of its connection.
#[derive(Debug)]
pub struct Info {
    /// The other end.
    pub peer: Peer,
    /// The host that the client named in its handshake.
    pub sni: Option<String>,
    /// Whether the protocol is HTTP/2.
    pub h2: bool,
    /// The listener.
    pub settings: Rc<Settings>,
    /// How parts of files get to the socket unread; none where they are encrypted.
    pub direct: Option<Rc<DirectFiles>>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome<B> {
    /// It is answered.
    Reply(Response<B>),
    /// Its connection becomes a stream. Only on HTTP/1.
    Park(Grant),
    /// It is answered, and then its connection belongs to client and app. Only on HTTP/1.
    Tunnel(Response<B>, Switched),
}

/// Who answers requests.
pub trait Handler: 'static {
    /// The bodies of its answers.
    type Body: Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Unpin
        + 'static;

    /// Answers a request.
    fn handle(
        &self,
        request: Request<Incoming>,
        info: &Rc<Info>,
    ) -> impl Future<Output = Outcome<Self::Body>>;
}

/// What the connections of a worker share.
#[derive(Debug)]
pub struct Shared<H> {
    /// Who answers.
    pub handler: H,
    /// Where parked streams go.
    pub streams: Streams,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Said when the worker drains.
    pub drain: Drain,
}

/// A worker's word to its connections that it is ending.
#[derive(Debug, Default)]
pub struct Drain {
    begun: std::cell::Cell<bool>,
    tunnels: tokio::sync::Notify,
    notify: tokio::sync::Notify,
}

impl Drain {
    /// Says it: connections finish what they have and close.
    pub fn begin(&self) {
        self.begun.set(true);
        self.notify.notify_waiters();
    }

    /// Ends tunnels, which do not end by themselves.
    pub fn end_tunnels(&self) {
        self.tunnels.notify_waiters();
    }

    /// Whether it was said.
    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    async fn begun(&self) {
        let notified = self.notify.notified();
        if !self.begun.get() {
            notified.await;
        }
    }
}

/// How a connection ended, for the log.
#[derive(Debug)]
pub enum ConnectionError {
    /// The TLS handshake failed.
    Handshake(std::io::Error),
    /// A deadline passed.
    TimedOut(&'static str),
    /// hyper says what was wrong.
    Http(hyper::Error),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(error) => write!(f, "the TLS handshake failed: {error}"),
            Self::TimedOut(what) => write!(f, "the client took too long: {what}"),
            Self::Http(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ConnectionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Handshake(error) => Some(error),
            Self::Http(error) => Some(error),
            Self::TimedOut(_) => None,
        }
    }
}

/// Serves a connection until it ends or has become something else. `held` is dropped when its socket is closed.
pub async fn serve<H: Handler>(
    shared: Rc<Shared<H>>,
    settings: Rc<Settings>,
    socket: Socket,
    address: PeerAddress,
    held: impl Sized + 'static,
) {
    if let Err(error) = run(&shared, settings, socket, address, held).await {
        match &error {
            ConnectionError::Handshake(_) => shared.counters.handshakes_failed.inc(),
            ConnectionError::TimedOut(_) => shared.counters.connections_timed_out.inc(),
            ConnectionError::Http(error) if error.is_parse() => shared.counters.requests_malformed.inc(),
            ConnectionError::Http(_) => {}
        }
        // What clients do wrong is theirs to know; it would flood the log of a public server.
        tracing::debug!(?address, %error, "connection ended");
    }
}

async fn run<H: Handler>(
    shared: &Rc<Shared<H>>,
    settings: Rc<Settings>,
    socket: Socket,
    address: PeerAddress,
    held: impl Sized + 'static,
) -> Result<(), ConnectionError> {
    let (trusted, is_tls) = (is_trusted(&settings.trusted, address), settings.tls.is_some());
    let peer = Peer::new(address, is_tls, trusted);
    let Some((_, acceptor)) = &settings.tls else {
        let info = Rc::new(Info {
            peer,
            sni: None,
            h2: false,
            settings: settings.clone(),
            direct: Some(Rc::default()),
        });
        return http1::serve(shared, info, Transport::Plain(socket), held).await;
    };
    // Boxed: the handshake's state is large and is gone soon.
    let handshake = Box::pin(timeout(settings.deadlines.handshake_timeout, acceptor.accept(socket))).await;
    let mut stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(ConnectionError::Handshake(error)),
        Err(_) => return Err(ConnectionError::Handshake(std::io::ErrorKind::TimedOut.into())),
    };
    let session = stream.get_mut().1;
    session.set_buffer_limit(Some(SESSION_BUFFER));
    let (sni, h2) = (session.server_name().map(str::to_owned), is_h2(session.alpn_protocol()));
    let info = Rc::new(Info { peer, sni, h2, settings: settings.clone(), direct: None });
    let transport = Transport::Tls(Box::new(stream));
    if h2 {
        http2::serve(shared, info, transport).await
    } else {
        http1::serve(shared, info, transport, held).await
    }
}

/// How many bytes a TLS session holds for a slow reader: one full record (RFC 8446, section 5.1).
const SESSION_BUFFER: usize = 16 * 1024;

fn is_trusted(trusted: &TrustedProxies, address: PeerAddress) -> bool {
    match address {
        PeerAddress::Ip(address) => trusted.contains(address.ip()),
        PeerAddress::Unix => trusted.unix,
    }
}

/// Closes a connection so that what was written last arrives: the client is given a moment to read it before bytes
/// that it still sends could reset the connection (RFC 9112, section 9.6).
async fn close(mut transport: Transport) {
    let deadline = tokio::time::Instant::now() + LINGER;
    let shutdown = tokio::io::AsyncWriteExt::shutdown(&mut transport);
    if let Ok(Ok(())) = timeout_at(deadline, shutdown).await {
        let mut budget = LINGER_BYTES;
        let drained = std::future::poll_fn(|cx| transport.poll_discard(cx, &mut budget));
        // Whether it ended or not, the socket is closed now.
        let _ = timeout_at(deadline, drained).await;
    }
}

/// How long a closing connection waits for its client.
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);

/// How many bytes a client may send to a closing connection: what a fast one still has on its way in that time.
const LINGER_BYTES: u32 = 64 * 1024 * 1024;
