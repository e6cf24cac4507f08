//! A connection that client and app have for themselves: WebSocket, after the app's 101.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use crate::transport::Transport;

/// The buffer of each direction, in bytes; it is all that is held of what passes.
const BUFFER: usize = 8 * 1024;

/// Passes bytes both ways until both sides have ended or one breaks. `early` is what the client sent behind its
/// request. Returns the bytes that went to the app and to the client.
pub async fn tunnel(client: Transport, early: Bytes, app: OnUpgrade) -> io::Result<(u64, u64)> {
    let app = app.await.map_err(io::Error::other)?;
    let mut client = Early { early, client };
    copy_bidirectional_with_sizes(&mut client, &mut TokioIo::new(app), BUFFER, BUFFER).await
}

/// A client some of whose bytes have been read already.
struct Early {
    early: Bytes,
    client: Transport,
}

impl AsyncRead for Early {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.client).poll_read(cx, buffer);
        }
        let count = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early[..count]);
        self.early.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Early {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.client).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_shutdown(cx)
    }
}
