//! Listening sockets: bound before anything runs, accepted from for ever.

mod inherited;
mod socket_file;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::config::Endpoint;
use crate::handover::{Claim, Heir, Inheritance};
use crate::http::PeerAddress;
use crate::limits::Quiet;
use crate::metrics::Counters;
use crate::systemd::Passed;
use crate::transport::{Socket, Spares, lacks_descriptors};

pub use socket_file::SocketFile;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// So many connections are accepted before other tasks get their turn. Each is a task that is ready at once, and whoever
/// has something to deliver waits behind those that are: with this many for half a millisecond, not for thousands when
/// thousands come back at once.
const ACCEPTS_A_TURN: u32 = 8;

/// How long a listener rests after an error of `accept`: doubled up to the second.
const REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(1);

/// A client whose data is not acknowledged for this long has gone without a word.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Clients of a Unix socket listener are whoever its folder lets in, as with other servers.
const UNIX_MODE: u32 = 0o666;

/// Why a listener could not be made.
#[derive(Debug)]
pub struct BindError {
    endpoint: Endpoint,
    cause: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, cause } = self;
        match cause.kind() {
            io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {endpoint}: it is in use by another process; stop that one or choose another address"
                )
            }
            io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "cannot listen on {endpoint}: permission denied; ports below 1024 need CAP_NET_BIND_SERVICE"
                )
            }
            _ => write!(f, "cannot listen on {endpoint}: {cause}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// A bound address with one socket a worker: of their own over TCP, so that the kernel spreads connections; shared
/// over a Unix socket. There may be more of a process that had more workers.
#[derive(Debug)]
pub struct Bound {
    /// The address it is bound to; the port is the one that the system chose if 0 was asked for.
    pub endpoint: Endpoint,
    sockets: Vec<Unaccepted>,
    file: Option<SocketFile>,
}

/// A listening socket that no runtime knows yet.
#[derive(Debug)]
pub enum Unaccepted {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix.
    Unix(StdUnixListener),
}

impl AsFd for Unaccepted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Bound {
    /// Binds an address for a number of workers. `[::]` takes the clients of IPv4 too, as the system has it, unless one
    /// of `others` is for those of its port: users of nginx write both. `own` are the addresses that this process has
    /// already: one of the same port is not taken for another process's. Sockets that it was started with for this address
    /// are taken instead.
    pub fn bind<'a>(
        heir: Heir,
        endpoint: &Endpoint,
        (others, own): (impl IntoIterator<Item = &'a Endpoint>, impl IntoIterator<Item = &'a Endpoint>),
        inherited: &Inheritance,
        workers: usize,
    ) -> Result<Self, BindError> {
        let handed = inherited.take(heir, &endpoint.to_string());
        let bound = match endpoint {
            _ if !handed.is_empty() => inherited::handed(endpoint, handed, inherited.claim(), workers),
            Endpoint::Tcp(address) => {
                let only_v6 = address.is_ipv6() && others.into_iter().any(|other| is_v4_of(other, *address));
                let port = |endpoint: &Endpoint| match endpoint {
                    Endpoint::Tcp(address) => Some(address.port()),
                    Endpoint::Unix(_) | Endpoint::Inherited(_) => None,
                };
                let is_beside_own = own.into_iter().any(|own| port(own) == Some(address.port()));
                bind_tcp(*address, only_v6, is_beside_own, workers)
            }
            Endpoint::Unix(path) => bind_unix(path, inherited.claim(), workers),
            Endpoint::Inherited(name) => inherited.sockets().named(name).and_then(|socket| {
                let (endpoint, sockets) = inherited::shared(name, socket, workers)?;
                Ok(Self { endpoint, sockets, file: None })
            }),
        };
        bound.map_err(|cause| BindError { endpoint: endpoint.clone(), cause })
    }

    /// The sockets, and what removes the file of a Unix socket when it is dropped.
    pub fn into_parts(self) -> (Vec<Unaccepted>, Option<SocketFile>) {
        (self.sockets, self.file)
    }
}

/// Whether an endpoint is an IPv4 address with the port of another address, which is no port yet if it is 0.
fn is_v4_of(endpoint: &Endpoint, other: SocketAddr) -> bool {
    let port = other.port();
    matches!(endpoint, Endpoint::Tcp(address) if address.is_ipv4() && address.port() == port && port != 0)
}

/// Binds a TCP address that one thread alone accepts from, unless the process was started with a socket for it.
pub fn bind_one(
    address: SocketAddr,
    heir: Heir,
    inherited: &Inheritance,
) -> Result<std::net::TcpListener, BindError> {
    let bind = || {
        if let Some(Passed::Tcp(socket)) = inherited.take(heir, &address.to_string()).pop() {
            return Ok(socket);
        }
        let socket = tcp_socket(address, false, false)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|cause| BindError { endpoint: Endpoint::Tcp(address), cause })
}

fn bind_tcp(address: SocketAddr, only_v6: bool, is_beside_own: bool, workers: usize) -> io::Result<Bound> {
    if address.port() != 0 && !is_beside_own {
        // With SO_REUSEPORT a second Sidestream would silently share the port; without it this bind finds it taken.
        tcp_socket(address, false, only_v6)?.bind(&SockAddr::from(address))?;
    }
    let mut address = address;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = tcp_socket(address, true, only_v6)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        // Port 0 has become one that nobody else has.
        address = socket.local_addr()?.as_socket().unwrap_or(address);
        sockets.push(Unaccepted::Tcp(socket.into()));
    }
    Ok(Bound { endpoint: Endpoint::Tcp(address), sockets, file: None })
}

fn tcp_socket(address: SocketAddr, reuse_port: bool, only_v6: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if only_v6 {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // Connections of an earlier process that are still closing must not keep us from starting.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    // Inherited by every accepted connection, so that no call is needed for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(socket)
}

fn bind_unix(path: &Path, claim: &Claim, workers: usize) -> io::Result<Bound> {
    remove_stale(path)?;
    let listener = StdUnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(UNIX_MODE))?;
    listener.set_nonblocking(true)?;
    let file = SocketFile::new(path, claim)?;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(Unaccepted::Unix(listener.try_clone()?));
    }
    sockets.push(Unaccepted::Unix(listener));
    Ok(Bound { endpoint: Endpoint::Unix(path.to_owned()), sockets, file: Some(file) })
}

/// Removes the socket that a process left behind which is no more. One that answers is somebody's.
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file of that name that is no socket",
        ));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

/// How many connections may be open, over all workers.
#[derive(Debug, Clone)]
pub struct ConnectionLimit {
    open: Arc<AtomicUsize>,
    max: Arc<AtomicUsize>,
    refused: Arc<Quiet>,
}

impl ConnectionLimit {
    /// A limit.
    pub fn new(max: usize) -> Self {
        Self { open: Arc::default(), max: Arc::new(AtomicUsize::new(max)), refused: Arc::default() }
    }

    /// Makes it another one for new connections. Those that are open stay, be they more.
    pub fn set(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Counts that one was refused, and says so in the log, at most once a second.
    fn tell(&self, counters: &Counters) {
        counters.connections_refused.inc();
        if let Some(refused) = self.refused.happened(Instant::now()) {
            let max = self.max.load(Ordering::Relaxed);
            tracing::warn!(refused, max, "connections are refused: there are max_connections");
        }
    }

    fn enter(&self) -> Option<Permit> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        // Given back at once if it was one too many.
        let permit = Permit(self.open.clone());
        (before < self.max.load(Ordering::Relaxed)).then_some(permit)
    }
}

/// The right to one connection, given back when it is dropped.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that a worker accepts from.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener),
}

impl Listener {
    /// The same socket once more.
    ///
    /// # Errors
    /// If there is no descriptor for it.
    pub fn share(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Self::Unix(listener) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// Takes a socket into the current runtime.
    pub fn new(socket: Unaccepted) -> io::Result<Self> {
        Ok(match socket {
            Unaccepted::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)?),
            Unaccepted::Unix(socket) => Self::Unix(UnixListener::from_std(socket)?),
        })
    }

    async fn accept(&self) -> io::Result<(Socket, PeerAddress)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((stream.into(), PeerAddress::Ip(address)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((stream.into(), PeerAddress::Unix))
            }
        }
    }

    /// Accepts for ever. No error ends it: most pass (a client that is gone again, no descriptors left), and those
    /// that do not pass are still better met by trying on than by silence. Clients wait while descriptors are short for
    /// a moment; when that lasts, they are turned away.
    pub async fn accept_all(
        &self,
        limit: &ConnectionLimit,
        counters: &Counters,
        mut take: impl FnMut(Socket, PeerAddress, Permit),
    ) {
        let spare = Spares::new(1);
        let mut rest = REST;
        let mut turn = 0;
        loop {
            match self.accept().await {
                Ok((socket, address)) => {
                    rest = REST;
                    turn += 1;
                    counters.connections_accepted.inc();
                    match limit.enter() {
                        Some(permit) => take(socket, address, permit),
                        // Closed at once: a client that is told so by a page would cost what is lacking.
                        None => limit.tell(counters),
                    }
                }
                Err(error) => {
                    counters.accept_errors.inc();
                    tracing::warn!(%error, "cannot accept a connection");
                    if rest == LONGEST_REST && lacks_descriptors(&error) {
                        let count = self.turn_away(&spare).await;
                        counters.connections_refused.add(count);
                    }
                    sleep(rest).await;
                    rest = (rest * 2).min(LONGEST_REST);
                }
            }
            if turn >= ACCEPTS_A_TURN {
                turn = 0;
                yield_now().await;
            }
        }
    }

    /// Accepts the connections that wait, and no further ones.
    pub async fn accept_waiting(
        &self,
        limit: &ConnectionLimit,
        counters: &Counters,
        mut take: impl FnMut(Socket, PeerAddress, Permit),
    ) {
        while let Ok(Ok((socket, address))) = timeout(Duration::ZERO, self.accept()).await {
            counters.connections_accepted.inc();
            match limit.enter() {
                Some(permit) => take(socket, address, permit),
                None => limit.tell(counters),
            }
        }
    }

    /// Closes the connections that wait, with the one descriptor that was held back for it. Says how many they were.
    async fn turn_away(&self, spare: &Spares) -> u64 {
        let mut count = 0;
        if spare.release() {
            while count < BACKLOG.unsigned_abs().into()
                && let Ok(Ok(_)) = timeout(Duration::ZERO, self.accept()).await
            {
                count += 1;
            }
        }
        spare.restore();
        count
    }
}
