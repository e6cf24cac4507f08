//! A break is over: what of this node still holds, and what was missed.

use crate::event::{Epoch, EventId, Timestamp};
use crate::hub::inbox::GapNotice;
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
            self.tell_all(GapNotice { channel: None, at, heard: head, gap: Gap::NewEpoch }, wake);
        }
    }

    /// Hands out what was gathered.
    pub(super) fn catch_up(&self, state: &mut State, now: Timestamp, wake: &mut Wake) {
        let Some(gathering) = state.node.as_mut().and_then(|node| node.gathering.take()) else { return };
        let before = state.head;
        if gathering.dropped > before {
            self.give_up_gathered(state, gathering.dropped, wake);
        }
        for load in gathering.loads {
            self.take_load(state, load, before, wake);
        }
        for (seq, gathered) in gathering.events {
            let State { node: Some(node), store: Store::Mirror(mirror), interest, head, .. } = state else {
                return;
            };
            let Gathered { record, channels, by } = gathered;
            mirror.append(&channels, &record);
            let mut reports = by.into_iter().filter_map(|by| node.report(by));
            if seq > *head {
                *head = seq;
                self.hand_out(interest, &channels, seq, &record.frame, reports.next(), wake);
            }
            reports.for_each(|report| report.say(0));
        }
        for news in gathering.later {
            self.heard_later(state, news, now, wake);
        }
    }

    fn take_load(&self, state: &mut State, load: Load, before: u64, wake: &mut Wake) {
        let State { node: Some(node), store: Store::Mirror(mirror), marks, .. } = state else {
            return;
        };
        let Some(follow) = node.follows.get_mut(&load.channel) else { return };
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
        // What Redis does not have any more of what was heard before the break is here.
        if lost > before {
            mirror.lose(&channel, lost);
            if was_ready {
                self.tell_gap(state, Some(&channel), before, lost, wake);
            }
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
