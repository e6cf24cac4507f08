//! What goes over the wire: calls of the scripts, their replies, and what is told on channels. Pure.
//!
//! Invariant: nothing that Redis says makes us panic or is taken for what it is not; what cannot be read is `None`.

use bytes::Bytes;
use redis::{Cmd, Value};
use smallvec::SmallVec;

use super::{Answer, Entry, NodeId, NotStored, Stored, Ticket, Told, body_of};
use crate::event::{ChannelName, Epoch, Event, EventId, EventName, Frame, Timestamp};
use crate::store::{Mark, Record};

/// Adds a publication to a call of `publish`, with its order and its place there.
pub(super) fn add_entry(cmd: &mut Cmd, ticket: Ticket, index: usize, entry: &Entry) {
    cmd.arg(format!("{} {index}", ticket.0)).arg(entry.channels.len());
    for channel in &entry.channels {
        cmd.arg(channel.as_str());
    }
    match entry.ttl_ms {
        Some(ttl) => cmd.arg(ttl),
        None => cmd.arg(""),
    };
    cmd.arg(entry.collapse.as_deref().unwrap_or_default());
    match &entry.key {
        Some((key, digest, keep)) => cmd.arg(&**key).arg(digest).arg(keep),
        None => cmd.arg("").arg("").arg(""),
    };
    cmd.arg(&body_of(&entry.event)[..]);
}

/// The reply to `publish`, for so many publications.
pub(super) fn published(reply: &Value, batch: usize) -> Option<Result<Vec<Stored>, NotStored>> {
    let Value::Array(parts) = reply else { return None };
    if let [kind, index] = &parts[..]
        && text(kind)? == "reused"
    {
        let index = usize::try_from(number(index)?).ok()?;
        return (index < batch).then_some(Err(NotStored::KeyReused { index }));
    }
    let stored = parts.chunks(3).map(|part| {
        let [kind, seq, count] = part else { return None };
        let seq = number(seq)?;
        Some(match text(kind)? {
            "new" => Stored::New { seq, copies: u32::try_from(number(count)?).ok()? },
            "before" => Stored::Before { seq, streams: number(count).and_then(|n| u32::try_from(n).ok()) },
            _ => return None,
        })
    });
    let stored = stored.collect::<Option<Vec<_>>>()?;
    (stored.len() == batch).then_some(Ok(stored))
}

/// What `attach` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) epoch: Epoch,
    pub(super) head: u64,
    /// As they are written, to be given back at the next time.
    pub(super) holes: String,
    pub(super) blocks: Vec<(Box<str>, Timestamp)>,
}

/// The reply to `attach`.
pub(super) fn joined(reply: &Value) -> Option<Joined> {
    let Value::Array(parts) = reply else { return None };
    let [epoch, head, holes, blocks @ ..] = &parts[..] else { return None };
    let blocks = blocks.chunks(2).map(|pair| match pair {
        [user, until] => Some((text(user)?.into(), Timestamp(number(until)?))),
        _ => None,
    });
    let holes = text(holes)?.to_owned();
    ranges(&holes)?;
    Some(Joined {
        epoch: epoch_of(text(epoch)?)?,
        head: number(head)?,
        holes,
        blocks: blocks.collect::<Option<_>>()?,
    })
}

/// Reads holes: `10-20,40-50`.
pub(super) fn ranges(text: &str) -> Option<Vec<std::ops::Range<u64>>> {
    let holes = text.split(',').filter(|hole| !hole.is_empty()).map(|hole| {
        let (from, to) = hole.split_once('-')?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    holes.collect()
}

/// What `load` says of one channel.
#[derive(Debug)]
pub(super) struct Piece {
    /// Whether there is nothing more.
    pub(super) is_last: bool,
    pub(super) lost: u64,
    pub(super) last: u64,
    pub(super) records: Vec<Record>,
    pub(super) mark: Option<Mark>,
}

/// The reply to `load`: the head, and what there is of the first of the channels asked for.
pub(super) fn loaded(reply: &Value, epoch: Epoch) -> Option<(u64, Vec<Piece>)> {
    let Value::Array(parts) = reply else { return None };
    let (head, pieces) = parts.split_first()?;
    Some((number(head)?, pieces.iter().map(|part| piece(part, epoch)).collect::<Option<_>>()?))
}

fn piece(part: &Value, epoch: Epoch) -> Option<Piece> {
    let Value::Array(parts) = part else { return None };
    let [is_last, lost, last, Value::Array(events), Value::Array(marks)] = &parts[..] else { return None };
    let records = events.chunks(2).map(|pair| match pair {
        [seq, Value::BulkString(kept)] => record(EventId { epoch, seq: number(seq)? }, kept),
        _ => None,
    });
    Some(Piece {
        is_last: number(is_last)? == 1,
        lost: number(lost)?,
        last: number(last)?,
        records: records.collect::<Option<_>>()?,
        mark: mark(marks),
    })
}

fn mark(marks: &[Value]) -> Option<Mark> {
    let mut mark = Mark::default();
    for pair in marks.chunks(2) {
        let [member, score] = pair else { return None };
        match text(member)? {
            "u" => mark.raise(number(score)?),
            seq => mark.add(seq.parse().ok()?),
        }
    }
    (!marks.is_empty()).then_some(mark)
}

/// Reads an event as it is kept: `AT EXPIRES LENGTH`, a line feed, the collapse key, the body.
fn record(id: EventId, kept: &[u8]) -> Option<Record> {
    let (head, rest) = first_line(kept)?;
    let mut words = head.split(' ');
    let mut next = || words.next()?.parse::<u64>().ok();
    let (at, expires, length) = (next()?, next()?, usize::try_from(next()?).ok()?);
    let collapse = std::str::from_utf8(rest.get(..length)?).ok()?;
    let mut text = format!("id: {id}\n").into_bytes();
    text.extend_from_slice(rest.get(length..)?);
    let expires = (expires > 0).then_some(Timestamp(expires));
    Some(Record {
        seq: id.seq,
        frame: Frame::new(&text).until(expires),
        at: Timestamp(at),
        expires,
        collapse: (length > 0).then(|| collapse.into()),
    })
}

/// What is told on a channel of Redis.
#[derive(Debug)]
pub(super) enum Heard {
    /// Something was published.
    Event(Epoch, Told),
    /// Something was marked as read.
    Read { epoch: Epoch, own: ChannelName, seqs: Vec<u64>, up_to: u64, by: (NodeId, Ticket) },
    /// A user's streams are to be ended.
    Kick { user: Box<str>, event: Option<Event>, until: Option<Timestamp>, by: (NodeId, Ticket) },
    /// What this node waits for.
    Answers(Vec<Answer>),
    /// A new epoch began.
    Began(Epoch),
}

/// Reads what was told; `channel` is the name of the channel that a `ch:` stands for.
pub(super) fn heard(channel: Option<&str>, told: &[u8]) -> Option<Heard> {
    let own = || ChannelName::new(channel?).ok();
    let (kind, rest) = (told.get(..2)?, told.get(2..)?);
    match kind {
        b"e " => event(own()?, rest),
        b"r " => {
            let mut words = std::str::from_utf8(rest).ok()?.split(' ');
            let epoch = epoch_of(words.next()?)?;
            let by = (node(words.next()?)?, Ticket(words.next()?.parse().ok()?));
            let up_to = words.next()?.parse().ok()?;
            let seqs = words.next()?.split(',').filter(|seq| !seq.is_empty()).map(|seq| seq.parse().ok());
            Some(Heard::Read { epoch, own: own()?, seqs: seqs.collect::<Option<_>>()?, up_to, by })
        }
        b"k " => kick(rest),
        b"a " => {
            let answers = std::str::from_utf8(rest).ok()?.split(';').map(|answer| {
                let mut words = answer.split(' ');
                Some(Answer {
                    from: node(words.next()?)?,
                    ticket: Ticket(words.next()?.parse().ok()?),
                    index: words.next()?.parse().ok()?,
                    copies: words.next()?.parse().ok()?,
                    streams: words.next()?.parse().ok()?,
                })
            });
            Some(Heard::Answers(answers.collect::<Option<_>>()?))
        }
        b"n " => Some(Heard::Began(epoch_of(std::str::from_utf8(rest).ok()?)?)),
        _ => None,
    }
}

/// `ID BEFORE NODE TICKET INDEX CHANNELS`, and the event as it is kept.
fn event(channel: ChannelName, rest: &[u8]) -> Option<Heard> {
    let (head, _) = first_line(rest)?;
    let mut words = head.splitn(7, ' ');
    let id: EventId = words.next()?.parse().ok()?;
    let before = words.next()?.parse().ok()?;
    let by = (node(words.next()?)?, Ticket(words.next()?.parse().ok()?), words.next()?.parse().ok()?);
    let channels = words.next()?.split(',').map(|name| ChannelName::new(name).ok());
    let channels = channels.collect::<Option<SmallVec<_>>>()?;
    let kept = rest.get(head.len() - words.next()?.len()..)?;
    Some(Heard::Event(id.epoch, Told { record: record(id, kept)?, channel, before, channels, by }))
}

/// `NODE TICKET UNTIL USER` and the event of a kick.
fn kick(rest: &[u8]) -> Option<Heard> {
    let mut parts = rest.splitn(5, |byte| *byte == b' ');
    let mut word = || std::str::from_utf8(parts.next()?).ok();
    let by = (node(word()?)?, Ticket(word()?.parse().ok()?));
    let until = word()?.parse().ok()?;
    let user = word()?.into();
    let event = farewell_of(parts.next()?)?;
    Some(Heard::Kick { user, event, until: (until > 0).then_some(Timestamp(until)), by })
}

/// The event of a kick as it is told: nothing, or `LENGTH RETRY`, a line feed, the name, the data. `-` is none.
pub(super) fn farewell(event: Option<&Event>) -> Vec<u8> {
    let Some(event) = event else { return Vec::new() };
    let name = event.name.as_ref().map(EventName::as_str);
    let retry = event.retry.map_or_else(|| "-".to_owned(), |retry| retry.to_string());
    let length = name.map_or_else(|| "-".to_owned(), |name| name.len().to_string());
    let mut text = format!("{length} {retry}\n{}", name.unwrap_or_default()).into_bytes();
    text.extend_from_slice(&event.data);
    text
}

fn farewell_of(told: &[u8]) -> Option<Option<Event>> {
    if told.is_empty() {
        return Some(None);
    }
    let (head, rest) = first_line(told)?;
    let (length, retry) = head.split_once(' ')?;
    let (name, data) = match length {
        "-" => (None, rest),
        length => {
            let length = length.parse().ok()?;
            let name = std::str::from_utf8(rest.get(..length)?).ok()?;
            (Some(EventName::configured(name).ok()?), rest.get(length..)?)
        }
    };
    let retry = if retry == "-" { None } else { Some(retry.parse().ok()?) };
    Some(Some(Event { name, data: Bytes::copy_from_slice(data), retry }))
}

/// Answers to one node, as they are told.
pub(super) fn answers(answers: &[Answer]) -> String {
    let one = |a: &Answer| format!("{} {} {} {} {}", a.from, a.ticket.0, a.index, a.copies, a.streams);
    format!("a {}", answers.iter().map(one).collect::<Vec<_>>().join(";"))
}

fn first_line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

fn epoch_of(text: &str) -> Option<Epoch> {
    format!("{text}-0").parse::<EventId>().ok().map(|id| id.epoch)
}

fn node(text: &str) -> Option<NodeId> {
    u64::from_str_radix(text, 16).ok().map(NodeId)
}

/// A number, however it is written.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        other => text(other)?.parse().ok(),
    }
}

/// Text, however it is written.
fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
