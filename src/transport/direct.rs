//! Parts of files that go from the page cache to a client's socket without being read (sendfile(2)).
//!
//! hyper writes bytes, and knows no files. So it is given bytes that stand for a part of a file: all of them lie in one
//! stretch of memory that is used for nothing else, and the connection, which sees every slice that hyper writes, knows
//! them by where they lie and sends the part itself. hyper never copies what a body gives it when the socket takes several
//! slices at once, which ours does. What is on its way is still the file's: who changes a file in its place, instead of
//! putting another one there, changes that too, as with every server that sends so. Invariant: a stand-in is never sent: if nothing waits that it could stand for, the
//! connection breaks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::fs::sendfile;
use rustix::io::Errno;
use tokio::io::Interest;

use super::Socket;

/// The longest part that one piece of a body can stand for, in bytes. Nothing is held for it, but others wait while it
/// is sent.
pub const LONGEST: usize = 512 * 1024;

/// What stands for parts. Never touched, so the system gives it no memory.
static STAND_IN: LazyLock<Box<[u8]>> = LazyLock::new(|| vec![0; LONGEST].into());

/// How many bytes are copied at once if a file system knows no sendfile.
const COPIED: usize = 16 * 1024;

/// The parts of files that are to be sent on one connection, in their order.
#[derive(Debug, Default)]
pub struct DirectFiles {
    waiting: RefCell<VecDeque<(Arc<File>, Range<u64>)>>,
    broke: Cell<bool>,
}

impl DirectFiles {
    /// Gives bytes to be written in the place of a part, which is at most [`LONGEST`] long.
    pub fn stand_in(&self, file: Arc<File>, part: Range<u64>) -> Bytes {
        let length = usize::try_from(part.end - part.start).map_or(LONGEST, |length| length.min(LONGEST));
        let part = part.start..part.start + length as u64;
        self.waiting.borrow_mut().push_back((file, part));
        Bytes::from_static(&STAND_IN[..length])
    }

    /// How many of the slices come before the first that stands for a part; none if none does.
    pub fn before_stand_in(slices: &[IoSlice<'_>]) -> Option<usize> {
        slices.iter().position(|slice| is_stand_in(slice))
    }

    /// Whether a file could not be sent as it was promised.
    pub fn broke(&self) -> bool {
        self.broke.get()
    }

    /// Sends what the socket takes of the part that the next `count` bytes stand for.
    pub fn poll_send(&self, cx: &mut Context<'_>, socket: &Socket, count: usize) -> Poll<io::Result<usize>> {
        let mut waiting = self.waiting.borrow_mut();
        let Some((file, part)) = waiting.front_mut() else {
            return Poll::Ready(Err(io::Error::other("no part of a file waits to be sent")));
        };
        let length = usize::try_from(part.end - part.start).map_or(count, |length| length.min(count));
        let sent = loop {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_send_file(file, part.start, length) {
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
        part.start += sent as u64;
        if part.is_empty() {
            waiting.pop_front();
        }
        Poll::Ready(Ok(sent))
    }
}

fn is_stand_in(slice: &[u8]) -> bool {
    let range = STAND_IN.as_ptr_range();
    !slice.is_empty() && range.contains(&slice.as_ptr())
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
