//! What a server tells of changed keys (keyspace events), if it does.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisError, RedisResult, cmd, pipe};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::config::UserKey;

/// How long the server may take to tell of a key that was changed to see whether it does.
const TRIAL: Duration = Duration::from_secs(1);
/// The most users that are noted; of more, all are looked at.
const MAX_DUE: usize = 65_536;

/// The users whose lists have changed.
#[derive(Debug)]
pub(super) struct Notices {
    key: UserKey,
    /// How the channels of this database begin.
    space: String,
    trial: String,
    due: Mutex<Due>,
    pub(super) notify: Notify,
    tried: Notify,
}

/// Whose lists are to be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) users: HashSet<String>,
    /// There were too many to note.
    pub(super) all: bool,
}

impl Notices {
    pub(super) fn new(key: UserKey, database: u32, trial: String) -> Self {
        let space = format!("__keyspace@{database}__:");
        Self { key, space, trial, due: Mutex::default(), notify: Notify::new(), tried: Notify::new() }
    }

    /// Takes note of what the server says on a channel.
    pub(super) fn hear(&self, channel: &[u8]) {
        let key = std::str::from_utf8(channel).ok().and_then(|channel| channel.strip_prefix(&self.space));
        let Some(key) = key else { return };
        if key == self.trial {
            self.tried.notify_one();
        } else if let Some(user) = self.key.user(key) {
            let mut due = self.due();
            if due.users.len() < MAX_DUE {
                due.users.insert(user.to_owned());
            } else {
                due.all = true;
            }
            drop(due);
            self.notify.notify_one();
        }
    }

    /// Takes what was noted.
    pub(super) fn take(&self) -> Due {
        std::mem::take(&mut *self.due())
    }

    /// Begins to listen, and finds out whether the server tells of lists that change: by changing one.
    pub(super) async fn begin(&self, redis: &mut MultiplexedConnection) -> RedisResult<bool> {
        let all = format!("{}{}*{}", self.space, literal(&self.key.before), literal(&self.key.after));
        let begun = async {
            cmd("PSUBSCRIBE").arg(all).exec_async(redis).await?;
            cmd("SUBSCRIBE").arg(format!("{}{}", self.space, self.trial)).exec_async(redis).await?;
            let mut change = pipe();
            change.cmd("RPUSH").arg(&self.trial).arg(1).ignore().cmd("PEXPIRE").arg(&self.trial).arg(1000);
            change.exec_async(redis).await
        };
        match begun.await {
            Ok(()) => Ok(timeout(TRIAL, self.tried.notified()).await.is_ok()),
            // A user that may not do this can still look.
            Err(error) if is_refusal(&error) => {
                tracing::warn!(%error, "Redis does not let a source listen for changes of lists, so they are asked for");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks the server to tell, beside what it tells already.
    pub(super) async fn configure(redis: &mut MultiplexedConnection) -> RedisResult<()> {
        const NAME: &str = "notify-keyspace-events";
        let (_, mut flags): (String, String) =
            match cmd("CONFIG").arg("GET").arg(NAME).query_async::<Vec<(String, String)>>(redis).await {
                Ok(mut found) => found.pop().unwrap_or_default(),
                Err(error) => return refused(error),
            };
        if flags.contains('K') && flags.contains(['l', 'A']) {
            return Ok(());
        }
        flags.push_str("Kl");
        cmd("CONFIG").arg("SET").arg(NAME).arg(flags).exec_async(redis).await.or_else(refused)
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes over that the server does not let itself be configured, which is found out by trying.
fn refused(error: RedisError) -> RedisResult<()> {
    if !is_refusal(&error) {
        return Err(error);
    }
    tracing::warn!(%error, "Redis does not let `configure` of a source change notify-keyspace-events");
    Ok(())
}

/// Whether it is the server's word, and not that of a broken connection.
fn is_refusal(error: &RedisError) -> bool {
    error.code().is_some() && !error.is_connection_dropped()
}

/// A text that stands for itself in a pattern.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_noted_whose_list_has_changed() {
        let key = UserKey { before: "notifications:".to_owned(), after: String::new() };
        let notices = Notices::new(key, 2, "sidestream:source:trial".to_owned());
        for channel in [
            "__keyspace@2__:notifications:42",
            "__keyspace@2__:notifications:42",
            "__keyspace@2__:notifications:a b",
            "__keyspace@2__:read_notifications:7",
            "__keyspace@0__:notifications:8",
            "notifications:9",
            "__keyspace@2__:sidestream:source:trial",
        ] {
            notices.hear(channel.as_bytes());
        }
        notices.hear(b"\xff");
        assert_eq!(notices.take(), Due { users: HashSet::from(["42".to_owned()]), all: false });
        assert_eq!(notices.take(), Due::default());
        for user in 0..=MAX_DUE {
            notices.hear(format!("__keyspace@2__:notifications:{user}").as_bytes());
        }
        assert!(notices.take().all);
        assert_eq!(literal("a[1]*"), r"a\[1\]\*");
    }
}
