//! What providers need done on the control thread, so that no worker waits for it but the one request that asks.

use tokio::task::JoinSet;

use super::ask::Desk;
use super::jwks::Keeper;

/// The work of all providers that have any.
#[derive(Debug, Default)]
pub struct Background {
    pub(super) desks: Vec<Desk>,
    pub(super) keepers: Vec<Keeper>,
}

impl Background {
    /// Does the work, within a `LocalSet`, for as long as there is an authenticator.
    pub async fn run(self) {
        let mut work = JoinSet::new();
        for desk in self.desks {
            work.spawn_local(desk.run());
        }
        for keeper in self.keepers {
            work.spawn_local(keeper.run());
        }
        while let Some(ended) = work.join_next().await {
            if ended.is_err() {
                tracing::error!("a provider's work panicked");
            }
        }
    }
}
