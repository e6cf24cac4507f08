//! What is ordered: sent in the order in which it came, answered as Redis answers.

use redis::{Cmd, RedisError, RedisResult, Value};

use super::bundle::Bundle;
use super::{End, Sent, Session, end_of, lost, refuse};
use crate::store::MAX_APART;
use crate::store::redis::codec;
use crate::store::redis::{Answer, News, NodeId, NotStored, Order, Stored};

impl Session<'_> {
    pub(super) async fn take(&mut self, order: Order) {
        let is_bundled = match &order {
            Order::Publish { batch, .. } => Bundle::takes(batch) && self.bundle.has_room(batch),
            // Nothing that is sent among the publications.
            Order::Follow { .. } | Order::Leave { .. } | Order::Pass | Order::Tell { .. } => true,
            Order::Mark { .. } | Order::Kick { .. } | Order::Counted { .. } | Order::Remember { .. } => false,
        };
        if !is_bundled {
            self.publish().await;
        }
        let scripts = &self.shared.scripts;
        match order {
            Order::Publish { ticket, batch } => {
                let is_alone = !Bundle::takes(&batch);
                self.bundle.add(ticket, batch);
                if is_alone {
                    self.publish().await;
                }
            }
            Order::Follow { channel } => self.shared.channels.follow(channel),
            Order::Leave { channel } => {
                for copy in self.shared.channels.leave(&channel) {
                    self.unneeded(copy);
                }
            }
            Order::Pass => self.shared.pass_wanted = true,
            Order::Mark { ref own, ref seqs, up_to, ticket } => {
                let mut call = self.call(scripts.mark.call());
                call.arg(self.epoch.as_str()).arg(self.shared.me.to_string()).arg(ticket.0);
                call.arg(self.shared.bounds.age_ms).arg(MAX_APART);
                call.arg(own.as_str()).arg(up_to).arg(seqs);
                self.commands.send(Sent::Again(order), call).await;
            }
            Order::Kick { ticket, user, event, block_ms } => {
                let mut call = self.call(scripts.kick.call());
                call.arg(self.shared.me.to_string()).arg(ticket.0).arg(&*user);
                match block_ms {
                    Some(block) => call.arg(block),
                    None => call.arg(""),
                };
                call.arg(codec::farewell(event.as_ref()));
                self.commands.send(Sent::Kick { ticket }, call).await;
            }
            Order::Tell { to, answer } => self.answer(to, answer),
            Order::Counted { ref key, seq, streams } => {
                let mut call = self.call(scripts.key.call());
                call.arg(self.epoch.as_str()).arg(&**key).arg(seq).arg(streams).arg("");
                self.commands.send(Sent::Again(order), call).await;
            }
            Order::Remember { ref key, until } => {
                let mut call = self.call(scripts.key.call());
                call.arg(self.epoch.as_str()).arg(&**key).arg("").arg("").arg(until.0);
                self.commands.send(Sent::Again(order), call).await;
            }
        }
    }

    /// Sends the publications that were gathered.
    pub(super) async fn publish(&mut self) {
        if self.bundle.is_empty() {
            return;
        }
        let bounds = self.shared.bounds;
        let mut call = self.call(self.shared.scripts.publish.call());
        call.arg(self.epoch.as_str()).arg(self.shared.me.to_string());
        call.arg(bounds.events).arg(bounds.bytes).arg(bounds.age_ms).arg(bounds.grain_ms);
        let mut batches = Vec::new();
        for (ticket, batch) in self.bundle.take() {
            for (index, entry) in batch.iter().enumerate() {
                codec::add_entry(&mut call, ticket, index, entry);
            }
            batches.push((ticket, batch.len()));
        }
        self.publishing += 1;
        self.commands.send(Sent::Publish(batches), call).await;
    }

    pub(super) fn call(&self, mut call: Cmd) -> Cmd {
        call.arg(&self.shared.prefix);
        call
    }

    /// Takes the reply to a command.
    pub(super) fn answered(&mut self, sent: Sent, reply: RedisResult<Value>) -> Result<(), End> {
        self.publishing -= usize::from(matches!(sent, Sent::Publish(_)));
        let error = match reply.and_then(Value::extract_error) {
            Ok(reply) => return self.done(sent, &reply),
            Err(error) => error,
        };
        if error.code().is_none() {
            // No answer: it may have been done.
            lost(self.shared, sent);
            return Err(end_of(error));
        }
        match sent {
            Sent::Publish(batches) => refuse(self.shared, &batches, NotStored::Away),
            Sent::Kick { ticket } => {
                self.shared.tell(News::Ordered { ticket, outcome: Err(NotStored::Away) });
            }
            // Of another epoch it is forgotten then.
            Sent::Again(order) if is_end(&error) => self.shared.put_by(order),
            Sent::Again(_) | Sent::Other => {}
        }
        match error.code() {
            _ if is_end(&error) => Err(end_of(error)),
            code => {
                let help = match code {
                    Some("OOM") => "its memory is full: give it more, or keep less history",
                    Some("NOPERM") => "the user lacks a right: docs/redis.md lists them",
                    Some("BUSY") => "a script of somebody else does not end",
                    Some("MISCONF") => "it cannot write to its disk",
                    Some("NOREPLICAS") => "it has too few replicas",
                    _ => "see the log of Redis",
                };
                self.complain(&error.to_string(), help);
                Ok(())
            }
        }
    }

    fn done(&mut self, sent: Sent, reply: &Value) -> Result<(), End> {
        match sent {
            Sent::Publish(batches) => {
                match codec::published(reply, batches.iter().map(|(_, size)| size).sum()) {
                    Some(Ok(stored)) => {
                        // Whoever was told that it is kept is told if it is gone, also if nobody follows its channel.
                        let seqs =
                            stored.iter().map(|(Stored::New { seq, .. } | Stored::Before { seq, .. })| *seq);
                        self.shared.saw(seqs.max().unwrap_or(0));
                        let mut stored = stored.into_iter();
                        for (ticket, size) in batches {
                            let outcome = Ok(stored.by_ref().take(size).collect());
                            self.shared.tell(News::Published { ticket, outcome });
                        }
                    }
                    Some(Err(why)) => refuse(self.shared, &batches, why),
                    None => {
                        refuse(self.shared, &batches, NotStored::Unknown);
                        return Err(End::Broken("a reply that makes no sense".to_owned()));
                    }
                }
            }
            Sent::Kick { ticket } => {
                let told = codec::number(reply).and_then(|told| u32::try_from(told).ok());
                self.shared.tell(News::Ordered { ticket, outcome: told.ok_or(NotStored::Unknown) });
            }
            Sent::Again(_) | Sent::Other => {}
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, to: NodeId, answer: Answer) {
        self.answers.entry(to).or_default().push(answer);
    }
}

/// Whether the server does not serve this deployment any more, so that another one, or a new connection, may.
fn is_end(error: &RedisError) -> bool {
    matches!(error.code(), Some("ANEW" | "NOSCRIPT" | "READONLY" | "MASTERDOWN" | "LOADING" | "NOAUTH"))
}
