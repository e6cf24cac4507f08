//! The bytes of a file on their way to a client.
//!
//! What is in the page cache is read by the worker itself; what would have to wait for a disk is read by a thread that
//! may wait (`RWF_NOWAIT` of preadv2(2) tells the two apart). Where nothing is encrypted, what is in the page cache is not
//! read at all (`transport::DirectFiles`). Invariants: one piece of a file is in memory at a time, of
//! at most [`LARGE`] bytes, and less when many are being sent; only a share of the descriptors is used for files, since
//! one connection of HTTP/2 can ask for hundreds and take none; a file that has become shorter breaks the answer off, since
//! what was promised cannot be sent.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use rustix::process::{Resource, getrlimit};
use tokio::task::{JoinHandle, spawn_blocking};

use super::FilesError;
use crate::transport::{DirectFiles, LONGEST};

/// Files up to this many bytes are read before the head of the answer is written, and go out with it.
pub(super) const SMALL: u64 = 64 * 1024;

/// How many bytes are read at once of a larger one: at the least, a record of TLS and a frame of HTTP/2, and at the most.
/// More than the least pays while the piece stays in the processor's cache on its way from the page cache to the socket.
const LEAST: usize = 16 * 1024;
const LARGE: usize = 128 * 1024;

/// What the pieces of all files that one worker is sending may take together before each new one is the least.
const ALL: usize = 16 * 1024 * 1024;

/// One in this many of the process's descriptors may be a file that is being sent.
const SHARE: u64 = 4;

/// How many files all workers are sending that are still open, and how many they may.
static OPEN: AtomicU64 = AtomicU64::new(0);
static MOST: LazyLock<u64> =
    LazyLock::new(|| getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / SHARE);

/// A place among them.
#[derive(Debug)]
struct Open;

impl Open {
    fn new() -> Result<Self, FilesError> {
        let before = OPEN.fetch_add(1, Ordering::Relaxed);
        // Given back at once if it was one too many.
        let open = Self;
        if before < *MOST { Ok(open) } else { Err(FilesError::Busy) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many files a worker is sending.
#[derive(Debug, Clone, Default)]
pub(super) struct Sending(Rc<Cell<usize>>);

impl Sending {
    /// Together with how one file is to be sent.
    pub(super) fn by<'a>(&'a self, direct: Option<&'a Rc<DirectFiles>>) -> Way<'a> {
        Way { sending: self, direct }
    }

    /// How much to read at once.
    fn room(&self) -> usize {
        let share = (ALL / self.0.get().max(1)).clamp(LEAST, LARGE);
        share - share % LEAST
    }
}

/// How one file is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    sending: &'a Sending,
    direct: Option<&'a Rc<DirectFiles>>,
}

/// The body of an answer that is a file, or parts of one, or nothing.
#[derive(Debug)]
pub struct FileBody(State);

#[derive(Debug)]
enum State {
    /// All of it, and it is here.
    Whole(Bytes),
    Pieces(Box<Pieces>),
}

/// What a body is made of.
#[derive(Debug)]
pub(super) enum Piece {
    /// Text between parts of the file.
    Text(Bytes),
    /// A part of the file; never empty.
    Part(Range<u64>),
}

#[derive(Debug)]
struct Pieces {
    file: Arc<File>,
    rest: VecDeque<Piece>,
    left: u64,
    /// What was given last, whose memory is used again once nobody else holds it.
    given: Option<Bytes>,
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
    sending: Sending,
    direct: Option<Rc<DirectFiles>>,
    _open: Open,
}

/// Why the rest of a file cannot be sent.
#[derive(Debug)]
pub enum FileBodyError {
    /// It has become shorter since its length was told.
    Shorter,
    /// It cannot be read.
    Io(io::Error),
}

impl fmt::Display for FileBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shorter => f.write_str("the file became shorter while it was sent"),
            Self::Io(error) => write!(f, "the file cannot be read: {error}"),
        }
    }
}

impl std::error::Error for FileBodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Shorter => None,
        }
    }
}

impl FileBody {
    /// No bytes.
    pub(super) fn empty() -> Self {
        Self(State::Whole(Bytes::new()))
    }

    /// Bytes that are here.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(State::Whole(bytes))
    }

    /// One part of a file. A small one is read now, if that needs no disk.
    pub(super) fn part(file: File, part: Range<u64>, way: &Way<'_>) -> Result<Self, FilesError> {
        let length = part.end - part.start;
        if length == 0 {
            return Ok(Self::empty());
        }
        // One that came short is looked at again by the body, which says why.
        match (length <= SMALL).then(|| read_small(&file, part.clone())).flatten() {
            Some(bytes) => Ok(Self::whole(bytes)),
            None => Self::pieces(file, [Piece::Part(part)].into(), way),
        }
    }

    /// Several pieces; at least one.
    pub(super) fn pieces(file: File, rest: VecDeque<Piece>, way: &Way<'_>) -> Result<Self, FilesError> {
        let open = Open::new()?;
        let length = |piece: &Piece| match piece {
            Piece::Text(text) => text.len() as u64,
            Piece::Part(part) => part.end - part.start,
        };
        let left = rest.iter().map(length).sum();
        way.sending.0.set(way.sending.0.get() + 1);
        Ok(Self(State::Pieces(Box::new(Pieces {
            file: Arc::new(file),
            rest,
            left,
            given: None,
            reading: None,
            sending: way.sending.clone(),
            direct: way.direct.cloned(),
            _open: open,
        }))))
    }

    /// Whether it ended early because of its file.
    pub fn broke(&self) -> bool {
        matches!(&self.0, State::Pieces(pieces) if pieces.direct.as_ref().is_some_and(|direct| direct.broke()))
    }

    /// How many bytes are still to come.
    pub(super) fn left(&self) -> u64 {
        match &self.0 {
            State::Whole(bytes) => bytes.len() as u64,
            State::Pieces(pieces) => pieces.left,
        }
    }
}

impl Pieces {
    /// The next bytes; never none of them.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, FileBodyError>> {
        if let Some(reading) = &mut self.reading {
            let read = ready!(Pin::new(reading).poll(cx));
            self.reading = None;
            let bytes = read.map_err(io::Error::other).flatten().map_err(FileBodyError::Io)?;
            return Poll::Ready(self.gave(bytes.len()).map(|()| bytes.into()));
        }
        let part = match self.rest.front_mut() {
            Some(Piece::Text(text)) => {
                let text = std::mem::take(text);
                self.rest.pop_front();
                return Poll::Ready(Ok(text));
            }
            Some(Piece::Part(part)) => part.clone(),
            // Not asked for: it is its end.
            None => return Poll::Ready(Ok(Bytes::new())),
        };
        let length = usize::try_from(part.end - part.start).unwrap_or(usize::MAX);
        if let Some(direct) = &self.direct {
            let length = length.min(LONGEST);
            let last = part.start + length as u64 - 1;
            // It would only be read twice, as the connection looks again when it sends it.
            if [part.start, last].into_iter().all(|at| read_now(&self.file, &mut [0], at) == Ok(1)) {
                let bytes = direct.stand_in(self.file.clone(), part.start..last + 1);
                return Poll::Ready(self.gave(length).map(|()| bytes));
            }
        }
        let length = length.min(self.sending.room());
        let mut memory = self.memory(length);
        match read_now(&self.file, &mut memory[..length], part.start) {
            Ok(read) => {
                let memory = memory.freeze();
                let bytes = memory.slice(..read);
                self.given = Some(memory);
                Poll::Ready(self.gave(read).map(|()| bytes))
            }
            // It is not in the page cache, or its file system cannot tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => {
                let file = self.file.clone();
                self.reading = Some(spawn_blocking(move || {
                    let mut bytes = vec![0; length];
                    let read = file.read_at(&mut bytes, part.start)?;
                    bytes.truncate(read);
                    Ok(bytes)
                }));
                self.poll_next(cx)
            }
            Err(error) => Poll::Ready(Err(FileBodyError::Io(error.into()))),
        }
    }

    /// Memory of at least that length: that of the last piece, if it has been written.
    fn memory(&mut self, length: usize) -> BytesMut {
        let free = self.given.take().filter(|given| given.len() >= length);
        let free = free.and_then(|given| given.try_into_mut().ok());
        free.unwrap_or_else(|| BytesMut::zeroed(length))
    }

    fn gave(&mut self, count: usize) -> Result<(), FileBodyError> {
        if count == 0 {
            return Err(FileBodyError::Shorter);
        }
        if let Some(Piece::Part(part)) = self.rest.front_mut() {
            part.start += count as u64;
            if part.is_empty() {
                self.rest.pop_front();
            }
        }
        Ok(())
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.sending.0.set(self.sending.0.get() - 1);
    }
}

/// Reads a small part whole, if that needs no disk.
pub(super) fn read_small(file: &File, part: Range<u64>) -> Option<Bytes> {
    let mut bytes = vec![0; usize::try_from(part.end - part.start).ok()?];
    let read = read_now(file, &mut bytes, part.start).ok()?;
    (read == bytes.len()).then(|| bytes.into())
}

fn read_now(file: &File, bytes: &mut [u8], from: u64) -> Result<usize, Errno> {
    preadv2(file, &mut [IoSliceMut::new(bytes)], from, ReadWriteFlags::NOWAIT)
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = FileBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FileBodyError>>> {
        let pieces = match &mut self.0 {
            State::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            State::Whole(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            State::Pieces(pieces) => pieces,
        };
        let bytes = match ready!(pieces.poll_next(cx)) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%error, "an answer was broken off");
                return Poll::Ready(Some(Err(error)));
            }
        };
        pieces.left -= bytes.len() as u64;
        if pieces.left == 0 {
            // The file is closed, and what it took is free, before its last bytes have been written.
            self.0 = State::Whole(Bytes::new());
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

#[cfg(test)]
mod tests;
