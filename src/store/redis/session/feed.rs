//! What is heard on the feed: what was told, and what was asked for.

use redis::{PushInfo, PushKind, RedisResult, Value};

use super::{End, Fed, Session, end_of};
use crate::event::Epoch;
use crate::store::redis::channels::{Fate, Unneeded};
use crate::store::redis::codec::{self, Heard};
use crate::store::redis::{Answer, News};

impl Session<'_> {
    /// Takes what is told on the feed.
    pub(super) fn hear(&mut self, push: PushInfo) -> Result<(), End> {
        match push.kind {
            PushKind::Message => {}
            PushKind::Disconnection => return Err(End::Broken("the connection was closed".to_owned())),
            _ => return Ok(()),
        }
        let [Value::BulkString(channel), Value::BulkString(told)] = &push.data[..] else { return Ok(()) };
        let channel =
            std::str::from_utf8(channel).ok().and_then(|name| name.strip_prefix(&*self.shared.prefix));
        let heard = codec::heard(channel.and_then(|name| name.strip_prefix("ch:")), told);
        let Some(heard) = heard else {
            self.complain("something was told in Redis that is not understood", "is it of another version?");
            return Ok(());
        };
        match heard {
            Heard::Event(epoch, told) => {
                self.is_ours(epoch)?;
                self.shared.saw(told.record.seq);
                match self.shared.channels.heard(told) {
                    Fate::Told(told) => self.shared.tell(News::Event(told)),
                    Fate::Held => {}
                    Fate::Unneeded(copy) => self.unneeded(copy),
                }
            }
            Heard::Read { epoch, own, seqs, up_to, by } => {
                self.is_ours(epoch)?;
                // What is still to be loaded has it already, or is told of it by the load.
                if self.shared.channels.is_loaded(&own) {
                    self.shared.tell(News::Read { own, seqs, up_to, by });
                }
            }
            Heard::Kick { user, event, until, by } => {
                self.shared.tell(News::Kick { user, event, until, by });
            }
            Heard::Answers(answers) => self.shared.tell(News::Answers(answers)),
            Heard::Began(epoch) => self.is_ours(epoch)?,
        }
        Ok(())
    }

    fn is_ours(&self, epoch: Epoch) -> Result<(), End> {
        if epoch == self.epoch { Ok(()) } else { Err(End::Anew) }
    }

    /// Takes a reply on the feed.
    pub(super) fn fed(&mut self, fed: Fed, reply: RedisResult<Value>) -> Result<(), End> {
        let reply = reply.and_then(Value::extract_error).map_err(end_of)?;
        let nonsense = || End::Broken("a reply that makes no sense".to_owned());
        match fed {
            Fed::Other => {}
            Fed::Pass => {
                self.is_passing = false;
                self.passed(codec::number(&reply).ok_or_else(nonsense)?);
            }
            Fed::Load(asked) => {
                self.loads -= 1;
                let (head, pieces) = codec::loaded(&reply, self.epoch).ok_or_else(nonsense)?;
                let (mut news, mut unneeded) = (Vec::new(), Vec::new());
                self.shared.channels.loaded(asked, head, pieces, &mut news, &mut unneeded);
                for news in news {
                    self.shared.tell(news);
                }
                for copy in unneeded {
                    self.unneeded(copy);
                }
                self.passed(head);
            }
        }
        Ok(())
    }

    /// Says that all up to a head has come; but after a break only when all that was followed is loaded.
    fn passed(&mut self, head: u64) {
        self.shared.saw(head);
        if self.shared.channels.are_level() {
            self.shared.tell(News::Passed { head });
        }
    }

    /// Says for a copy that nobody here needs what its publisher waits for.
    pub(super) fn unneeded(&mut self, (to, ticket, index): Unneeded) {
        let answer = Answer { from: self.shared.me, ticket, index, copies: 1, streams: 0 };
        if to == self.shared.me {
            self.shared.tell(News::Answers(vec![answer]));
        } else {
            self.answer(to, answer);
        }
    }
}
