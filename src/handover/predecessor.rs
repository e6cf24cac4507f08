//! The new process's side.

use std::env;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::parent_id;
use std::time::Duration;

use rustix::net::SocketType;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_type};
use rustix::stdio::dup2_stdin;
use tokio::net::UnixStream;

use super::channel::Channel;
use super::{Inheritance, Letter, Word};

/// Names the process that is to be replaced.
pub(super) const VARIABLE: &str = "SIDESTREAM_PREDECESSOR";

/// How often it is looked, while the old process is waited for, whether this one is to end.
const LOOK: Duration = Duration::from_millis(50);

/// The process that is to be replaced by this one.
#[derive(Debug)]
pub struct Predecessor {
    channel: Channel,
}

/// The other process has given up, or is gone. Then it is not to be replaced.
#[derive(Debug)]
pub struct Gone(Option<io::Error>);

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the process that was to be replaced has ended, or has taken it back")
    }
}

impl std::error::Error for Gone {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.as_ref().map(|error| error as _)
    }
}

impl Predecessor {
    /// The one that has started this process, if one has, and what it hands over. To be asked once, before standard input
    /// is used for anything.
    ///
    /// # Errors
    /// If it ends before it has handed all over.
    pub fn from_env() -> Result<Option<(Self, Inheritance)>, Gone> {
        let is_ours = |pid: String| pid.parse() == Ok(parent_id());
        // The variable may have come by others who have started us.
        if !env::var(VARIABLE).is_ok_and(is_ours) || socket_type(io::stdin()) != Ok(SocketType::SEQPACKET) {
            return Ok(None);
        }
        let mut one = Self { channel: Channel::of(stdin()?) };
        let mut letters = Vec::new();
        loop {
            let letter = one.next(|| false)?;
            if letter.word == Word::All {
                break;
            }
            letters.push(letter);
        }
        let inherited = Inheritance::handed(letters).map_err(|error| Gone(Some(error)))?;
        Ok(Some((one, inherited)))
    }

    /// Says something.
    ///
    /// # Errors
    /// If nobody hears it.
    pub fn say(&self, word: Word) -> Result<(), Gone> {
        self.channel.send(word, b"", None).map_err(|error| Gone(Some(error)))
    }

    /// Waits until this is said, or until `is_over` says that this process is to end.
    ///
    /// # Errors
    /// If it will not be said any more.
    pub fn hear(&mut self, word: Word, is_over: impl Fn() -> bool) -> Result<(), Gone> {
        while self.next(&is_over)?.word != word {}
        Ok(())
    }

    fn next(&mut self, is_over: impl Fn() -> bool) -> Result<Letter, Gone> {
        loop {
            match self.channel.receive() {
                Ok(Some(letter)) => return Ok(letter),
                Ok(None) => return Err(Gone(None)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !is_over() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Gone(Some(error))),
            }
        }
    }

    /// Goes on hearing in the current runtime.
    ///
    /// # Errors
    /// If the system refuses it.
    pub fn go_on(self) -> io::Result<Hearing> {
        self.channel.in_runtime().map(Hearing)
    }
}

/// The same, when both serve.
#[derive(Debug)]
pub struct Hearing(Channel<UnixStream>);

impl Hearing {
    /// Says something.
    ///
    /// # Errors
    /// If nobody hears it.
    pub fn say(&self, word: Word) -> io::Result<()> {
        self.0.send(word, b"", None)
    }

    /// The next letter; none when the other process has ended.
    ///
    /// # Errors
    /// If it is not understood.
    pub async fn next(&self) -> io::Result<Option<Letter>> {
        self.0.receive_when_ready().await
    }
}

/// Takes standard input, and leaves nothing there.
fn stdin() -> Result<std::os::fd::OwnedFd, Gone> {
    let taken = || {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        dup2_stdin(File::open("/dev/null")?)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(LOOK))?;
        Ok(socket)
    };
    taken().map_err(|error| Gone(Some(error)))
}
