//! The publish socket's file: made without stealing another's, and taken away again.
//!
//! Invariants: at its path the socket is never seen with other permissions than those asked for, and never before it
//! takes connections (so a refused connection means that its owner is gone). A file is removed only if it is a socket
//! that nobody listens on, or our own.
//!
//! Made under a private name in the same folder, the socket gets its mode before it listens, and then its path by a
//! hard link, which fails if anything is there: of two processes that start at once, one gets the path.

use std::error::Error;
use std::fmt;
use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::handover::Claim;

/// What a Unix socket's address holds, less the NUL at its end (unix(7)).
const MAX_PATH: usize = 107;

/// The length of the private name that the socket is first made under.
const PRIVATE_NAME: usize = 8;

/// Connections that wait to be accepted; the system may hold fewer.
const BACKLOG: i32 = 1024;

/// How often the path is tried for: once, and again after each stale file that was in the way.
const ATTEMPTS: usize = 3;

/// A bound socket. Its file is removed when it is dropped, if it is still this one.
#[derive(Debug)]
pub struct PublishSocket {
    listener: UnixListener,
    place: Place,
    allow_uids: Option<Vec<u32>>,
}

/// Where publishers find it.
#[derive(Debug)]
enum Place {
    /// A file of ours.
    Own(SocketFile),
    /// A file of whoever opened it; it may have none.
    Others(Option<PathBuf>),
}

impl PublishSocket {
    /// Makes the socket with these permission bits and listens on it. With `allow_uids`, only processes of these users
    /// are let in, root not excepted. A file left by a process that is gone is replaced.
    ///
    /// # Errors
    /// If the path is too long, in use, another file's, or cannot be written.
    pub fn bind(path: &Path, mode: u32, allow_uids: Option<Vec<u32>>) -> Result<Self, SocketError> {
        let private = private_path(path)?;
        let failed = |doing, cause| SocketError::Io { path: path.to_owned(), doing, cause };
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .map_err(|cause| failed("make", cause))?;
        SockAddr::unix(&private)
            .and_then(|address| socket.bind(&address))
            .map_err(|cause| failed("make", cause))?;
        let made = SocketFile::new(private).map_err(|cause| failed("make", cause))?;
        fs::set_permissions(&made.path, Permissions::from_mode(mode))
            .map_err(|cause| failed("set the mode of", cause))?;
        // Until now a connection would have been refused.
        socket.listen(BACKLOG).map_err(|cause| failed("listen on", cause))?;
        let file = made.linked_to(path)?;
        Ok(Self { listener: socket.into(), place: Place::Own(file), allow_uids })
    }

    /// Takes a socket that another process has opened, which keeps its file and its mode.
    ///
    /// # Errors
    /// If the system refuses it.
    pub fn inherited(listener: UnixListener, allow_uids: Option<Vec<u32>>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
        Ok(Self { listener, place: Place::Others(path), allow_uids })
    }

    /// Takes the socket of the process before this one, which was made at this path, and gives its file these permission
    /// bits.
    ///
    /// # Errors
    /// If the file is not there any more, or the system refuses it.
    pub fn handed(
        listener: UnixListener,
        path: &Path,
        mode: u32,
        allow_uids: Option<Vec<u32>>,
    ) -> Result<Self, SocketError> {
        set_mode(path, mode)?;
        let taken = listener.set_nonblocking(true).and_then(|()| SocketFile::new(path.to_owned()));
        let file = taken.map_err(|cause| SocketError::Io { path: path.to_owned(), doing: "take", cause })?;
        Ok(Self { listener, place: Place::Own(file), allow_uids })
    }

    /// The same, whose file is removed only while the claim says that it is ours.
    #[must_use]
    pub fn claimed_by(mut self, claim: &Claim) -> Self {
        if let Place::Own(file) = &mut self.place {
            file.claim = claim.clone();
        }
        self
    }

    /// The same socket once more, with the path that it was made at, if it was.
    ///
    /// # Errors
    /// If there is no descriptor for it.
    pub fn share(&self) -> io::Result<Option<(OwnedFd, PathBuf)>> {
        let Place::Own(file) = &self.place else { return Ok(None) };
        Ok(Some((self.listener.as_fd().try_clone_to_owned()?, file.path.clone())))
    }

    /// Where it is, if it is in the file system.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Own(file) => Some(&file.path),
            Place::Others(path) => path.as_deref(),
        }
    }

    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }

    /// The users whose processes are let in; none is whoever the mode lets in.
    pub(super) fn allow_uids(&self) -> Option<&Vec<u32>> {
        self.allow_uids.as_ref()
    }
}

/// Changes the permission bits of a socket of ours.
///
/// # Errors
/// If the file is not there any more, or not ours.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), SocketError> {
    let changed = fs::set_permissions(path, Permissions::from_mode(mode));
    changed.map_err(|cause| SocketError::Io { path: path.to_owned(), doing: "set the mode of", cause })
}

/// A name in the same folder that nobody else uses.
fn private_path(path: &Path) -> Result<PathBuf, SocketError> {
    let private = path.with_file_name(private_name());
    let longest = path.as_os_str().as_bytes().len().max(private.as_os_str().as_bytes().len());
    if longest > MAX_PATH {
        return Err(SocketError::TooLong { path: path.to_owned(), excess: longest - MAX_PATH });
    }
    Ok(private)
}

fn private_name() -> String {
    let mut name = String::from(".");
    while name.len() < PRIVATE_NAME {
        name.push(fastrand::lowercase());
    }
    name
}

/// A socket's file of ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    claim: Claim,
}

impl SocketFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&fs::symlink_metadata(&path)?);
        Ok(Self { path, identity, claim: Claim::default() })
    }

    /// The same file at its public path; the private name goes.
    fn linked_to(self, path: &Path) -> Result<Self, SocketError> {
        for _ in 0..ATTEMPTS {
            match fs::hard_link(&self.path, path) {
                Ok(()) => {
                    let (identity, claim) = (self.identity, self.claim.clone());
                    return Ok(Self { path: path.to_owned(), identity, claim });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => remove_stale(path)?,
                Err(cause) => {
                    return Err(SocketError::Io { path: path.to_owned(), doing: "make", cause });
                }
            }
        }
        Err(SocketError::InUse { path: path.to_owned() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_it = |found| identity(&found) == self.identity;
        let ours = self.claim.is_ours() && fs::symlink_metadata(&self.path).is_ok_and(is_it);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the publish socket");
        }
    }
}

/// Removes a socket that nobody listens on. Succeeds if there is nothing.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |doing, cause| SocketError::Io { path: path.to_owned(), doing, cause };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(failed("look at", cause)),
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    match probe(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // Connected, or so many wait to be accepted that one more has no place.
        Ok(()) => return Err(SocketError::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            return Err(SocketError::InUse { path: path.to_owned() });
        }
        Err(cause) => return Err(failed("ask who listens on", cause)),
    }
    match take_away(path, identity(&found)) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(failed("remove the stale", cause)),
        _ => Ok(()),
    }
}

/// Removes a file if it still is this one: another process may have replaced it since it was looked at. A file can be
/// moved at once but not compared and removed at once, so it is moved first and put back if it is the wrong one.
fn take_away(path: &Path, stale: (u64, u64)) -> io::Result<()> {
    if identity(&fs::symlink_metadata(path)?) != stale {
        return Ok(());
    }
    let aside = path.with_file_name(private_name());
    fs::rename(path, &aside)?;
    if identity(&fs::symlink_metadata(&aside)?) != stale {
        fs::hard_link(&aside, path)?;
    }
    fs::remove_file(&aside)
}

/// Tries to connect, without waiting.
fn probe(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Why there is no publish socket. Its text says what to do.
#[derive(Debug)]
pub enum SocketError {
    /// The path does not fit a socket's address.
    TooLong {
        /// The path asked for.
        path: PathBuf,
        /// By how many bytes.
        excess: usize,
    },
    /// Another process listens there.
    InUse {
        /// The path asked for.
        path: PathBuf,
    },
    /// There is a file of another kind.
    NotASocket {
        /// The path asked for.
        path: PathBuf,
    },
    /// The system refused.
    Io {
        /// The path asked for.
        path: PathBuf,
        /// What was tried, as it stands before "the publish socket".
        doing: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { path, excess } => write!(
                f,
                "the path of the publish socket `{}` is {excess} bytes too long; choose a shorter folder",
                path.display()
            ),
            Self::InUse { path } => write!(
                f,
                "the publish socket `{}` is in use by a running process; stop that, or give this one another path",
                path.display()
            ),
            Self::NotASocket { path } => write!(
                f,
                "`{}` is there and is no socket, so it was left alone; move it away, or choose another path",
                path.display()
            ),
            Self::Io { path, doing, cause } => {
                write!(f, "cannot {doing} the publish socket `{}`: {cause}", path.display())?;
                match cause.kind() {
                    ErrorKind::NotFound => f.write_str("; make its folder first"),
                    ErrorKind::PermissionDenied => {
                        f.write_str("; this user must be able to write in its folder")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

impl Error for SocketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { cause, .. } => Some(cause),
            Self::TooLong { .. } | Self::InUse { .. } | Self::NotASocket { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
