//! The connection to the Redis of a source: made again whenever it breaks, without a storm and without a flood of lines.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisError, RedisResult};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::config::{RedisServer, Source, SourceKind};
use crate::store::redis::Dialer;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer may take. A Redis that is slower is as good as away.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a connection that was lost is waited for at first, and at most; half of it is by chance.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long `check` waits for a Redis.
const CHECK: Duration = Duration::from_secs(2);

/// The way to a Redis.
#[derive(Debug)]
pub(super) struct Link {
    redis: RedisServer,
    source: Rc<str>,
    is_away: Cell<bool>,
    pause: Cell<Duration>,
}

/// A connection, and how one learns that it is gone.
#[derive(Clone)]
pub(super) struct Connected {
    /// Takes commands; several may be on their way.
    pub(super) redis: MultiplexedConnection,
    gone: Arc<Notify>,
}

impl Link {
    pub(super) fn new(redis: RedisServer, source: Rc<str>) -> Self {
        Self { redis, source, is_away: Cell::new(false), pause: Cell::new(PAUSES.0) }
    }

    /// The number of the database.
    pub(super) fn database(&self) -> u32 {
        self.redis.database
    }

    /// Makes a connection. What the server sends unasked goes to `heard`, which must not wait: the key or channel that it
    /// is about, and what is said.
    pub(super) async fn connect(
        &self,
        heard: impl Fn(&[u8], Vec<u8>) + Send + Sync + 'static,
    ) -> RedisResult<Connected> {
        let gone = Arc::new(Notify::new());
        let told = gone.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER))
            .set_push_sender(move |push: PushInfo| {
                match push.kind {
                    PushKind::Disconnection => told.notify_one(),
                    PushKind::Message | PushKind::PMessage => said(push, &heard),
                    _ => {}
                }
                Ok::<(), ()>(())
            });
        let client = Dialer::new(&self.redis)?.client().await?;
        let redis = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Connected { redis, gone })
    }

    /// Notes that the source is read; says so if it was not.
    pub(super) fn is_there(&self) {
        self.pause.set(PAUSES.0);
        if self.is_away.replace(false) {
            tracing::info!(source = %self.source, redis = %self.redis, "the Redis of a source is back");
        }
    }

    /// Notes that it is not read, says so once, and waits for a while.
    pub(super) async fn is_lost(&self, error: &RedisError) {
        if !self.is_away.replace(true) {
            tracing::warn!(
                source = %self.source, redis = %self.redis, %error,
                "the Redis of a source is away; it is tried again and again"
            );
        }
        let pause = self.pause.get();
        self.pause.set((pause * 2).min(PAUSES.1));
        sleep(jittered(pause)).await;
    }
}

impl Connected {
    /// Waits until the connection is gone.
    pub(super) async fn gone(&self) -> RedisError {
        self.gone.notified().await;
        RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    }
}

/// Hands on what was published to a channel.
fn said(push: PushInfo, heard: &impl Fn(&[u8], Vec<u8>)) {
    let mut data = push.data;
    let (Some(body), Some(channel)) = (data.pop(), data.pop()) else { return };
    if let (::redis::Value::BulkString(channel), ::redis::Value::BulkString(body)) = (channel, body) {
        heard(&channel, body);
    }
}

/// Half of a time, and a random part of the other half.
pub(super) fn jittered(time: Duration) -> Duration {
    let mut byte = [0];
    // Without a random byte it is the same for all, which is no harm.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    time / 2 + time * u32::from(byte[0]) / 510
}

/// Why a source cannot be read now.
#[derive(Debug)]
pub struct Unreachable {
    /// What is read, as the log has it.
    pub source_name: String,
    /// The server's address.
    pub redis: String,
    /// What went wrong; none if it took too long.
    cause: Option<RedisError>,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the Redis of the source `{}` cannot be used now: {}", self.source_name, self.redis)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => write!(f, " does not answer within {} s", CHECK.as_secs()),
        }
    }
}

impl std::error::Error for Unreachable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

/// Asks the Redis of a source for the type of what is read, which needs a connection and the right to read it.
///
/// # Errors
/// What the server or the way to it says. A source waits for a server that is not there, so this is a warning.
pub async fn check(source: &Source) -> Result<(), Unreachable> {
    let asked = async {
        let link = Link::new(source.redis.clone(), "".into());
        let mut connected = link.connect(|_, _| {}).await?;
        let key = match &source.kind {
            SourceKind::Channel { .. } => None,
            SourceKind::Lists { key, .. } => Some(key.of("0")),
            SourceKind::Stream { key, .. } => Some(key.clone()),
        };
        let command = match key {
            Some(key) => ::redis::cmd("TYPE").arg(key).to_owned(),
            None => ::redis::cmd("PING"),
        };
        command.exec_async(&mut connected.redis).await
    };
    let cause = match timeout(CHECK, asked).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    let source_name = super::label(&source.kind);
    Err(Unreachable { source_name, redis: source.redis.to_string(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_vary_between_half_and_whole() {
        let second = Duration::from_secs(1);
        for _ in 0..1000 {
            let pause = jittered(second);
            assert!(pause >= second / 2 && pause <= second, "{pause:?}");
        }
    }
}
