//! Channels with several streams, by about how many: for who asks which have the most.
//!
//! Invariants: a channel is at the level of the power of two that its streams have reached, and at none with one stream,
//! as most users' own have; so it costs something only when a channel doubles or halves. Who asks looks at a bounded number
//! of channels under the hub's lock, however many there are.

use std::collections::HashSet;

use crate::event::ChannelName;

use super::Hub;

/// So many channels of one level are looked at. Of more, which have about as many streams, some are left out.
const LOOKS: usize = 1000;

/// The channels of each level: the first has two or three streams, and each next one twice as many.
#[derive(Debug, Default)]
pub(super) struct Ranks(Vec<HashSet<ChannelName>>);

impl Ranks {
    /// Notes that a channel has another number of streams.
    pub(super) fn changed(&mut self, channel: &ChannelName, before: usize, after: usize) {
        let (before, after) = (level(before), level(after));
        if before == after {
            return;
        }
        if let Some(level) = before.and_then(|level| self.0.get_mut(level)) {
            level.remove(channel);
        }
        if let Some(level) = after {
            if self.0.len() <= level {
                self.0.resize_with(level + 1, HashSet::new);
            }
            self.0[level].insert(channel.clone());
        }
    }

    /// At least so many channels, those with the most streams among them, if there are as many with several.
    fn highest(&self, most: usize) -> Vec<&ChannelName> {
        let mut found = Vec::new();
        for level in self.0.iter().rev() {
            if found.len() >= most {
                break;
            }
            found.extend(level.iter().take(LOOKS));
        }
        found
    }
}

fn level(streams: usize) -> Option<usize> {
    streams.checked_ilog2()?.checked_sub(1).map(|level| level as usize)
}

impl Hub {
    /// The channels with the most streams here, no more than `most`, each with how many. Channels with one are not told.
    pub fn busiest(&self, most: usize) -> Vec<(ChannelName, usize)> {
        let mut found: Vec<_> = {
            let interest = &self.lock().interest;
            let highest = interest.ranks().highest(most).into_iter();
            highest.map(|channel| (channel.clone(), interest.streams(channel))).collect()
        };
        found.sort_unstable_by(|(name, streams), (other, others)| others.cmp(streams).then(name.cmp(other)));
        found.truncate(most);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> ChannelName {
        ChannelName::new(&format!("c{number}")).unwrap()
    }

    #[test]
    fn a_channel_is_at_one_level_or_none() {
        let mut ranks = Ranks::default();
        for streams in 0..100 {
            ranks.changed(&name(1), streams, streams + 1);
            let levels = ranks.0.iter().filter(|level| level.contains(&name(1))).count();
            assert_eq!(levels, usize::from(streams + 1 > 1), "{streams}");
        }
        (0..100).rev().for_each(|streams| ranks.changed(&name(1), streams + 1, streams));
        assert!(ranks.0.iter().all(HashSet::is_empty));
    }

    #[test]
    fn the_highest_are_found_and_no_more_looked_at_than_are_needed() {
        let mut ranks = Ranks::default();
        (0..5 * LOOKS).for_each(|number| ranks.changed(&name(number), 0, 2));
        (0..3).for_each(|number| ranks.changed(&name(number), 2, 1000));
        let highest = ranks.highest(20);
        assert_eq!(highest.len(), 3 + LOOKS);
        assert!((0..3).all(|number| highest[..3].contains(&&name(number))));
        assert_eq!(ranks.highest(3).len(), 3);
    }
}
