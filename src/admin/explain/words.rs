//! The answer in sentences, for people. Pure.

use crate::event::ChannelName;
use crate::hub::{Began, Standing, StreamRecord};

use super::fate::{Case, Fate, Outcome, Reach};

/// So many names are spelled out.
const NAMED: usize = 8;

/// Why it was or was not delivered.
pub(super) fn reason(case: &Case, user: &str, outcome: Outcome, fates: &[Fate]) -> String {
    let streams = |fate: Fate| count(fates.iter().filter(|is| **is == fate).count());
    match outcome {
        Outcome::Delivered => format!("it was written to {} of user {user}", streams(Fate::Written)),
        Outcome::Queued if case.trace.standing == Standing::Writing => {
            "it waits to be written to the disk, and is handed out after that".to_owned()
        }
        Outcome::Queued => format!("it waits for the client of {} of user {user}", streams(Fate::Queued)),
        Outcome::CutOff => {
            format!("{} of user {user} ended before it was written{}", streams(Fate::CutOff), later(case))
        }
        Outcome::Gap => format!(
            "{} of user {user} had to be told of a gap in its place: history did not reach back to what the client had",
            streams(Fate::Gap)
        ),
        Outcome::NotGranted => not_granted(case, user, fates),
        Outcome::NeverPublished => never(case),
        Outcome::OtherEpoch => "its id is of another history than the one of now, of which nothing is known: a history \
                                begins anew when a memory store is started, and when a store may have lost its end"
            .to_owned(),
        Outcome::Unknown => unknown(case, user),
        Outcome::Expired | Outcome::Collapsed | Outcome::Evicted | Outcome::NotConnected => {
            format!("{}{}", connected(user, fates), later(case))
        }
    }
}

/// What became of it for a stream.
pub(super) fn of_stream(case: &Case, record: &StreamRecord, fate: Fate) -> String {
    let ended = record.ended.map_or("", |(_, why)| why);
    let is_unread = record.began == Began::Unread && case.id.seq <= record.head;
    match fate {
        Fate::Written if is_unread && case.trace.unread == Some(false) => {
            "it was written with what was unread when the stream was opened, or had been read by then"
                .to_owned()
        }
        Fate::Written if is_unread => {
            "it was written with what was unread when the stream was opened".to_owned()
        }
        Fate::Written if record.protocol == "HTTP/2" => "it was taken by the client's connection".to_owned(),
        Fate::Written => "it was taken by the client's socket".to_owned(),
        Fate::Queued if record.is_reading && case.id.seq > record.cursor => {
            "the stream reads what its client missed, and has not come to it".to_owned()
        }
        Fate::Queued => format!("it waits in the stream's backlog: {} bytes do", record.waiting),
        Fate::CutOff => format!("it waited when the stream ended: {ended}"),
        Fate::Gap => "the client was told of a gap in its place".to_owned(),
        Fate::PassedOver => "it was of no use any more when the stream's turn came".to_owned(),
        Fate::NotGranted => {
            format!("the stream has none of its channels, but {}", names(&record.channels, 0))
        }
        Fate::ResumedAfter => "the client came with a later id, as one that has had it".to_owned(),
        Fate::OpenedAfter if record.began == Began::Unread => {
            "the stream was opened after it, and it was not among what was unread".to_owned()
        }
        Fate::OpenedAfter if record.began == Began::Resumed => {
            "the stream was opened after it, and has none of its channels".to_owned()
        }
        Fate::OpenedAfter => "the stream was opened after it, by a client that brought no id".to_owned(),
        Fate::EndedBefore => format!("the stream had ended before: {ended}"),
        Fate::Unknown => "it is not known whether it was among what the stream was given".to_owned(),
    }
}

/// Whether its user can have it still.
fn later(case: &Case) -> String {
    let trace = &case.trace;
    match trace.standing {
        Standing::Kept if trace.unread == Some(true) => {
            "; it is kept and unread, and comes to a client that brings an earlier id, or begins with what is unread".into()
        }
        Standing::Kept => "; it is kept, and comes to a client that brings an earlier id".into(),
        Standing::Outlived => match trace.expires {
            Some(at) => format!("; its ttl was over at {at}"),
            None => "; its ttl is over".into(),
        },
        Standing::Collapsed { by: Some((by, at)) } => {
            format!("; {by} took its place at {at}, by the same collapse key")
        }
        Standing::Collapsed { by: None } => {
            "; a later event of the same collapse key took its place".into()
        }
        Standing::TooOld => "; it is older than [store] age, and not kept any more".into(),
        Standing::Dropped => {
            "; it was dropped from history for newer ones: see events, bytes and max_bytes of [store]".into()
        }
        _ => String::new(),
    }
}

fn connected(user: &str, fates: &[Fate]) -> String {
    if fates.contains(&Fate::PassedOver) {
        return format!("it was of no use any more when the turn of a stream of user {user} came");
    }
    let after = fates.iter().filter(|fate| matches!(fate, Fate::OpenedAfter | Fate::ResumedAfter)).count();
    match after {
        0 => format!("no stream of user {user} was open when it was handed out"),
        after => format!(
            "no stream of user {user} was open when it was handed out, and {} opened since did not ask for it",
            count(after)
        ),
    }
}

fn not_granted(case: &Case, user: &str, fates: &[Fate]) -> String {
    let channels = names(&case.trace.channels, case.trace.unnamed);
    if case.is_for_others() {
        return format!("it was for {channels}: a user's own channel is given to nobody else");
    }
    let open = fates.iter().filter(|fate| **fate == Fate::NotGranted).count();
    format!(
        "it was for {channels}, which {} of user {user} did not have: see channels and allow of the route",
        count(open)
    )
}

fn never(case: &Case) -> String {
    match case.trace.standing {
        Standing::Later { newest } => {
            format!("no event has this id: the newest that was handed out is {newest}")
        }
        _ => "no event has this id: it was given to none, or to one that the store could not keep".to_owned(),
    }
}

fn unknown(case: &Case, user: &str) -> String {
    let reach = match case.reach {
        None => "a worker did not answer in time, so its streams are not known".to_owned(),
        Some(Reach { since, .. }) => format!("streams that ended before {since} are not remembered"),
    };
    match case.trace.at {
        None => format!(
            "it is in none of the channels of user {user} that are known, and what it was for is not remembered; {reach}"
        ),
        Some(at) => format!("it was published at {at}, and {reach}{}", later(case)),
    }
}

fn count(streams: usize) -> String {
    match streams {
        1 => "1 stream".to_owned(),
        streams => format!("{streams} streams"),
    }
}

/// Some names, and how many there are more.
pub(super) fn names(channels: &[ChannelName], more: usize) -> String {
    let named: Vec<_> = channels.iter().take(NAMED).map(ChannelName::as_str).collect();
    match channels.len() - named.len() + more {
        _ if named.is_empty() => "no channel".to_owned(),
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
