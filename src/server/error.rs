//! Why something that the configuration names cannot be opened.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::handover::Gone;
use crate::listener;
use crate::publish;
use crate::store::DiskError;
use crate::store::redis::ConnectError;
use crate::tls::TlsError;

/// Why the server cannot start.
#[derive(Debug)]
pub enum BindError {
    /// A listener.
    Listen(listener::BindError),
    /// The TLS of a listener.
    Tls {
        /// The listener.
        listener: String,
        /// Why.
        cause: TlsError,
    },
    /// The access log.
    AccessLog {
        /// Its file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The publish socket.
    PublishSocket(publish::SocketError),
    /// A publish socket that the service manager has opened.
    PublishInherited {
        /// Its name.
        name: String,
        /// Why.
        cause: io::Error,
    },
    /// The publishers' TCP address.
    PublishHttp(listener::BindError),
    /// The operator's address.
    Admin(listener::BindError),
    /// The store on disk.
    Store(DiskError),
    /// The store in Redis.
    Redis(ConnectError),
    /// The process that this one was to replace.
    Predecessor(Gone),
    /// No random bytes for the epoch, the tickets or the passwords.
    Random,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(f),
            Self::Tls { listener, cause } => write!(f, "cannot serve TLS on {listener}: {cause}"),
            Self::AccessLog { path, cause } => {
                write!(f, "cannot write the access log to {}: {cause}", path.display())
            }
            Self::PublishSocket(error) => error.fmt(f),
            Self::PublishInherited { name, cause } => {
                write!(f, "[publish] socket: cannot listen on fd:{name}: {cause}")
            }
            Self::PublishHttp(error) => write!(f, "[publish] http: {error}"),
            Self::Admin(error) => write!(f, "[admin] address: {error}"),
            Self::Store(error) => error.fmt(f),
            Self::Redis(error) => error.fmt(f),
            Self::Predecessor(error) => error.fmt(f),
            Self::Random => f.write_str("the system gives no random bytes"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(error) => Some(error),
            Self::Tls { cause, .. } => Some(cause),
            Self::AccessLog { cause, .. } | Self::PublishInherited { cause, .. } => Some(cause),
            Self::PublishSocket(error) => Some(error),
            Self::PublishHttp(error) | Self::Admin(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Redis(error) => Some(error),
            Self::Predecessor(error) => Some(error),
            Self::Random => None,
        }
    }
}
