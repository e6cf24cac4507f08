//! A connection that client and app have for themselves: WebSocket, after the app's 101.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::link::Link;
use super::standing::Lease;
use crate::transport::Transport;

/// The buffer of each direction, in bytes; it is all that is held of what passes.
const BUFFER: usize = 8 * 1024;

/// How long one side may go on after the other has ended: a closing handshake, not a conversation. Without it a
/// client that is gone without a word would hold its tunnel for ever.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The app's side of a tunnel: its connection after the 101, and what it said right behind it.
#[derive(Debug)]
pub struct Switched {
    link: Link,
    early: Bytes,
    /// Its turn at the server, as long as it is open.
    lease: Lease,
}

impl Switched {
    pub(super) fn new(link: Link, early: Bytes, lease: Lease) -> Self {
        Self { link, early, lease }
    }
}

/// Passes bytes both ways until both sides have ended, one of them has had its last words, or one breaks. `early` is
/// what the client sent behind its request.
pub async fn tunnel(client: Transport, early: Bytes, app: Switched) -> io::Result<()> {
    let Switched { link, early: answered, lease } = app;
    let passed = pass(client, early, link, answered).await;
    drop(lease);
    passed
}

async fn pass<C, A>(client: C, said: Bytes, app: A, answered: Bytes) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    A: AsyncRead + AsyncWrite + Unpin,
{
    let ended = Rc::new(Notify::new());
    let mut client = Side { early: said, inner: client, ended: ended.clone() };
    let mut app = Side { early: answered, inner: app, ended: ended.clone() };
    tokio::select! {
        passed = copy_bidirectional_with_sizes(&mut client, &mut app, BUFFER, BUFFER) => passed.map(drop),
        () = async {
            ended.notified().await;
            sleep(LAST_WORDS).await;
        } => Ok(()),
    }
}

/// A side some of whose bytes may have been read already, and whose end is told.
struct Side<T> {
    early: Bytes,
    inner: T,
    ended: Rc<Notify>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Side<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            let room = buffer.remaining();
            ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
            if room > 0 && buffer.remaining() == room {
                self.ended.notify_one();
            }
            return Poll::Ready(Ok(()));
        }
        let count = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early[..count]);
        self.early.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Side<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_side_whose_other_has_ended_has_its_last_words_and_no_more() {
        for app_ends in [false, true] {
            let (mut client, ours) = duplex(64);
            let (theirs, mut app) = duplex(64);
            let passing =
                async { pass(ours, Bytes::from_static(b"early"), theirs, Bytes::new()).await.unwrap() };
            let talking = async {
                let mut early = [0; 5];
                app.read_exact(&mut early).await.unwrap();
                // As long as both are there, nobody is hurried.
                sleep(LAST_WORDS * 100).await;
                let (leaving, staying) =
                    if app_ends { (&mut app, &mut client) } else { (&mut client, &mut app) };
                leaving.shutdown().await.unwrap();
                let begun = Instant::now();
                assert_eq!(staying.read(&mut early).await.unwrap(), 0);
                sleep(LAST_WORDS / 2).await;
                staying.write_all(b"bye").await.unwrap();
                let mut said = [0; 3];
                leaving.read_exact(&mut said).await.unwrap();
                // It does not end by itself.
                assert_eq!(leaving.read(&mut said).await.unwrap(), 0);
                begun.elapsed()
            };
            let ((), waited) = tokio::join!(passing, talking);
            assert_eq!(waited, LAST_WORDS);
        }
    }
}
