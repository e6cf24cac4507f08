//! The channel between the two processes: letters of a word, perhaps a text, and perhaps a socket.
//!
//! Invariant: a letter comes whole, in its order, or not at all.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str;

use rustix::cmsg_space;
use rustix::io::ioctl_fionbio;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The longest letter, in bytes: well below what the system takes at once.
pub(super) const LONGEST: usize = 64 * 1024;

/// The most bytes of a letter's text.
pub(super) const LONGEST_TEXT: usize = LONGEST - 64;

/// What a letter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// A socket that the service manager had opened; the text is its name.
    Given,
    /// One of the sockets of a listener; the text is the listener's place and what was asked for.
    Listener,
    /// The publish socket; the text is its path.
    Publish,
    /// The publishers' socket on TCP; the text is what was asked for.
    PublishHttp,
    /// The operator's socket; the text is what was asked for.
    Admin,
    /// That was all.
    All,
    /// The new one could serve.
    Prepared,
    /// The store is free.
    Store,
    /// The new one has the store.
    Opened,
    /// The new one is to begin.
    Go,
    /// The new one has begun.
    Serving,
    /// The new one is the main process now.
    Main,
    /// A connection by which the old one hands in what it was sent.
    Relay,
    /// A piece of what a publisher had sent whose connection comes.
    Begun,
    /// The connection of a publisher who sends lines.
    Lines,
}

const NAMES: [(Word, &str); 15] = [
    (Word::Given, "given"),
    (Word::Listener, "listener"),
    (Word::Publish, "publish"),
    (Word::PublishHttp, "publish-http"),
    (Word::Admin, "admin"),
    (Word::All, "all"),
    (Word::Prepared, "prepared"),
    (Word::Store, "store"),
    (Word::Opened, "opened"),
    (Word::Go, "go"),
    (Word::Serving, "serving"),
    (Word::Main, "main"),
    (Word::Relay, "relay"),
    (Word::Begun, "begun"),
    (Word::Lines, "lines"),
];

impl Word {
    fn name(self) -> &'static str {
        NAMES.iter().find(|(word, _)| *word == self).map_or("", |(_, name)| name)
    }

    fn of(name: &[u8]) -> Option<Self> {
        NAMES.iter().find(|(_, known)| known.as_bytes() == name).map(|(word, _)| *word)
    }
}

/// A letter that has come.
#[derive(Debug)]
pub struct Letter {
    /// What it is about.
    pub word: Word,
    /// What it says of it.
    pub text: Vec<u8>,
    /// What it brings.
    pub socket: Option<OwnedFd>,
}

impl Letter {
    /// The text, if it is one.
    pub fn text(&self) -> io::Result<&str> {
        str::from_utf8(&self.text).map_err(|_| strange())
    }
}

/// One end.
#[derive(Debug)]
pub(super) struct Channel<S = OwnedFd>(S);

impl Channel {
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), theirs))
    }

    pub(super) fn of(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// The same, in the current runtime. To it all connected sockets are alike: it only says when they are ready.
    pub(super) fn in_runtime(self) -> io::Result<Channel<UnixStream>> {
        ioctl_fionbio(&self.0, true)?;
        Ok(Channel(UnixStream::from_std(self.0.into())?))
    }
}

impl Channel<UnixStream> {
    pub(super) async fn send_when_ready(
        &self,
        word: Word,
        text: &[u8],
        socket: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || self.send(word, text, socket)).await
    }

    pub(super) async fn receive_when_ready(&self) -> io::Result<Option<Letter>> {
        self.0.async_io(Interest::READABLE, || self.receive()).await
    }
}

impl<S: AsFd> Channel<S> {
    /// Sends a letter of at most [`LONGEST_TEXT`].
    pub(super) fn send(&self, word: Word, text: &[u8], socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let name = word.name().as_bytes();
        let words = [IoSlice::new(name), IoSlice::new(b" "), IoSlice::new(text)];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut besides = SendAncillaryBuffer::new(&mut space);
        let sockets: Vec<_> = socket.into_iter().collect();
        if !sockets.is_empty() && !besides.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        sendmsg(&self.0, &words, &mut besides, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next letter; none if the other end is gone.
    pub(super) fn receive(&self) -> io::Result<Option<Letter>> {
        let mut bytes = vec![0; LONGEST];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut besides = RecvAncillaryBuffer::new(&mut space);
        let came =
            recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut besides, RecvFlags::CMSG_CLOEXEC)?;
        if came.bytes == 0 {
            return Ok(None);
        }
        if came.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            // Without a descriptor left, what was sent along is lost.
            return Err(io::Error::other("what was handed over could not be taken"));
        }
        let mut socket = None;
        for message in besides.drain() {
            if let RecvAncillaryMessage::ScmRights(mut sockets) = message {
                socket = sockets.next();
            }
        }
        bytes.truncate(came.bytes);
        let end = bytes.iter().position(|byte| *byte == b' ').ok_or_else(strange)?;
        let text = bytes.split_off(end + 1);
        bytes.truncate(end);
        let word = Word::of(&bytes).ok_or_else(strange)?;
        Ok(Some(Letter { word, text, socket }))
    }
}

/// What another version of the program may say.
fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the other process says what is not understood")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn letters_come_whole_with_their_sockets() {
        let (one, other) = Channel::pair().unwrap();
        let other = Channel::of(other);
        let (mut near, far) = UnixStream::pair().unwrap();
        let long = vec![b'x'; LONGEST_TEXT];
        one.send(Word::Lines, b"a b\nc", Some(far.as_fd())).unwrap();
        one.send(Word::Begun, &long, None).unwrap();
        one.send(Word::All, b"", None).unwrap();
        drop(far);
        let letter = other.receive().unwrap().unwrap();
        assert_eq!((letter.word, letter.text().unwrap()), (Word::Lines, "a b\nc"));
        let mut far = UnixStream::from(letter.socket.unwrap());
        near.write_all(b"hi").unwrap();
        let mut said = [0; 2];
        far.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"hi");
        let letter = other.receive().unwrap().unwrap();
        assert!(letter.word == Word::Begun && letter.text == long && letter.socket.is_none());
        assert_eq!(other.receive().unwrap().unwrap().word, Word::All);
        drop(one);
        assert!(other.receive().unwrap().is_none());
        assert!(other.send(Word::Serving, b"", None).is_err());
    }

    #[test]
    fn every_word_has_a_name_of_its_own() {
        for (word, name) in NAMES {
            assert_eq!(Word::of(name.as_bytes()), Some(word));
            assert_eq!(word.name(), name);
        }
        assert_eq!(Word::of(b"nonsense"), None);
    }
}
