//! The keeper of a key set, on the control thread.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::set::KeySet;
use super::{Keys, Known, SPACING};
use crate::config::{JwksSource, Origin, Upstream};
use crate::fetch::{self, FetchError, Place, Question};

/// How often a source is looked at in any case.
const REFRESH: Duration = Duration::from_secs(15 * 60);
/// The pause after the first look that failed while there is no set; doubled up to [`SPACING`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The largest set, in bytes.
const MAX_SET: usize = 256 * 1024;

/// Fetches the set of one provider, before it runs.
#[derive(Debug)]
pub(in crate::auth) struct Keeper {
    provider: String,
    source: Source,
    known: watch::Sender<Known>,
    wanted: Arc<Notify>,
}

#[derive(Debug)]
enum Source {
    File(std::path::PathBuf),
    Places { places: Vec<Place>, target: String },
}

/// Why there is no set.
#[derive(Debug)]
enum LookError {
    File(io::Error),
    Fetch(FetchError),
    Status(StatusCode),
    NoSet,
}

impl fmt::Display for LookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "it cannot be read: {error}"),
            Self::Fetch(error) => error.fmt(f),
            Self::Status(status) => write!(f, "it answered {status}"),
            Self::NoSet => f.write_str("it is no set of keys that can be used"),
        }
    }
}

impl std::error::Error for LookError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Fetch(error) => Some(error),
            Self::Status(_) | Self::NoSet => None,
        }
    }
}

impl Keeper {
    /// A keeper, and what workers see of its keys.
    pub(in crate::auth) fn new(provider: &str, source: &JwksSource, upstreams: &[Upstream]) -> (Keys, Self) {
        let source = match source {
            JwksSource::File(path) => Source::File(path.clone()),
            JwksSource::Url { tls, host, port, target } => {
                let (host, port) = (host.clone(), *port);
                let origin = if *tls { Origin::Tls { host, port } } else { Origin::Tcp { host, port } };
                Source::Places { places: vec![Place::new(origin)], target: target.clone() }
            }
            // The configuration names no upstream that it does not have.
            JwksSource::Upstream { upstream, target } => {
                Source::Places { places: Place::of(&upstreams[*upstream]), target: target.clone() }
            }
        };
        let (known, seen) = watch::channel(Known { is_looking: true, ..Known::default() });
        let wanted = Arc::new(Notify::new());
        let keys = Keys { known: seen, wanted: wanted.clone() };
        (keys, Self { provider: provider.to_owned(), source, known, wanted })
    }

    /// Looks at the source now, every [`REFRESH`], and when a worker wants it, for as long as anybody has a use for it.
    pub(in crate::auth) async fn run(self) {
        let mut pause = FIRST_RETRY;
        loop {
            let looked = Instant::now();
            self.known.send_modify(|known| {
                known.is_looking = true;
                known.looked = Some(looked);
            });
            let found = self.look().await;
            self.report(found.as_ref());
            self.known.send_modify(|known| {
                known.is_looking = false;
                known.looks += 1;
                if let Ok(set) = found {
                    known.set = Some(Arc::new(set));
                }
            });
            let next = if self.known.borrow().set.is_some() {
                looked + REFRESH
            } else {
                let next = Instant::now() + pause;
                pause = (pause * 2).min(SPACING);
                next
            };
            tokio::select! {
                () = self.wait(looked, next) => {}
                () = self.known.closed() => return,
            }
        }
    }

    /// Waits for the time of the next look, or for a worker that wants one and may have it.
    async fn wait(&self, looked: Instant, next: Instant) {
        loop {
            tokio::select! {
                () = sleep_until(next) => return,
                // A wish from before the last look came too early or has been fulfilled.
                () = self.wanted.notified() => {
                    if looked.elapsed() >= SPACING {
                        return;
                    }
                }
            }
        }
    }

    async fn look(&self) -> Result<KeySet, LookError> {
        let text = match &self.source {
            // A small file, on the thread that has no traffic.
            Source::File(path) => read(path).map_err(LookError::File)?,
            Source::Places { places, target } => fetch_from(places, target).await?,
        };
        KeySet::parse(&text).ok_or(LookError::NoSet)
    }

    fn report(&self, found: Result<&KeySet, &LookError>) {
        let provider = &self.provider;
        match found {
            Ok(set) => tracing::debug!(%provider, keys = set.len(), "read the key set"),
            Err(error) if self.known.borrow().set.is_some() => {
                tracing::warn!(%provider, %error, "cannot read the key set; the last one stays");
            }
            Err(error) => tracing::warn!(%provider, %error, "cannot read the key set, so no token is good"),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_SET as u64 + 1).read_to_end(&mut text)?;
    if text.len() > MAX_SET {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 256KiB"));
    }
    Ok(text)
}

async fn fetch_from(places: &[Place], target: &str) -> Result<Vec<u8>, LookError> {
    let fields = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    let answer = fetch::get_from(places, Question { target, fields, max_body: MAX_SET }).await;
    let answer = answer.map_err(LookError::Fetch)?;
    if !answer.status.is_success() {
        return Err(LookError::Status(answer.status));
    }
    Ok(answer.body.into())
}

#[cfg(test)]
mod tests;
