//! The bytes of a connection to an app: as they are, or under TLS.

use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::config::UpstreamKind;
use crate::transport::Socket;

/// A connected socket towards an app.
#[derive(Debug)]
pub(super) enum Link {
    Plain(Socket),
    /// Boxed, since most of it is the session.
    Tls(Box<TlsStream<Socket>>),
}

impl Link {
    /// Whether the app has said nothing, not even the end, as far as the runtime has been told. It costs a system
    /// call only if something came, or may have: what is read to find that out is lost.
    pub(super) fn is_silent(&mut self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_silent(),
            // Tickets for later sessions come between two answers; they are the session's, and it takes them in.
            Self::Tls(stream) => {
                let mut byte = [0];
                let mut buffer = ReadBuf::new(&mut byte);
                Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_pending()
            }
        }
    }

    /// Whether the system itself knows of nothing that has come, not even the end, at this moment. Costs a system call.
    pub(super) fn is_open(&self) -> bool {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let seen = match socket {
            Socket::Tcp(stream) => recv(stream.as_fd(), &mut byte, flags),
            Socket::Unix(stream) => recv(stream.as_fd(), &mut byte, flags),
        };
        seen.is_err_and(|error| error == rustix::io::Errno::AGAIN)
    }

    /// Whether a reset can only mean that what was sent has not all been read. Of a Unix socket the system itself holds
    /// that. Over TCP it means the same for whoever just closes, or is ended; but a program may also reset a connection
    /// after it has read everything. Code on Node has its socket in hand and does (`resetAndDestroy`); code behind WSGI
    /// and ASGI has not, and no server of theirs does it with a request that it has begun. Only on this machine: what
    /// lies in between elsewhere resets as it likes.
    pub(super) fn tells_unread(&self, kind: UpstreamKind) -> bool {
        match self {
            Self::Plain(Socket::Unix(_)) => true,
            Self::Plain(Socket::Tcp(stream)) => {
                kind != UpstreamKind::Node && stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback())
            }
            Self::Tls(_) => false,
        }
    }
}

impl From<Socket> for Link {
    fn from(socket: Socket) -> Self {
        Self::Plain(socket)
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
