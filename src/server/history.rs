//! The history that a server begins with: a new one in memory, what its store on disk has kept, or that of a deployment
//! in Redis; and the thread that keeps it.

use std::io;
use std::time::Duration;

use tokio::time::sleep;

use crate::config::{Config, StoreKind};
use crate::event::{Epoch, Timestamp};
use crate::hub::{Committer, Hub};
use crate::store::redis::{Link, News, NodeId, Receiver};
use crate::store::{Disk, Limits, Memory, OpenDisk, SyncMode};

use super::BindError;
use crate::worker;

/// So much of what Redis has told is taken in at once.
const NEWS_AT_ONCE: usize = 256;

/// How long nothing is taken in when a worker is too far behind. The link has a bound for what waits then.
const BREATH: Duration = Duration::from_millis(10);

/// What keeps history, on a thread of its own until the hub is closed.
pub(super) enum Keeper {
    /// Writes it to the disk.
    Committer(Committer),
    /// Speaks with Redis.
    Link(Hub, Box<Link>, Receiver<News>),
}

impl Keeper {
    /// Runs until the hub is closed and all is kept.
    pub(super) fn run(self) -> io::Result<()> {
        let (hub, link, mut news) = match self {
            Self::Committer(committer) => {
                committer.run();
                return Ok(());
            }
            Self::Link(hub, link, news) => (hub, link, news),
        };
        let hearing = async {
            let mut heard = Vec::new();
            while news.recv_many(&mut heard, NEWS_AT_ONCE).await > 0 {
                while !hub.keeps_up() {
                    sleep(BREATH).await;
                }
                hub.hear(heard.drain(..), Timestamp::now());
            }
        };
        worker::runtime()?.block_on(async { tokio::join!(link.run(), hearing) });
        Ok(())
    }
}

/// Opens the store, and says what had happened to it. What it has to keep it is to be run. A Redis that is away is no
/// error: the app is to be reached meanwhile.
pub(super) fn open(config: &Config) -> Result<(Hub, Option<Keeper>), BindError> {
    let store = &config.store;
    let limits = Limits {
        age: store.age,
        events: store.events,
        bytes: store.bytes,
        max_bytes: store.max_bytes,
        max_channels: store.max_channels,
    };
    let mut bits = [0; 8];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| BindError::Random)?;
    let [a, b, c, d, ..] = bits;
    let fresh = Epoch::from_bits(u32::from_ne_bytes([a, b, c, d]));
    let (hub, keeper) = match &store.kind {
        StoreKind::Memory => (Hub::new(config.server.workers, Memory::new(limits), fresh), None),
        StoreKind::Disk { path, sync_always } => {
            let sync = if *sync_always { SyncMode::Always } else { SyncMode::Interval };
            let open = Disk::open(path, limits, sync, fresh, Timestamp::now()).map_err(BindError::Store)?;
            tell_of(&open);
            let (hub, committer) = Hub::on_disk(config.server.workers, open, sync);
            (hub, Some(Keeper::Committer(committer)))
        }
        StoreKind::Redis(redis) => {
            let (node, waits) = (NodeId(u64::from_ne_bytes(bits)), !redis.retry_for.is_zero());
            let (hub, orders) = Hub::on_redis(config.server.workers, limits.clone(), node, waits);
            let (link, news) = Link::new(redis, &limits, node, orders).map_err(BindError::Redis)?;
            (hub.clone(), Some(Keeper::Link(hub, Box::new(link), news)))
        }
    };
    Ok((hub.with_keys(config.publish.key_window, config.publish.max_keys), keeper))
}

/// Says what had happened to the store since it was last written to.
fn tell_of(open: &OpenDisk) {
    if open.repaired > 0 {
        let bytes = open.repaired;
        tracing::warn!(bytes, "the store ended within a write, which has been cut off");
    }
    if let Some(aside) = &open.aside {
        let folder = aside.folder.display();
        tracing::error!(
            %folder, why = aside.why,
            "the store was damaged and has been set aside: its history is lost, and a new epoch begins"
        );
    } else if open.is_new_epoch {
        tracing::warn!(
            "the store ends before what was acknowledged, or may do so, since the machine went down while it was in \
             use: the last events may be lost, so a new epoch begins"
        );
    }
}
