//! A connection to Redis: made, looked at, and attached to the deployment.
//!
//! Invariant: a connection that exists is to one server that can carry a deployment, knows all scripts, and has joined
//! the deployment's epoch.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, RedisError, Value};
use tokio::time::timeout;

use super::codec::{self, Joined};
use super::dialer::Dialer;
use super::lane::IN_FLIGHT;
use super::queue::{self, Receiver};
use super::scripts::Scripts;
use crate::config::Redis;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a command may take.
pub(super) const ANSWER: Duration = Duration::from_secs(2);
/// How long all of it may take, until the deployment is joined.
const JOIN: Duration = Duration::from_secs(5);
/// So many bytes of what Redis tells wait for the session at most. With more the connection ends, and what was missed is
/// read by the next.
const TOLD: u32 = 16 << 20;
/// The oldest version that has all commands.
const OLDEST: (u32, u32) = (6, 2);

/// Where connections are made.
pub(super) struct Connector {
    dialer: Dialer,
    prefix: String,
}

/// What this node knows of the deployment.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The epoch; empty at first.
    pub(super) epoch: String,
    /// The newest id it has seen of it.
    pub(super) seen: u64,
    /// Its holes.
    pub(super) holes: String,
}

/// A pair of connections.
pub(super) struct Attached {
    /// For what is ordered.
    pub(super) commands: MultiplexedConnection,
    /// For what is followed.
    pub(super) feed: MultiplexedConnection,
    /// What is told on the feed.
    pub(super) pushes: Receiver<PushInfo>,
    /// The deployment.
    pub(super) joined: Joined,
    /// What the server said of itself.
    pub(super) server: ServerInfo,
}

/// What matters of what a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its version, as it writes it.
    pub version: String,
    /// What it does when its memory is full. Anything but `noeviction` loses what was acknowledged.
    pub when_full: String,
    run: String,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// The settings cannot be used.
    Settings(RedisError),
    /// It cannot be reached, or does not answer.
    Unreachable(RedisError),
    /// It did not answer in time.
    Slow,
    /// It refuses what is needed.
    Refused(RedisError),
    /// It is too old.
    Version {
        /// What it is.
        found: String,
    },
    /// It is one of a cluster.
    Cluster,
    /// It is a replica.
    Replica,
    /// What it says makes no sense.
    Nonsense,
    /// There are two servers behind one address.
    Two,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(_) => f.write_str("these settings cannot be used"),
            Self::Unreachable(_) => f.write_str("Redis cannot be reached"),
            Self::Slow => f.write_str("Redis does not answer"),
            Self::Refused(_) => f.write_str("Redis refuses what is needed (docs/redis.md has the rights of the user)"),
            Self::Version { found } => {
                write!(f, "this Redis is version {found}, and {}.{} is the oldest that will do", OLDEST.0, OLDEST.1)
            }
            Self::Cluster => f.write_str(
                "this Redis is one of a cluster. One primary carries a deployment, since the order of all events needs \
                 one counter: use a Redis without cluster mode, with replicas and Sentinels if it must not fail",
            ),
            Self::Replica => f.write_str("this Redis is a replica: name its primary, or the Sentinels that know it"),
            Self::Nonsense => f.write_str("what answers is no Redis"),
            Self::Two => f.write_str("two connections came to two servers, one of which is not the primary"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Settings(error) | Self::Unreachable(error) | Self::Refused(error) => Some(error),
            Self::Slow
            | Self::Version { .. }
            | Self::Cluster
            | Self::Replica
            | Self::Nonsense
            | Self::Two => None,
        }
    }
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        match error.code() {
            None => Self::Unreachable(error),
            Some("LOADING" | "MASTERDOWN") => Self::Unreachable(error),
            Some("READONLY") => Self::Replica,
            Some(_) => Self::Refused(error),
        }
    }
}

impl Connector {
    /// Takes settings; connects to nothing yet.
    pub(super) fn new(redis: &Redis) -> Result<Self, ConnectError> {
        let dialer = Dialer::new(&redis.server).map_err(ConnectError::Settings)?;
        Ok(Self { dialer, prefix: redis.prefix.clone() })
    }

    /// Connects and joins the deployment. `fresh` is the epoch that begins if one is to begin; a head is kept for
    /// `keep_ms` milliseconds.
    pub(super) async fn attach(
        &mut self,
        scripts: &Scripts,
        own: &[Vec<u8>],
        known: &Known,
        fresh: &str,
        keep_ms: u64,
    ) -> Result<Attached, ConnectError> {
        timeout(JOIN, self.join(scripts, own, known, fresh, keep_ms)).await.map_err(|_| ConnectError::Slow)?
    }

    async fn join(
        &mut self,
        scripts: &Scripts,
        own: &[Vec<u8>],
        known: &Known,
        fresh: &str,
        keep_ms: u64,
    ) -> Result<Attached, ConnectError> {
        let (mut commands, mut feed, pushes, server) = self.connect().await?;
        let mut load = redis::pipe();
        for text in scripts.texts() {
            load.cmd("SCRIPT").arg("LOAD").arg(text).ignore();
        }
        load.exec_async(&mut commands).await?;
        // Before the deployment is joined: from then on, what is told to all is heard.
        feed.subscribe(own).await?;
        let mut call = scripts.attach.call();
        call.arg(&self.prefix).arg(fresh).arg(&known.epoch).arg(known.seen).arg(&known.holes).arg(keep_ms);
        let reply = commands.send_packed_command(&call).await.and_then(redis::Value::extract_error)?;
        let joined = codec::joined(&reply).ok_or(ConnectError::Nonsense)?;
        Ok(Attached { commands, feed, pushes, joined, server })
    }

    /// Connects and looks at the server and at the rights that are there, without joining anything.
    pub(super) async fn examine(&mut self, scripts: &Scripts) -> Result<ServerInfo, ConnectError> {
        let look = async {
            let (mut commands, mut feed, _pushes, server) = self.connect().await?;
            let mut load = redis::pipe();
            for text in scripts.texts() {
                load.cmd("SCRIPT").arg("LOAD").arg(text).ignore();
            }
            load.exec_async(&mut commands).await?;
            feed.subscribe(format!("{}all", self.prefix)).await?;
            let head = redis::cmd("HGET").arg(format!("{}head", self.prefix)).arg("epoch").to_owned();
            commands.send_packed_command(&head).await.and_then(redis::Value::extract_error)?;
            Ok(server)
        };
        timeout(JOIN, look).await.map_err(|_| ConnectError::Slow)?
    }

    async fn connect(
        &mut self,
    ) -> Result<(MultiplexedConnection, MultiplexedConnection, Receiver<PushInfo>, ServerInfo), ConnectError>
    {
        let client = self.dialer.client().await?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER))
            // Room for all, so that handing over a command never waits.
            .set_pipeline_buffer_size(2 * IN_FLIGHT);
        let mut commands = client.get_multiplexed_async_connection_with_config(&config).await?;
        let (sender, pushes) = queue::bounded(TOLD, weight);
        let config = config.set_push_sender(move |push| sender.send_or_end(push));
        let mut feed = client.get_multiplexed_async_connection_with_config(&config).await?;
        let server = look_at(&mut commands).await?;
        if look_at(&mut feed).await?.run != server.run {
            return Err(ConnectError::Two);
        }
        Ok((commands, feed, pushes, server))
    }
}

/// What something that was told takes while it waits, in bytes, near enough.
fn weight(push: &PushInfo) -> usize {
    let bytes = |value: &Value| match value {
        Value::BulkString(bytes) => bytes.len(),
        _ => 0,
    };
    size_of::<PushInfo>() + push.data.iter().map(|value| size_of::<Value>() + bytes(value)).sum::<usize>()
}

async fn look_at(connection: &mut MultiplexedConnection) -> Result<ServerInfo, ConnectError> {
    let text: String = redis::cmd("INFO").query_async(connection).await?;
    judge(&text)
}

/// Reads what a server says of itself, and whether it will do.
fn judge(text: &str) -> Result<ServerInfo, ConnectError> {
    let of = |key: &str| {
        text.lines().find_map(|line| line.trim_end().strip_prefix(key)?.strip_prefix(':')).unwrap_or_default()
    };
    let version = of("redis_version");
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if version.is_empty() || of("run_id").is_empty() {
        return Err(ConnectError::Nonsense);
    }
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST {
        return Err(ConnectError::Version { found: version.to_owned() });
    }
    if of("cluster_enabled") == "1" {
        return Err(ConnectError::Cluster);
    }
    if of("role") == "slave" {
        return Err(ConnectError::Replica);
    }
    Ok(ServerInfo {
        version: version.to_owned(),
        when_full: of("maxmemory_policy").to_owned(),
        run: of("run_id").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_primary_that_is_new_enough_and_alone_will_do() {
        let said = |version: &str, role: &str, cluster: &str| {
            judge(&format!(
                "# Server\r\nredis_version:{version}\r\nrun_id:abc\r\n# R\r\nrole:{role}\r\n\
                 cluster_enabled:{cluster}\r\nmaxmemory_policy:noeviction\r\n"
            ))
        };
        let good = said("7.0.15", "master", "0").unwrap();
        assert_eq!((&*good.version, &*good.when_full), ("7.0.15", "noeviction"));
        assert!(said("6.2.0", "master", "0").is_ok());
        assert!(said("10.0.0", "master", "0").is_ok());
        assert!(matches!(said("6.0.20", "master", "0"), Err(ConnectError::Version { .. })));
        assert!(matches!(said("7.2.0", "master", "1"), Err(ConnectError::Cluster)));
        assert!(matches!(said("7.2.0", "slave", "0"), Err(ConnectError::Replica)));
        assert!(matches!(judge("hello"), Err(ConnectError::Nonsense)));
    }
}
