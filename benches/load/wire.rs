//! Sockets that never block: TCP, TLS over TCP, and Unix.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use socket2::{Domain, Socket, Type};

/// The receive buffer of a reader that is to be slow, in bytes; the kernel doubles it.
const SLOW_BUFFER: usize = 4096;

/// The ports that connections come from: those that people seldom listen on.
const PORTS: std::ops::Range<u16> = 16_384..60_000;

/// How many ports are tried for a connection. The next one is free but for chance.
const TRIES: usize = 1000;

/// The place of the next port; each run begins somewhere else.
static NEXT_PORT: LazyLock<AtomicUsize> = LazyLock::new(|| (std::process::id() as usize * 7919).into());

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A socket to a server.
pub(crate) enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<Tls>),
}

/// A TLS session and its socket.
pub(crate) struct Tls {
    socket: TcpStream,
    session: ClientConnection,
}

/// How a connection is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dial {
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// The address to come from; any without it.
    pub(crate) source: Option<Ipv4Addr>,
    /// Whether to take as little as possible when it is not read.
    pub(crate) slow: bool,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let mut found =
            text.to_socket_addrs().map_err(|error| format!("{error}; write HOST:PORT or unix:PATH"))?;
        found.next().map(Self::Tcp).ok_or_else(|| "the name has no address".to_owned())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Wire {
    /// Begins a connection. Over TCP it need not be there yet: writing waits for it, and reading tells if it failed.
    ///
    /// # Errors
    /// If the socket cannot be made, or if nobody listens and that is known at once.
    pub(crate) fn connect(target: &Target, dial: &Dial) -> io::Result<Self> {
        let address = match target {
            Target::Tcp(address) => *address,
            Target::Unix(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_nonblocking(true)?;
                return Ok(Self::Unix(socket));
            }
        };
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if dial.slow {
            socket.set_recv_buffer_size(SLOW_BUFFER)?;
        }
        if let (Some(source), SocketAddr::V4(_)) = (dial.source, address) {
            bind(&socket, source)?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        let socket = TcpStream::from(socket);
        let Some(config) = &dial.tls else { return Ok(Self::Tcp(socket)) };
        let session = ClientConnection::new(Arc::clone(config), ServerName::IpAddress(address.ip().into()));
        Ok(Self::Tls(Box::new(Tls { socket, session: session.map_err(io::Error::other)? })))
    }

    /// Reads once from the socket and hands on what came. Returns whether the connection is still open.
    ///
    /// # Errors
    /// If the connection failed, or TLS did.
    pub(crate) fn receive(
        &mut self,
        scratch: &mut [u8],
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let read = match self {
            Self::Tcp(socket) => socket.read(scratch),
            Self::Unix(socket) => socket.read(scratch),
            Self::Tls(tls) => return tls.receive(scratch, take),
        };
        match now(read)? {
            Some(0) => Ok(false),
            Some(length) => take(&scratch[..length]).map(|()| true),
            None => Ok(true),
        }
    }

    /// Writes what the socket takes and removes it from `out`.
    ///
    /// # Errors
    /// If the connection failed.
    pub(crate) fn send(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let written = match self {
            Self::Tcp(_) | Self::Unix(_) if out.is_empty() => return Ok(()),
            Self::Tcp(socket) => socket.write(out),
            Self::Unix(socket) => socket.write(out),
            Self::Tls(tls) => return tls.send(out),
        };
        if let Some(length) = now(written)? {
            out.drain(..length);
        }
        Ok(())
    }

    /// Whether TLS has something to send.
    pub(crate) fn wants_write(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.session.wants_write())
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
            Self::Tls(tls) => tls.socket.as_fd(),
        }
    }
}

impl Tls {
    fn receive(
        &mut self,
        scratch: &mut [u8],
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        if now(self.session.read_tls(&mut self.socket))?.is_none() {
            return Ok(true);
        }
        self.session.process_new_packets().map_err(io::Error::other)?;
        loop {
            match now(self.session.reader().read(scratch)) {
                Ok(Some(0)) => return Ok(false),
                Ok(Some(length)) => take(&scratch[..length])?,
                Ok(None) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !out.is_empty() {
            let length = self.session.writer().write(out)?;
            out.drain(..length);
        }
        while self.session.wants_write() && now(self.session.write_tls(&mut self.socket))?.is_some() {}
        Ok(())
    }
}

/// Binds a socket to an address and a port of our own choice. The kernel's choice takes ever longer the more connections
/// of earlier runs it still remembers, up to milliseconds each.
fn bind(socket: &Socket, source: Ipv4Addr) -> io::Result<()> {
    // A port that only such a connection has is free.
    socket.set_reuse_address(true)?;
    for _ in 0..TRIES {
        let place = NEXT_PORT.fetch_add(1, Ordering::Relaxed) % PORTS.len();
        let port = PORTS.start + u16::try_from(place).unwrap_or(0);
        match socket.bind(&SocketAddr::from((source, port)).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    Err(io::Error::other("no port is free to come from"))
}

/// None if the socket is not ready. A socket that is still connecting says that in its own way.
fn now(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
