//! A break is over: what of this node still holds, and what was missed.

use tokio::time::Instant;

use crate::event::{ChannelName, Epoch, EventId, Timestamp};
use crate::hub::inbox::GapNotice;
use crate::hub::recent::Recent;
use crate::hub::{Gap, Hub, State};
use crate::store::Store;

use super::gathering::{Gathered, Load};
use super::{Standing, Wake};

impl Hub {
    /// Redis is there. Within the same epoch all that is here holds, and what was missed is gathered; in another one, all
    /// begins anew and every stream is told.
    pub(super) fn attached(&self, state: &mut State, epoch: Epoch, head: u64, wake: &mut Wake) {
        let is_new = {
            let State { node: Some(node), store: Store::Mirror(mirror), marks, .. } = state else { return };
            let is_new = !node.has_epoch || state.epoch != epoch;
            (node.is_attached, node.has_epoch) = (true, true);
            if is_new {
                mirror.clear();
                *marks = mirror.marks();
                node.gathering = None;
                node.unready.clear();
                node.wishes.clear();
                (state.epoch, state.head) = (epoch, head);
                state.recent = Recent::beginning(head);
                state.life += 1;
                node.follows.values_mut().for_each(|follow| follow.standing = Standing::Asked);
            }
            if node.follows.is_empty() {
                // Of no channels there is nothing to hear.
                node.gathering = None;
                state.head = state.head.max(head);
            } else {
                node.gathering.get_or_insert_default().begin(node.follows.keys(), head);
            }
            is_new
        };
        if is_new {
            let at = EventId { epoch, seq: head };
            let (life, gap) = (state.life, Gap::NewEpoch);
            self.tell_all(GapNotice { channel: None, at, heard: head, life, gap }, wake);
        }
    }

    /// Hands out what was gathered.
    pub(super) fn catch_up(&self, state: &mut State, now: Timestamp, wake: &mut Wake) {
        let Some(gathering) = state.node.as_mut().and_then(|node| node.gathering.take()) else { return };
        let before = state.head;
        if gathering.dropped > before {
            self.give_up_gathered(state, gathering.dropped, wake);
        }
        // One place for all: a stream of several channels is told once.
        let mut missing = Vec::new();
        let mut upto = before;
        for load in gathering.loads {
            if let Some((channel, lost)) = take_load(state, load, before) {
                missing.push(channel);
                upto = upto.max(lost);
            }
        }
        missing.iter().for_each(|channel| self.tell_gap(state, Some(channel), before, upto, wake));
        for (seq, gathered) in gathering.events {
            let State { node: Some(node), store: Store::Mirror(mirror), interest, head, recent, .. } = state
            else {
                return;
            };
            let Gathered { record, channels, by } = gathered;
            mirror.append(&channels, &record);
            let mut reports = by.into_iter().filter_map(|by| node.report(by));
            if seq > *head {
                *head = seq;
                recent.note(&record, &channels);
                self.hand_out(
                    interest,
                    &channels,
                    (seq, Instant::now()),
                    &record.frame,
                    reports.next(),
                    wake,
                );
            }
            reports.for_each(|report| report.say(0));
        }
        for news in gathering.later {
            self.heard_later(state, news, now, wake);
        }
    }

    /// More was missed than is gathered.
    fn give_up_gathered(&self, state: &mut State, dropped: u64, wake: &mut Wake) {
        let State { node: Some(node), store: Store::Mirror(mirror), head, .. } = state else { return };
        tracing::warn!("more was missed than is held: the streams are told of a gap");
        node.follows.keys().for_each(|channel| mirror.lose(channel, dropped));
        let heard = *head;
        self.tell_gap(state, None, heard, dropped, wake);
    }
}

/// Takes over what a load says besides its events. If some of what this node has not heard of is gone, gives up to where.
fn take_load(state: &mut State, load: Load, before: u64) -> Option<(ChannelName, u64)> {
    let State { node: Some(node), store: Store::Mirror(mirror), marks, interest, .. } = state else {
        return None;
    };
    let follow = node.follows.get_mut(&load.channel)?;
    let Load { channel, head, lost, last, mark } = load;
    if let Some(mark) = &mark {
        marks.absorb(&channel, mark);
    }
    let was_ready = follow.standing == Standing::Ready;
    if !was_ready {
        follow.standing = Standing::Loaded(head.max(before));
        if !node.unready.contains(&channel) {
            node.unready.push(channel.clone());
        }
    }
    mirror.begin(&channel, lost, last);
    if lost <= before {
        // What Redis does not have any more of what was heard before the break is here.
        return None;
    }
    mirror.lose(&channel, lost);
    // Where an epoch has begun anew, streams of the one before are subscribed to channels that are not ready yet.
    (was_ready || interest.streams(&channel) > 0).then_some((channel, lost))
}
