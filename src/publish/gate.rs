//! The gate: who is let in to publish, at which door, and by which protocol.
//!
//! Invariants: an error at one connection or in accepting one never ends a door; each door holds a bounded number of
//! connections, so that one cannot starve the other; over the network nothing is answered without the token.

use std::io;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::UCred;
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::config::Secret;
use crate::publish::refusal::{Refusal, RefusalKind};
use crate::publish::{PublishSocket, Publisher, Terms, Way, door, ndjson};
use crate::shutdown::{Signal, Stage};
use crate::transport::{Listen, Spares, admit};

/// Descriptors held back, so that publishers are let in, and health is told, when traffic has taken all
/// others.
const SPARES: usize = 8;

/// Who comes to the doors, in messages.
const WHO: &str = "publishers";

/// How much is read to tell the protocols apart, in bytes; usually the whole of a first publication.
const FIRST_READ: usize = 4096;

/// Takes the listeners into the current runtime; what is returned lets publishers in, at the Unix socket and over HTTP
/// on TCP with a token, until everything stops. It is to run within a `LocalSet`. Dropping it ends every connection
/// and removes the socket's file.
///
/// # Errors
/// If a listener cannot be registered with the runtime.
pub fn serve(
    publisher: Publisher,
    socket: Option<PublishSocket>,
    http: Option<(std::net::TcpListener, Secret)>,
    mut signal: Signal,
) -> io::Result<impl Future<Output = ()>> {
    let most = publisher.bounds().max_publishers;
    let socket = socket.map(|socket| Ok::<_, io::Error>((socket.listener()?, socket))).transpose()?;
    let http = http
        .map(|(listener, token)| {
            listener.set_nonblocking(true)?;
            Ok::<_, io::Error>((TcpListener::from_std(listener)?, token))
        })
        .transpose()?;
    let allow_uids = socket.as_ref().and_then(|(_, socket)| socket.allow_uids().cloned());
    publisher.let_in(Terms { token: http.as_ref().map(|(_, token)| token.clone()), allow_uids });
    // Before the first client could take them.
    let spares = Rc::new(Spares::new(SPARES));
    Ok(async move {
        let unix = async {
            // The socket's file is removed when this is dropped.
            let Some((listener, _socket)) = &socket else {
                return std::future::pending().await;
            };
            let listener = &WhileOpen { listener, way: publisher.way() };
            admit(listener, most, &spares, WHO, |stream: UnixStream| {
                let allowed = stream.peer_cred().map(|peer| check(&publisher.terms(), &peer));
                enter_unix(publisher.clone(), allowed, stream)
            })
            .await;
        };
        let tcp = async {
            let Some((listener, _)) = &http else {
                return std::future::pending().await;
            };
            let listener = &WhileOpen { listener, way: publisher.way() };
            admit(listener, most, &spares, WHO, |stream| enter_tcp(publisher.clone(), stream)).await;
        };
        tokio::select! {
            () = unix => {}
            () = tcp => {}
            () = signal.reached(Stage::Stopped) => {}
        }
    })
}

/// Goes on with the connection of a publisher who sends lines to a process that this one has replaced; `begun` was read
/// from it there. Runs within a `LocalSet`.
pub async fn go_on(publisher: Publisher, stream: UnixStream, begun: BytesMut) {
    let _guest = publisher.way().connected();
    note(ndjson::converse(&publisher, stream, begun).await);
}

/// Listens while publishers are let in. Meanwhile they wait to be accepted, here or by the process that takes over.
struct WhileOpen<'l, L> {
    listener: &'l L,
    way: &'l Way,
}

impl<L: Listen> Listen for WhileOpen<'_, L> {
    type Stream = L::Stream;

    async fn next(&self) -> io::Result<L::Stream> {
        loop {
            self.way.opened().await;
            tokio::select! {
                stream = self.listener.next() => return stream,
                () = self.way.closed() => {}
            }
        }
    }
}

/// Whether the process at the other end may publish.
fn check(terms: &Terms, peer: &UCred) -> Result<(), Refusal> {
    let uid = peer.uid();
    if terms.allow_uids.as_ref().is_none_or(|uids| uids.contains(&uid)) {
        return Ok(());
    }
    Err(Refusal::new(RefusalKind::Forbidden, format!("user id {uid} is not in allow_uids")))
}

async fn enter_unix(publisher: Publisher, allowed: io::Result<Result<(), Refusal>>, mut stream: UnixStream) {
    let _guest = publisher.way().connected();
    let ended = async {
        if let Err(refusal) = allowed? {
            publisher.tell(&refusal);
            stream.write_all(&refusal.to_json()).await?;
            stream.write_all(b"\n").await?;
            return stream.shutdown().await;
        }
        let mut begun = BytesMut::with_capacity(FIRST_READ);
        if stream.read_buf(&mut begun).await? == 0 {
            return Ok(());
        }
        if begun.starts_with(b"{") {
            ndjson::converse(&publisher, stream, begun).await
        } else {
            door::serve(publisher, false, stream, begun.freeze()).await
        }
    };
    note(ended.await);
}

async fn enter_tcp(publisher: Publisher, stream: TcpStream) {
    let _guest = publisher.way().connected();
    let ended = async {
        stream.set_nodelay(true)?;
        door::serve(publisher, true, stream, Bytes::new()).await
    };
    note(ended.await);
}

/// A connection that breaks is the peer's affair, and of interest only to who looks for it.
fn note(ended: io::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a publisher's connection broke");
    }
}
