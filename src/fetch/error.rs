//! Why a question got no answer.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why a question got no answer.
#[derive(Debug)]
pub enum FetchError {
    /// The place cannot be reached in time, or its certificate is not good.
    Connect(io::Error),
    /// The answer took too long.
    Timeout {
        /// The bound that passed.
        limit: Duration,
    },
    /// The connection broke, or the answer is not HTTP.
    Broken(hyper::Error),
    /// The body of the answer is larger than is taken.
    TooLarge {
        /// The bound, in bytes.
        max: usize,
    },
    /// The path cannot be asked for.
    Target,
}

impl FetchError {
    /// Whether nobody is there at the moment, or went away while asked: an app that is being restarted looks like this.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Connect(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::ConnectionReset
            ),
            Self::Broken(error) => error.is_closed() || error.is_incomplete_message() || error.is_canceled(),
            Self::Timeout { .. } | Self::TooLarge { .. } | Self::Target => false,
        }
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self::Connect(error)
    }
}

impl From<hyper::Error> for FetchError {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(error)
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(cause) => write!(f, "it cannot be reached: {cause}"),
            Self::Timeout { limit } => write!(f, "it took longer than {limit:?}"),
            Self::Broken(cause) => write!(f, "its answer is broken: {cause}"),
            Self::TooLarge { max } => write!(f, "its answer is larger than {max} bytes"),
            Self::Target => f.write_str("its path is not one that can be asked for"),
        }
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(cause) => Some(cause),
            Self::Broken(cause) => Some(cause),
            Self::Timeout { .. } | Self::TooLarge { .. } | Self::Target => None,
        }
    }
}
