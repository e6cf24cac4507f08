//! Another process of the program in this one's place, while clients come and go: what the new one does.
//!
//! Invariant: it changes nothing that the old one could not go on with, until that says that this is the main process.

use std::io;
use std::os::unix::net::UnixStream;

use bytes::BytesMut;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use crate::handover::{Claim, Gone, Hearing, Letter, Predecessor, Word};
use crate::publish::{self, Publisher};
use crate::shutdown::{Signal, Stage};

/// Says that everything is well so far, and waits for the store.
pub(super) fn wait_for_store(predecessor: Option<&mut Predecessor>) -> Result<(), Gone> {
    let Some(predecessor) = predecessor else { return Ok(()) };
    predecessor.say(Word::Prepared)?;
    predecessor.hear(Word::Store, || false)
}

/// Says that the store is open, and waits for the word to begin; within a runtime. Publishers wait until this is the main
/// process: what was published before could not be taken back.
pub(super) fn wait_to_begin(
    predecessor: Option<Predecessor>,
    publisher: &Publisher,
    signal: &Signal,
) -> io::Result<Option<Hearing>> {
    let Some(mut predecessor) = predecessor else { return Ok(None) };
    publisher.way().shut();
    predecessor.say(Word::Opened).map_err(io::Error::other)?;
    let is_over = || signal.stage() > Stage::Running;
    predecessor.hear(Word::Go, is_over).map_err(io::Error::other)?;
    predecessor.go_on().map(Some)
}

/// Takes over when all workers accept, of which `all_open` tells by its end, and then tells of it by the end of `main`.
/// Goes on until the other process has ended: it hands over what comes to it. Without one there is nothing to take.
pub(super) async fn take_over(
    hearing: Option<Hearing>,
    mut all_open: mpsc::Receiver<()>,
    (claim, publisher): (Claim, Publisher),
    main: oneshot::Sender<()>,
) {
    // Nobody sends.
    let _ = all_open.recv().await;
    let Some(hearing) = hearing else { return };
    // It fails when the other one is gone, and so does what follows.
    let _ = hearing.say(Word::Serving);
    while next(&hearing).await.is_some_and(|letter| letter.word != Word::Main) {}
    claim.take();
    publisher.way().open();
    drop(main);
    // Should this one be replaced in its turn, it is there for as long as the other one hands anything over.
    let _guest = publisher.way().connected();
    let mut begun = BytesMut::new();
    while let Some(letter) = next(&hearing).await {
        if letter.word == Word::Begun {
            begun.extend_from_slice(&letter.text);
            continue;
        }
        let Some(stream) = letter.socket.map(UnixStream::from) else { continue };
        let stream = stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
        match (letter.word, stream) {
            (Word::Relay, Ok(stream)) => _ = spawn_local(publish::take_in(publisher.clone(), stream)),
            (Word::Lines, Ok(stream)) => {
                spawn_local(publish::go_on(publisher.clone(), stream, std::mem::take(&mut begun)));
            }
            (_, Ok(_)) => {}
            (_, Err(error)) => tracing::warn!(%error, "upgrade: a publisher's connection is lost"),
        }
    }
}

/// The next letter; none when there will be no more.
async fn next(hearing: &Hearing) -> Option<Letter> {
    hearing.next().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "upgrade: the old process is not understood");
        None
    })
}
