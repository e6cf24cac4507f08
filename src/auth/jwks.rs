//! Public keys that are fetched: by the keeper on the control thread, for all workers.
//!
//! Invariant: a set that was read stays until a newer one is; the source is asked at a bounded rate, whatever tokens
//! say, and nothing in a token says where it is (`jku`, `x5u` and `jwk` are never looked at).

mod keeper;
mod set;

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::{AuthError, Reason};
use crate::fetch;

pub(super) use keeper::Keeper;

use set::{KeySet, Sought};

/// The shortest time between two looks at a source because of tokens.
const SPACING: Duration = Duration::from_secs(30);

/// How long a request waits for a look that is under way.
const PATIENCE: Duration = fetch::CONNECT_TIMEOUT.saturating_add(fetch::ANSWER_TIMEOUT);

/// What the workers see of a source.
#[derive(Debug, Clone, Default)]
struct Known {
    /// The newest set that could be read.
    set: Option<Arc<KeySet>>,
    /// How many looks are over.
    looks: u64,
    /// When the last look began.
    looked: Option<Instant>,
    /// Whether one is under way.
    is_looking: bool,
}

/// The workers' side of one source.
#[derive(Debug)]
pub(super) struct Keys {
    known: watch::Receiver<Known>,
    wanted: Arc<Notify>,
}

impl Keys {
    /// The key for a token's header. Waits only when there is no set yet, or for a `kid` that is not in it.
    pub(super) async fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<DecodingKey>, AuthError> {
        let (sought, looks) = self.look_up(kid, algorithm);
        match sought {
            Some(Sought::Found(key)) => Ok(key),
            Some(Sought::Unfit) => Err(Reason::Algorithm.into()),
            Some(Sought::Unknown) => {
                if self.next_look(looks).await
                    && let (Some(Sought::Found(key)), _) = self.look_up(kid, algorithm)
                {
                    return Ok(key);
                }
                Err(Reason::UnknownKey.into())
            }
            None => {
                self.next_look(looks).await;
                match self.look_up(kid, algorithm).0 {
                    Some(Sought::Found(key)) => Ok(key),
                    Some(Sought::Unfit) => Err(Reason::Algorithm.into()),
                    Some(Sought::Unknown) => Err(Reason::UnknownKey.into()),
                    None => Err(AuthError::Unavailable),
                }
            }
        }
    }

    /// Looks a key up, in the set as it is after so many looks at the source.
    fn look_up(&self, kid: Option<&str>, algorithm: Algorithm) -> (Option<Sought>, u64) {
        let known = self.known.borrow();
        (known.set.as_ref().map(|set| set.find(kid, algorithm)), known.looks)
    }

    /// Waits for the next look at the source, if there may be one now. Says whether there was.
    async fn next_look(&self, looks: u64) -> bool {
        let may_wait = {
            let known = self.known.borrow();
            let is_early = known.looked.is_some_and(|looked| looked.elapsed() < SPACING);
            known.looks > looks || known.is_looking || !is_early
        };
        if !may_wait {
            return false;
        }
        self.wanted.notify_one();
        let mut known = self.known.clone();
        let looked = known.wait_for(|known| known.looks > looks);
        matches!(timeout(PATIENCE, looked).await, Ok(Ok(_)))
    }
}
