//! The bytes of a client's connection: over TCP or a Unix socket, plain or under TLS.
//!
//! Besides the usual asynchronous reading and writing, a [`Transport`] can be written to at once, outside any task
//! ([`Transport::send_now`]): that is how one thread serves its parked streams without waking a task for each.

mod admission;
mod spare;

use std::io::{self, IoSlice, Write as _};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, recv};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

pub use admission::{Listen, admit};
pub use spare::{Spares, lacks_descriptors};
mod direct;

pub use direct::{DirectFiles, LONGEST};

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Socket {
    /// Whether nothing has come, not even the end, as far as the runtime has been told. It costs a system call only
    /// if something came, or may have: what is read to find that out is lost.
    pub fn is_silent(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::Unix(stream) => stream.try_read(&mut byte),
        };
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Waits for bytes and copies what has come, which stays to be read; 0 is the end.
    pub async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let seen = match self {
                Self::Tcp(stream) => {
                    stream.readable().await?;
                    stream.try_io(Interest::READABLE, || peek(stream, bytes))
                }
                Self::Unix(stream) => {
                    stream.readable().await?;
                    stream.try_io(Interest::READABLE, || peek(stream, bytes))
                }
            };
            match seen {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                seen => return seen,
            }
        }
    }

    /// Reads as many bytes as `bytes` holds. They must have been seen by [`Socket::peek`].
    pub fn read_seen(&self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let read = match self {
                Self::Tcp(stream) => stream.try_read(bytes)?,
                Self::Unix(stream) => stream.try_read(bytes)?,
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes = &mut bytes[read..];
        }
        Ok(())
    }

    /// Lets the kernel hold no more than so many bytes that are not on their way yet. What it holds for a reader who does
    /// not read is in nobody's count: without this it is as much as it may grow a socket's buffer to, some megabytes.
    fn hold_unsent(&self, bytes: u32) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).set_tcp_notsent_lowat(bytes),
            // Its buffer does not grow.
            Self::Unix(_) => Ok(()),
        }
    }

    /// Has the kernel throw away what it holds when the socket is closed, and reset the connection.
    fn reset_on_close(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_zero_linger(),
            Self::Unix(_) => Ok(()),
        }
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Unix(stream) => stream.try_write_vectored(slices),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }
}

fn peek(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<usize> {
    let (seen, _) = recv(socket, bytes, RecvFlags::PEEK)?;
    Ok(seen)
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

/// A client's connection.
#[derive(Debug)]
pub enum Transport {
    /// As it is.
    Plain(Socket),
    /// Under TLS. Boxed, since most of it is the session.
    Tls(Box<TlsStream<Socket>>),
}

impl Transport {
    /// Lets the kernel hold no more than so many bytes that are not on their way to the client yet.
    pub fn hold_unsent(&self, bytes: u32) -> io::Result<()> {
        self.socket().hold_unsent(bytes)
    }

    /// Has the connection reset when it is closed, and what the client has not got thrown away at once: else the kernel
    /// would hold it for minutes for one who does not read.
    pub fn reset_on_close(&self) -> io::Result<()> {
        self.socket().reset_on_close()
    }

    /// Whether it is under TLS.
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Writes what the socket takes at this moment and returns how much of `slices` that was; 0 if it takes none.
    /// Under TLS, what was taken may wait in the session: see [`Transport::is_flushed`].
    pub fn send_now(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => none_if_blocked(socket.try_write_vectored(slices)),
            Self::Tls(stream) => {
                let (socket, session) = stream.get_mut();
                if !flush_session(socket, session)? {
                    return Ok(0);
                }
                let taken = session.writer().write_vectored(slices)?;
                flush_session(socket, session)?;
                Ok(taken)
            }
        }
    }

    /// Whether everything taken has gone to the socket.
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(stream) => !stream.get_ref().1.wants_write(),
        }
    }

    /// Waits until the socket takes more and nothing waits in the session.
    pub fn poll_sendable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_write_ready(cx),
            Self::Tls(stream) => {
                let (socket, session) = stream.get_mut();
                loop {
                    ready!(socket.poll_write_ready(cx))?;
                    if flush_session(socket, session)? {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }

    /// Reads and throws away whatever comes, until the client closes its side (`Ok`) or the connection breaks.
    /// `budget` is how many bytes it may still send; one byte more is an error.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>, budget: &mut u32) -> Poll<io::Result<()>> {
        let mut bytes = [std::mem::MaybeUninit::uninit(); 512];
        loop {
            let mut buffer = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut *self).poll_read(cx, &mut buffer))?;
            let read = u32::try_from(buffer.filled().len()).unwrap_or(u32::MAX);
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            *budget = budget
                .checked_sub(read)
                .ok_or_else(|| io::Error::other("the client sends what nobody reads"))?;
        }
    }
}

/// Writes the session's records as far as the socket takes them. Says whether all are gone.
fn flush_session(socket: &mut Socket, session: &mut rustls::ServerConnection) -> io::Result<bool> {
    while session.wants_write() {
        match session.write_tls(&mut Now(socket)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// A socket written to at once or not at all.
struct Now<'s>(&'s Socket);

impl io::Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn none_if_blocked(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

macro_rules! delegate {
    ($kind:ty { $($variant:ident),+ }) => {
        impl AsyncRead for $kind {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() { $(Self::$variant(inner) => Pin::new(inner).poll_read(cx, buffer),)+ }
            }
        }

        impl AsyncWrite for $kind {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() { $(Self::$variant(inner) => Pin::new(inner).poll_write(cx, bytes),)+ }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() { $(Self::$variant(inner) => Pin::new(inner).poll_write_vectored(cx, slices),)+ }
            }

            fn is_write_vectored(&self) -> bool {
                match self { $(Self::$variant(inner) => inner.is_write_vectored(),)+ }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $(Self::$variant(inner) => Pin::new(inner).poll_flush(cx),)+ }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $(Self::$variant(inner) => Pin::new(inner).poll_shutdown(cx),)+ }
            }
        }
    };
}

delegate!(Socket { Tcp, Unix });
delegate!(Transport { Plain, Tls });
