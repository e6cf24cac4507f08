//! Parts of files that go from the page cache to a client's socket without being read (sendfile(2)).
//!
//! hyper writes bytes, and knows no files. So it is given bytes that stand for a part of a file: all of them lie in one
//! stretch of memory that is used for nothing else, and the connection, which sees every slice that hyper writes, knows
//! them by where they lie, whatever is in them, and sends the part itself. hyper never copies what a body gives it when
//! the socket takes several slices at once, which ours does. What is on its way is still the file's: who changes a file in
//! its place, instead of putting another one there, changes that too, as with every server that sends so.
//!
//! Invariants: a stand-in is only taken for the part that is next, of which each begins at a place of its own, and of that
//! for the very bytes that are due; whatever else comes, and whatever was not written when all has been
//! ([`DirectFiles::all_sent`]), breaks the connection. No worker waits for a disk: what is not in memory when it is due
//! is brought there by a thread that may wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::future::Future as _;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::fs::sendfile;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::io::Interest;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Socket;

/// The longest part that one piece of a body can stand for, in bytes. Nothing is held for it, but others wait while it
/// is sent.
pub const LONGEST: usize = 512 * 1024;

/// How many parts begin at places of their own, before the first place is used again. A connection has only a few at once.
const PLACES: usize = 4096;

/// What stands for parts. Never touched, so the system gives it no memory.
static STAND_IN: LazyLock<Box<[u8]>> = LazyLock::new(|| vec![0; LONGEST + PLACES].into());

/// How many bytes are copied at once if a file system knows no sendfile.
const COPIED: usize = 16 * 1024;

/// At what distances it is asked whether a file is in memory, in bytes: what the system reads ahead by itself.
const STEP: usize = 128 * 1024;

/// The parts of files that are to be sent on one connection, in their order.
#[derive(Debug, Default)]
pub struct DirectFiles {
    waiting: RefCell<VecDeque<Part>>,
    /// How many there have been.
    count: Cell<usize>,
    broke: Cell<bool>,
}

/// What is left of a part.
#[derive(Debug)]
struct Part {
    file: Arc<File>,
    rest: Range<u64>,
    /// Where in the memory the byte lies that stands for the next.
    place: usize,
    /// Up to where it has just been brought into memory.
    warm: u64,
    warming: Option<JoinHandle<io::Result<usize>>>,
}

impl DirectFiles {
    /// Gives bytes to be written in the place of a part, which is at most [`LONGEST`] long.
    pub fn stand_in(&self, file: Arc<File>, part: Range<u64>) -> Bytes {
        let length = usize::try_from(part.end - part.start).map_or(LONGEST, |length| length.min(LONGEST));
        let place = self.count.get() % PLACES;
        self.count.set(place + 1);
        let rest = part.start..part.start + length as u64;
        self.waiting.borrow_mut().push_back(Part { file, rest, place, warm: 0, warming: None });
        Bytes::from_static(&STAND_IN[place..place + length])
    }

    /// How many of the slices come before the first that stands for a part; none if none does.
    pub fn before_stand_in(slices: &[IoSlice<'_>]) -> Option<usize> {
        slices.iter().position(|slice| place_of(slice).is_some())
    }

    /// Whether a file could not be sent as it was promised.
    pub fn broke(&self) -> bool {
        self.broke.get()
    }

    /// To be asked when all that was given to the connection has been written.
    ///
    /// # Errors
    /// If a stand-in has not come: then its bytes went out as they are.
    pub fn all_sent(&self) -> io::Result<()> {
        if self.waiting.borrow().is_empty() { Ok(()) } else { Err(self.out_of_step()) }
    }

    /// Sends what the socket takes of the part that these bytes stand for.
    pub fn poll_send(
        &self,
        cx: &mut Context<'_>,
        socket: &Socket,
        stand_in: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut waiting = self.waiting.borrow_mut();
        let Some(part) = waiting.front_mut().filter(|part| part.is_stood_for_by(stand_in)) else {
            return Poll::Ready(Err(self.out_of_step()));
        };
        let sent = loop {
            ready!(socket.poll_write_ready(cx))?;
            let length = match ready!(part.poll_in_memory(cx, stand_in.len())) {
                Ok(length) => length,
                Err(error) => {
                    self.broke.set(true);
                    return Poll::Ready(Err(error));
                }
            };
            // Nothing is left of it.
            if length == 0 {
                break 0;
            }
            match socket.try_send_file(&part.file, part.rest.start, length) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => break other?,
            }
        };
        if sent == 0 {
            self.broke.set(true);
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was sent",
            )));
        }
        part.rest.start += sent as u64;
        part.place += sent;
        if part.rest.is_empty() {
            waiting.pop_front();
        }
        Poll::Ready(Ok(sent))
    }

    fn out_of_step(&self) -> io::Error {
        self.broke.set(true);
        io::Error::other("the parts of files and what stands for them are out of step")
    }
}

impl Part {
    fn is_stood_for_by(&self, stand_in: &[u8]) -> bool {
        place_of(stand_in) == Some(self.place) && stand_in.len() as u64 == self.rest.end - self.rest.start
    }

    /// How many of the next bytes, `length` at most, can be sent without waiting for a disk; 0 at the end of the file.
    fn poll_in_memory(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        let from = self.rest.start;
        loop {
            if let Some(warming) = &mut self.warming {
                let read = ready!(Pin::new(warming).poll(cx));
                self.warming = None;
                match read.map_err(io::Error::other).flatten()? {
                    0 => return Poll::Ready(Ok(0)),
                    read => self.warm = from + read as u64,
                }
            }
            // What was brought there is not asked for again: there are file systems that cannot tell.
            let warm = usize::try_from(self.warm.saturating_sub(from)).unwrap_or(0).min(length);
            if warm > 0 {
                return Poll::Ready(Ok(warm));
            }
            let found = self.found(length);
            if found > 0 {
                return Poll::Ready(Ok(found));
            }
            let file = self.file.clone();
            let length = length.min(STEP);
            self.warming = Some(spawn_blocking(move || file.read_at(&mut vec![0; length], from)));
        }
    }

    /// How many of the next bytes are in memory: as far as one in each step is, and the last.
    fn found(&self, length: usize) -> usize {
        let is_there = |at: usize| {
            let mut byte = [0];
            let at = self.rest.start + at as u64;
            preadv2(&self.file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT) == Ok(1)
        };
        let steps = (0..length).step_by(STEP).chain([length - 1]);
        let mut found = 0;
        for at in steps {
            if !is_there(at) {
                return found;
            }
            // Up to the next step what is behind it is taken to be there too.
            found = if at == length - 1 { length } else { at };
        }
        found
    }
}

/// Where in the memory that stands for files a slice begins, if it does.
fn place_of(slice: &[u8]) -> Option<usize> {
    let memory = STAND_IN.as_ptr_range();
    let is_within = !slice.is_empty() && memory.contains(&slice.as_ptr());
    is_within.then(|| slice.as_ptr().addr() - memory.start.addr())
}

impl Socket {
    fn try_send_file(&self, file: &File, from: u64, count: usize) -> io::Result<usize> {
        let mut at = from;
        let sent = match self {
            Self::Tcp(stream) => stream
                .try_io(Interest::WRITABLE, || Ok(sendfile(stream.as_fd(), file, Some(&mut at), count)?)),
            Self::Unix(stream) => stream
                .try_io(Interest::WRITABLE, || Ok(sendfile(stream.as_fd(), file, Some(&mut at), count)?)),
        };
        match sent {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                let mut bytes = [0; COPIED];
                let read = file.read_at(&mut bytes[..count.min(COPIED)], from)?;
                self.try_write_vectored(&[IoSlice::new(&bytes[..read])])
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
