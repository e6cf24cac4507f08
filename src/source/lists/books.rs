//! What is noted in Redis of a user's list: which entries were published as which events, and which were read.
//!
//! A hash for each list, `PREFIXsource:EPOCH:LIST`: `d:NAME` of an entry is the number of its event, `s:NUMBER` of an event
//! is the entry's own id. The epoch is in its name, so that a hub whose history began anew publishes again what waits, as
//! the app's own endpoint would have sent it again. It expires with the list.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Value, from_redis_value, pipe};

use crate::config::ReadSet;
use crate::event::Epoch;

use super::entry::Digest;

/// For how long it is noted what was published of a list that itself never expires.
const WITHOUT_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// Notes entries of a list: its key and the hash's, then the time for a list that never expires, then for each entry its
/// name, its event's number and its id.
const PUBLISHED: &str = "\
for at = 2, #ARGV, 3 do
  redis.call('HSET', KEYS[2], 'd:' .. ARGV[at], ARGV[at + 1])
  if ARGV[at + 2] ~= '' then redis.call('HSET', KEYS[2], 's:' .. ARGV[at + 1], ARGV[at + 2]) end
end
local left = redis.call('PTTL', KEYS[1])
if left < 0 then left = ARGV[1] end
redis.call('PEXPIRE', KEYS[2], left)
return 1";

/// Notes what was read: the hash's key and the set's, then the set's time, then numbers of events. Says which of them it
/// does not know.
const READ: &str = "\
local unknown, known = {}, false
for at = 2, #ARGV do
  local id = redis.call('HGET', KEYS[1], 's:' .. ARGV[at])
  if id then redis.call('SADD', KEYS[2], id) known = true else unknown[#unknown + 1] = ARGV[at] end
end
if known then redis.call('PEXPIRE', KEYS[2], ARGV[1]) end
return unknown";

/// An entry that was published.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) name: Digest,
    /// The number of its event; 0 is none, since it can be no publication.
    pub(super) seq: u64,
    pub(super) id: Option<String>,
}

/// The books of the lists of one source.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) prefix: String,
    pub(super) read: Option<ReadSet>,
}

impl Books {
    fn key(&self, list: &str, epoch: Epoch) -> String {
        format!("{}source:{epoch}:{list}", self.prefix)
    }

    /// Which entries of a user's list are neither published nor read, in their order.
    pub(super) async fn fresh(
        &self,
        redis: &mut MultiplexedConnection,
        (user, list, epoch): (&str, &str, Epoch),
        entries: &[(Digest, Option<String>)],
    ) -> RedisResult<Vec<bool>> {
        let mut ask = pipe();
        let published = ask.cmd("HMGET").arg(self.key(list, epoch));
        for (name, _) in entries {
            published.arg(format!("d:{name}"));
        }
        let ids: Vec<_> = entries.iter().filter_map(|(_, id)| id.as_deref()).collect();
        if let Some(read) = self.read.as_ref().filter(|_| !ids.is_empty()) {
            ask.cmd("SMISMEMBER").arg(read.key.of(user)).arg(&ids);
        }
        let answers: Vec<Value> = ask.ignore_errors().query_async(redis).await?;
        let mut answers = answers.into_iter();
        let published: Vec<Option<u64>> =
            answers.next().map(from_redis_value).transpose()?.unwrap_or_default();
        let is_read = answers.next().map(from_redis_value::<Vec<bool>>);
        // Where the set is none, nothing is read.
        let mut is_read = is_read.and_then(Result::ok).unwrap_or_default().into_iter();
        let fresh = entries.iter().zip(published).map(|((_, id), published)| {
            let is_read = id.is_some() && is_read.next().unwrap_or(false);
            published.is_none() && !is_read
        });
        Ok(fresh.collect())
    }

    /// Notes what was published of a list.
    pub(super) async fn publish(
        &self,
        redis: &mut MultiplexedConnection,
        (list, epoch): (&str, Epoch),
        noted: &[Noted],
    ) -> RedisResult<()> {
        let mut script = ::redis::cmd("EVAL");
        script.arg(PUBLISHED).arg(2).arg(list).arg(self.key(list, epoch)).arg(millis(WITHOUT_TTL));
        for Noted { name, seq, id } in noted {
            script.arg(name).arg(*seq).arg(id.as_deref().unwrap_or_default());
        }
        script.exec_async(redis).await
    }

    /// Notes what users have read, a list each, and gives what is not known of the events.
    pub(super) async fn read(
        &self,
        redis: &mut MultiplexedConnection,
        epoch: Epoch,
        users: &[(String, String, Vec<u64>)],
    ) -> RedisResult<Vec<RedisResult<Vec<u64>>>> {
        let Some(read) = &self.read else { return Ok(Vec::new()) };
        let mut scripts = pipe();
        for (user, list, seqs) in users {
            let script = scripts.cmd("EVAL").arg(READ).arg(2).arg(self.key(list, epoch));
            script.arg(read.key.of(user)).arg(millis(read.ttl)).arg(seqs);
        }
        // A set of one user that is none must not keep the others from being marked.
        let answers: Vec<Value> = scripts.ignore_errors().query_async(redis).await?;
        Ok(answers.into_iter().map(|answer| Ok(from_redis_value(answer)?)).collect())
    }

    /// Forgets what was published of a list that is gone: another one may begin with the same words.
    pub(super) async fn forget(
        &self,
        redis: &mut MultiplexedConnection,
        (list, epoch): (&str, Epoch),
    ) -> RedisResult<()> {
        ::redis::cmd("DEL").arg(self.key(list, epoch)).exec_async(redis).await
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
