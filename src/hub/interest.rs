//! Which workers have subscribers for which channel.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::event::ChannelName;

use super::ranks::Ranks;

/// A channel's number while it has subscribers. Never given twice, so a delivery that is late cannot reach the
/// subscribers of another channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelId(u64);

/// The subscribed channels.
#[derive(Debug, Default)]
pub(super) struct Interest {
    channels: HashMap<ChannelName, Entry>,
    next: u64,
    ranks: Ranks,
}

#[derive(Debug)]
struct Entry {
    id: ChannelId,
    /// Streams by worker; no zeros.
    streams: SmallVec<[(u16, u32); 2]>,
}

/// Where a publication goes.
pub(super) struct Targets {
    /// The workers, each with those of the channels that it has subscribers for.
    pub(super) workers: SmallVec<[(usize, SmallVec<[ChannelId; 2]>); 8]>,
    /// The streams, each counted once for every channel of it.
    pub(super) streams: usize,
    /// Whether a stream may have been counted more than once.
    pub(super) overlap: bool,
}

impl Interest {
    pub(super) fn join(&mut self, channel: &ChannelName, worker: usize) -> ChannelId {
        let worker = number(worker);
        let entry = self.channels.entry(channel.clone()).or_insert_with(|| {
            self.next += 1;
            Entry { id: ChannelId(self.next), streams: SmallVec::new() }
        });
        match entry.streams.iter_mut().find(|(of, _)| *of == worker) {
            Some((_, streams)) => *streams += 1,
            None => entry.streams.push((worker, 1)),
        }
        let streams = entry.total();
        self.ranks.changed(channel, streams - 1, streams);
        entry.id
    }

    pub(super) fn leave(&mut self, channel: &ChannelName, worker: usize) {
        let worker = number(worker);
        let Some(entry) = self.channels.get_mut(channel) else {
            return;
        };
        if let Some(place) = entry.streams.iter().position(|(of, _)| *of == worker) {
            let streams = entry.total();
            self.ranks.changed(channel, streams, streams - 1);
            entry.streams[place].1 -= 1;
            if entry.streams[place].1 == 0 {
                entry.streams.swap_remove(place);
            }
        }
        if entry.streams.is_empty() {
            self.channels.remove(channel);
        }
    }

    pub(super) fn streams(&self, channel: &ChannelName) -> usize {
        self.channels.get(channel).map_or(0, Entry::total)
    }

    pub(super) fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    pub(super) fn targets(&self, channels: &[ChannelName]) -> Targets {
        let mut targets = Targets { workers: SmallVec::new(), streams: 0, overlap: false };
        let mut found = 0;
        for entry in channels.iter().filter_map(|channel| self.channels.get(channel)) {
            found += 1;
            targets.streams += entry.total();
            for (worker, _) in &entry.streams {
                let worker = usize::from(*worker);
                match targets.workers.iter_mut().find(|(of, _)| *of == worker) {
                    Some((_, ids)) => ids.push(entry.id),
                    None => targets.workers.push((worker, SmallVec::from_slice(&[entry.id]))),
                }
            }
        }
        targets.overlap = found > 1;
        targets
    }
}

impl Entry {
    fn total(&self) -> usize {
        self.streams.iter().map(|(_, streams)| *streams as usize).sum()
    }
}

fn number(worker: usize) -> u16 {
    // The configuration bounds workers far below; the largest number would only be shared by the impossible.
    u16::try_from(worker).unwrap_or(u16::MAX)
}
