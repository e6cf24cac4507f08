//! The history that a server begins with: a new one in memory, or what its store on disk has kept.

use crate::config::{Config, StoreKind};
use crate::event::{Epoch, Timestamp};
use crate::hub::{Committer, Hub};
use crate::store::{Disk, Limits, Memory, OpenDisk, SyncMode};

use super::BindError;

/// Opens the store, and says what had happened to it. One on disk has a committer, which is to be run.
pub(super) fn open(config: &Config) -> Result<(Hub, Option<Committer>), BindError> {
    let store = &config.store;
    let limits = Limits {
        age: store.age,
        events: store.events,
        bytes: store.bytes,
        max_bytes: store.max_bytes,
        max_channels: store.max_channels,
    };
    let mut bits = [0; 4];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| BindError::Random)?;
    let fresh = Epoch::from_bits(u32::from_ne_bytes(bits));
    let (hub, committer) = match &store.kind {
        StoreKind::Memory => (Hub::new(config.server.workers, Memory::new(limits), fresh), None),
        StoreKind::Disk { path, sync_always } => {
            let sync = if *sync_always { SyncMode::Always } else { SyncMode::Interval };
            let open = Disk::open(path, limits, sync, fresh, Timestamp::now()).map_err(BindError::Store)?;
            tell_of(&open);
            let (hub, committer) = Hub::on_disk(config.server.workers, open, sync);
            (hub, Some(committer))
        }
        StoreKind::Redis(_) => return Err(BindError::RedisStore),
    };
    Ok((hub.with_keys(config.publish.key_window, config.publish.max_keys), committer))
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
