//! One connection of a client, from accept to close: handshake, protocol, deadlines, and the moment at which hyper
//! gives the socket away, to a stream or to a tunnel.
//!
//! The protocol is chosen by ALPN under TLS; cleartext is HTTP/1. Order: the header of the PROXY protocol, if the
//! listener has them; then it is known who the client is, and its address is counted; TLS; HTTP. Invariants: every
//! phase of a connection has a deadline; a connection leaves hyper only when nothing of an earlier response is left to write; what a connection
//! counts and holds is given back when its task ends, however it ends.

mod caught;
mod error;
mod fragment;
mod handshake;
mod http1;
mod http2;
mod pieces;
mod proxy_protocol;
mod timer;
mod watch;

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use http::Response;
use http::request::Parts;
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::access_log::WorkerLog;
use crate::acme::Challenges;
use crate::config::{Deadlines, TrustedProxies};
use crate::http::{Peer, PeerAddress};
use crate::limits::{AddressLimit, Entry, Place, Quiet};
use crate::metrics::Counters;
use crate::proxy::{ReadsAhead, Switched};
use crate::stream::{Grant, Streams};
use crate::tls::{Credentials, Tls, is_h2};
use crate::transport::{DirectFiles, Socket, Transport};

pub use error::ConnectionError;
pub use handshake::Handshakes;
pub use proxy_protocol::HeaderError;
pub use watch::Tracked;

use proxy_protocol::Said;

/// What all connections of a listener have in common.
#[derive(Debug)]
pub struct Settings {
    /// The number of the listener, which it keeps for as long as it is open; another one never gets it.
    pub listener: usize,
    /// Said when its connections are to end.
    pub drain: Rc<Drain>,
    /// How long a client may take.
    pub deadlines: Deadlines,
    /// The most bytes of a request head.
    pub max_headers: usize,
    /// Hosts that are served; empty is any. In lower case.
    pub server_names: Vec<String>,
    /// How many connections an address may have, over all workers.
    pub addresses: Option<AddressLimit>,
    /// Its TLS; none is cleartext.
    pub tls: Option<Tls>,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Whose word on the client's address is believed.
    pub trusted: TrustedProxies,
}

/// What a request's handler knows of its connection.
#[derive(Debug)]
pub struct Info {
    /// The other end.
    pub peer: Peer,
    /// The host that the client named in its handshake.
    pub sni: Option<String>,
    /// What the handshake was made with; none is cleartext.
    pub credentials: Option<Arc<Credentials>>,
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
    /// Its connection becomes a stream. Only on HTTP/1. Boxed, as is the next: rare beside answers, which are moved.
    Park(Box<Grant>),
    /// It is answered, and then its connection belongs to client and app. Only on HTTP/1.
    Tunnel(Response<B>, Box<Switched>),
}

/// Who answers requests.
pub trait Handler: 'static {
    /// The bodies of its answers.
    type Body: Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + ReadsAhead
        + Unpin
        + 'static;

    /// Answers a request. Its head is large, so it stays where it is; what is left of it afterwards is nobody's.
    fn handle(
        &self,
        parts: &mut Parts,
        body: Incoming,
        info: &Rc<Info>,
    ) -> impl Future<Output = Outcome<Self::Body>>;

    /// What a client is told whose request was not answered because of a mistake of ours.
    fn failed(&self, info: &Info) -> Response<Self::Body>;
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
    /// The handshakes in progress.
    pub handshakes: Handshakes,
    /// The handshakes of authorities that certify our hosts.
    pub challenges: Challenges,
    /// What is refused before it is HTTP, for the log.
    pub refused: Refused,
    /// The access log, for what is refused before there is a request.
    pub log: Rc<WorkerLog>,
}

/// What happens as often as strangers like, and is said at most once a second.
#[derive(Debug, Default)]
pub struct Refused {
    address: Quiet,
    header: Quiet,
    handshake: Quiet,
    late: Quiet,
}

/// The word to the connections of a listener that it is going, or the worker is.
#[derive(Debug, Default)]
pub struct Drain {
    announced: std::cell::Cell<bool>,
    begun: std::cell::Cell<bool>,
    tunnels: tokio::sync::Notify,
    notify: tokio::sync::Notify,
}

impl Drain {
    /// Says that it will come: connections close behind their next answer, and the idle ones are not cut while their
    /// clients may be sending. It is for where new connections are somebody else's.
    pub fn announce(&self) {
        self.announced.set(true);
        self.notify.notify_waiters();
    }

    /// Says it: connections finish what they have and close.
    pub fn begin(&self) {
        self.announced.set(true);
        self.begun.set(true);
        self.notify.notify_waiters();
    }

    /// Ends tunnels, which do not end by themselves.
    pub fn end_tunnels(&self) {
        self.tunnels.notify_waiters();
    }

    /// Whether it was announced, or said.
    pub fn is_announced(&self) -> bool {
        self.announced.get()
    }

    fn has_begun(&self) -> bool {
        self.begun.get()
    }

    async fn announced(&self) {
        let notified = self.notify.notified();
        if !self.announced.get() {
            notified.await;
        }
    }

    async fn begun(&self) {
        while !self.begun.get() {
            self.notify.notified().await;
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
        shared.count(&error, address);
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
    let deadline = Instant::now() + settings.deadlines.handshake_timeout;
    let (address, trusted) = if settings.proxy_protocol {
        // Boxed: its buffer is large and is gone soon.
        Box::pin(said_by_proxy(&settings.trusted, &socket, address, deadline)).await?
    } else {
        (address, is_trusted(&settings.trusted, address))
    };
    let is_tls = settings.tls.is_some();
    let held = (held, shared.admit(&settings, address)?);
    let peer = Peer::new(address, is_tls, trusted);
    let Some(tls) = &settings.tls else {
        let direct = Some(Rc::default());
        let info = Info { peer, sni: None, credentials: None, h2: false, settings: settings.clone(), direct };
        return http1::serve(shared, Rc::new(info), Transport::Plain(socket), held).await;
    };
    // Boxed: the handshake's state is large and is gone soon.
    let handshake = handshake::accept(socket, tls, &settings, &shared.handshakes, &shared.challenges);
    let Ok(made) = Box::pin(timeout_at(deadline, handshake)).await else {
        return Err(ConnectionError::Handshake(std::io::ErrorKind::TimedOut.into()));
    };
    let Some((mut stream, credentials)) = made? else { return Ok(()) };
    shared.counters.handshakes.inc();
    let session = stream.get_mut().1;
    session.set_buffer_limit(Some(SESSION_BUFFER));
    let (sni, h2) = (session.server_name().map(str::to_owned), is_h2(session.alpn_protocol()));
    let peer = match session.peer_certificates() {
        Some([certificate, ..]) => peer.with_certificate(certificate),
        _ => peer,
    };
    let credentials = Some(credentials);
    let info = Rc::new(Info { peer, sni, credentials, h2, settings: settings.clone(), direct: None });
    let transport = Transport::Tls(Box::new(stream));
    if h2 {
        http2::serve(shared, info, transport).await
    } else {
        http1::serve(shared, info, transport, held).await
    }
}

/// The client's address, as the trusted peer in front of it says, and whether the client's own word is believed. That of
/// one whom the peer does not know is not: it has the peer's address, and nothing else of it.
async fn said_by_proxy(
    trusted: &TrustedProxies,
    socket: &Socket,
    address: PeerAddress,
    deadline: Instant,
) -> Result<(PeerAddress, bool), ConnectionError> {
    if !is_trusted(trusted, address) {
        return Err(ConnectionError::Untrusted);
    }
    match timeout_at(deadline, proxy_protocol::read(socket)).await {
        Ok(Ok(Said::Client(client))) => {
            let client = PeerAddress::Ip(client);
            Ok((client, is_trusted(trusted, client)))
        }
        Ok(Ok(Said::Itself)) => Ok((address, true)),
        Ok(Ok(Said::Nobody)) => Ok((address, false)),
        Ok(Err(error)) => Err(ConnectionError::Header(error)),
        Err(_) => Err(ConnectionError::TimedOut("to send its header of the PROXY protocol")),
    }
}

impl<H> Shared<H> {
    /// Counts a connection at its address, as long as it holds what is returned. Peers that are trusted carry the
    /// connections of others, and are not counted; nor is who comes by Unix socket.
    fn admit(&self, settings: &Settings, address: PeerAddress) -> Result<Option<Place>, ConnectionError> {
        let trusted = is_trusted(&settings.trusted, address);
        let (Some(limit), PeerAddress::Ip(address), false) = (&settings.addresses, address, trusted) else {
            return Ok(None);
        };
        match limit.enter(address.ip()) {
            Entry::Counted(place) => Ok(Some(place)),
            Entry::Uncounted => {
                self.counters.connections_uncounted.inc();
                Ok(None)
            }
            Entry::Refused => Err(ConnectionError::TooMany),
        }
    }

    /// Writes down what hyper has answered by itself, since there was no request that a handler could be given.
    fn log_malformed(&self, peer: &Peer, error: &hyper::Error) {
        if !self.log.is_on() || !error.is_parse() || error.is_parse_version_h2() {
            return;
        }
        let client = match peer.address {
            PeerAddress::Ip(_) => peer.text.to_str().unwrap_or_default(),
            PeerAddress::Unix => "unix",
        };
        let status = if error.is_parse_too_large() { 431 } else { 400 };
        // The library's words hold nothing that the client sent.
        self.log.write("malformed", |line| {
            line.text("client", client).number("status", status).text("error", &error.to_string())
        });
    }

    fn count(&self, error: &ConnectionError, address: PeerAddress) {
        let (counter, quiet) = match error {
            ConnectionError::Header(_) | ConnectionError::Untrusted => {
                (&self.counters.proxy_headers_refused, Some(&self.refused.header))
            }
            ConnectionError::TooMany => {
                (&self.counters.connections_limited_address, Some(&self.refused.address))
            }
            ConnectionError::UnknownName | ConnectionError::Handshake(_) => {
                (&self.counters.handshakes_failed, Some(&self.refused.handshake))
            }
            ConnectionError::TimedOut(what) => {
                let is_refused = *what != watch::BETWEEN_REQUESTS;
                (&self.counters.connections_timed_out, is_refused.then_some(&self.refused.late))
            }
            ConnectionError::Http(error) if error.is_parse() => (&self.counters.requests_malformed, None),
            ConnectionError::Http(_) => return,
        };
        counter.inc();
        if let Some(refused) = quiet.and_then(|quiet| quiet.happened(std::time::Instant::now())) {
            tracing::info!(refused, last = %error, ?address, "connections are refused or cut");
        }
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
    let deadline = Instant::now() + LINGER;
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
