//! Accepting on the listeners that are not traffic's: those of publishers and of the operator.
//!
//! Invariants: no error of one connection, or in accepting one, ends the listener; a bounded number of connections is
//! held; and some get in when traffic has taken all descriptors.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::{Spares, lacks_descriptors};

/// The first pause after an error in accepting, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest such pause. An error like "too many open files" lasts until something is closed.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A listener of either kind.
pub trait Listen {
    /// What it gives.
    type Stream;

    /// The next connection.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>>;
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Accepts for ever and serves each connection in a task of its own, within a `LocalSet`. Those over `most` are closed at
/// once. While the process has no descriptors, those of `spares` are used. `who` says in messages who comes.
pub async fn admit<L, F>(
    listener: &L,
    most: usize,
    spares: &Rc<Spares>,
    who: &str,
    serve: impl Fn(L::Stream) -> F,
) where
    L: Listen,
    F: Future<Output = ()> + 'static,
{
    let mut served = JoinSet::new();
    let mut pause = FIRST_PAUSE;
    let mut full = false;
    loop {
        let stream = match listener.next().await {
            Ok(stream) => stream,
            Err(error) if lacks_descriptors(&error) && spares.release() => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept {who}; trying again in {pause:?}");
                tokio::time::sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
                continue;
            }
        };
        pause = FIRST_PAUSE;
        while served.try_join_next().is_some() {}
        let over = served.len() >= most;
        if over && !full {
            // Once each time, not for each connection.
            tracing::warn!("{most} {who} are connected; further ones are turned away");
        }
        full = over;
        if !over {
            let (serving, spares) = (serve(stream), spares.clone());
            served.spawn_local(async move {
                serving.await;
                // What it had is there again, for the next one and not for traffic.
                spares.restore();
            });
        }
    }
}
