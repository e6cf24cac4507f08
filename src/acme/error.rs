//! Why a certificate could not be had.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use instant_acme::{Identifier, Problem};

use crate::config::{CertificateError, ChallengeKind};

/// Why a certificate could not be had.
#[derive(Debug)]
pub enum AcmeError {
    /// The folder for accounts and certificates is of no use.
    Folder {
        /// What could not be read or written.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file of the account is not one.
    Account {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: serde_json::Error,
    },
    /// The authority cannot be reached, or says no.
    Authority(instant_acme::Error),
    /// The authority does not believe that a host is ours.
    Unproved {
        /// The host.
        domain: String,
        /// How it looked.
        kind: ChallengeKind,
        /// What it says of it.
        said: Option<Box<Problem>>,
    },
    /// The authority does not look in the way that it may.
    NoChallenge {
        /// The host.
        domain: String,
        /// The way.
        kind: ChallengeKind,
    },
    /// The request cannot be made.
    Request(rcgen::Error),
    /// No handshake can be answered.
    Handshake(rustls::Error),
    /// What came cannot be served.
    Unusable(CertificateError),
    /// What came is not for the hosts that were asked for, or is not good now.
    Other,
}

impl AcmeError {
    /// Whether another way to show that the hosts are ours may do.
    pub(super) fn is_of_challenge(&self) -> bool {
        matches!(self, Self::Unproved { .. } | Self::NoChallenge { .. })
    }

    /// Whether the authority does not know the account (any more).
    pub(super) fn is_of_account(&self) -> bool {
        let unknown = "urn:ietf:params:acme:error:accountDoesNotExist";
        matches!(self, Self::Authority(instant_acme::Error::Api(said)) if said.r#type.as_deref() == Some(unknown))
    }
}

impl From<instant_acme::Error> for AcmeError {
    fn from(error: instant_acme::Error) -> Self {
        Self::Authority(error)
    }
}

impl fmt::Display for AcmeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, cause } => write!(f, "{} is of no use: {cause}", path.display()),
            Self::Account { path, cause } => {
                write!(f, "{} is not an account ({cause}); without it, a new one is made", path.display())
            }
            Self::Authority(instant_acme::Error::Api(said)) => {
                write!(f, "the authority says: {}", in_words(said))
            }
            Self::Authority(error) => write!(f, "the authority did not answer as it should: {error}"),
            Self::Unproved { domain, kind, said } => {
                let said = said.as_deref().map_or_else(|| "it does not say why".to_owned(), in_words);
                write!(f, "{domain} could not be shown to be ours by {}: {said}", name(*kind))
            }
            Self::NoChallenge { domain, kind } => {
                write!(f, "the authority does not look at {domain} by {}", name(*kind))
            }
            Self::Request(error) => write!(f, "the request cannot be made: {error}"),
            Self::Handshake(error) => write!(f, "the authority's handshake cannot be answered: {error}"),
            Self::Unusable(error) => write!(f, "what the authority sent cannot be served: {error}"),
            Self::Other => f.write_str("what the authority sent is not for these hosts, or not good now"),
        }
    }
}

impl Error for AcmeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Folder { cause, .. } => Some(cause),
            Self::Account { cause, .. } => Some(cause),
            Self::Authority(error) => Some(error),
            Self::Unproved { said: Some(said), .. } => Some(said),
            Self::Request(error) => Some(error),
            Self::Handshake(error) => Some(error),
            Self::Unusable(error) => Some(error),
            Self::Unproved { .. } | Self::NoChallenge { .. } | Self::Other => None,
        }
    }
}

fn name(kind: ChallengeKind) -> &'static str {
    match kind {
        ChallengeKind::Http01 => "http-01",
        ChallengeKind::TlsAlpn01 => "tls-alpn-01",
    }
}

/// What an authority says, with the last part of its kind, on one line.
fn in_words(said: &Problem) -> String {
    let kind = said.r#type.as_deref().and_then(|kind| kind.rsplit(':').next()).unwrap_or("no kind");
    let mut words = format!("{} ({kind})", said.detail.as_deref().unwrap_or("nothing"));
    for part in &said.subproblems {
        if let (Some(detail), Some(Identifier::Dns(domain))) = (&part.detail, &part.identifier) {
            words = format!("{words}; {domain}: {detail}");
        }
    }
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect()
}

/// How much of what an authority says is repeated, in characters.
const MAX_WORDS: usize = 1000;
