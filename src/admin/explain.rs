//! `GET /explain?user=42&id=…`: why an event was or was not delivered to a user.
//!
//! Invariant: nothing is kept for each delivery. The answer is put together from what the store has, what the hub has noted
//! of the publication, and what each worker remembers of the user's streams; it says how far that reaches back.

mod fate;
mod words;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{View, door};
use crate::config::StoreKind;
use crate::event::{ChannelName, EventId, Timestamp};
use crate::http::query_values;
use crate::hub::{StreamRecord, Trace};

use fate::{Case, Fate, Reach};

/// The most streams that are shown.
const SHOWN: usize = 50;

/// The most channels in which an event is looked for.
const SEARCHED: usize = 64;

/// The most names of channels that are shown of one stream or event.
const NAMED: usize = 16;

/// Answers a question.
pub(super) async fn answer(view: &View, query: Option<&str>) -> Response<Bytes> {
    let asked = |name| query_values(query, name).next();
    let (Some(user), Some(id)) = (asked("user"), asked("id")) else {
        return wrong("say whom and what: /explain?user=42&id=…");
    };
    let Ok(own) = ChannelName::of_user(&user) else {
        return wrong("user is no user's id: letters, digits and any of _ . @ -, at most 195 of them");
    };
    let Ok(id) = id.parse() else {
        return wrong(
            "id is not one that an event has: it is the one in a publisher's answer, like k3f9q0-118",
        );
    };
    match explain(view, &user, own, id).await {
        Ok(said) => door::said(StatusCode::OK, &said),
        Err(error) => {
            tracing::error!(%error, "history cannot be read");
            let message = "history cannot be read now; the log says why";
            door::refusal(StatusCode::SERVICE_UNAVAILABLE, "store", message)
        }
    }
}

fn wrong(message: &str) -> Response<Bytes> {
    door::refusal(StatusCode::BAD_REQUEST, "invalid_question", message)
}

/// A stream of the user.
struct Stream {
    worker: usize,
    record: StreamRecord,
    /// When its worker wrote the event to those that were live.
    at: Option<Timestamp>,
}

async fn explain(
    view: &View,
    user: &str,
    own: ChannelName,
    id: EventId,
) -> Result<Value, crate::hub::UnreadableError> {
    let answers = view.hub.look(user, id).await;
    let silent = answers.iter().filter(|answer| answer.is_none()).count();
    let reaches = answers.iter().flatten().map(|answer| (answer.has_forgotten, answer.since));
    let reach = reaches.max().map(|(has_forgotten, since)| Reach { since, has_forgotten });
    let reach = reach.filter(|_| silent == 0);
    let mut left_out = answers.iter().flatten().map(|answer| answer.left_out).sum::<usize>();
    let mut streams: Vec<_> = answers
        .into_iter()
        .enumerate()
        .filter_map(|(worker, answer)| Some((worker, answer?)))
        .flat_map(|(worker, answer)| {
            let at = answer.written;
            answer.streams.into_iter().map(move |record| Stream { worker, record, at })
        })
        .filter(|stream| stream.record.epoch == id.epoch)
        .collect();
    let mut channels: Vec<_> =
        streams.iter().flat_map(|stream| stream.record.channels.iter().cloned()).collect();
    channels.sort_unstable();
    channels.dedup();
    channels.truncate(SEARCHED);
    let now = Timestamp::now();
    let trace = view.hub.trace(id, user, &channels, now).await?;
    let case = Case { id, own, trace, reach };
    let fates: Vec<_> = streams.iter().map(|stream| case.fate(&stream.record, stream.at)).collect();
    let outcome = case.outcome(&fates);
    let reason = words::reason(&case, user, outcome, &fates);
    let mut told: Vec<_> = streams.drain(..).zip(fates).collect();
    // What decides comes first, then what is newest.
    told.sort_by_key(|(stream, fate)| (*fate as u8, std::cmp::Reverse(stream.record.opened)));
    left_out += told.len().saturating_sub(SHOWN);
    told.truncate(SHOWN);
    let streams: Vec<_> = told.iter().map(|(stream, fate)| stream_said(&case, stream, *fate, now)).collect();
    let is_node = matches!(view.shown().config.store.kind, StoreKind::Redis(_));
    Ok(json!({
        "outcome": outcome.word(),
        "reason": reason,
        "user": user,
        "event": event_said(id, &case.trace),
        "streams": streams,
        "streams_left_out": left_out,
        "records": {
            "since": reach.map(|reach| reach.since.0),
            "reach_back": case.reaches_back(),
            "silent_workers": silent,
            "this_node_only": is_node,
        },
    }))
}

fn event_said(id: EventId, trace: &Trace) -> Value {
    let named = trace.channels.len().min(NAMED);
    json!({
        "id": id.to_string(),
        "standing": trace.standing.word(),
        "at": trace.at.map(|at| at.0),
        "expires": trace.expires.map(|at| at.0),
        "channels": trace.channels[..named].iter().map(ChannelName::as_str).collect::<Vec<_>>(),
        "more_channels": trace.channels.len() - named + trace.unnamed,
        "unread": trace.unread,
    })
}

fn stream_said(case: &Case, stream: &Stream, fate: Fate, now: Timestamp) -> Value {
    let Stream { worker, record, at } = stream;
    let named = record.channels.len().min(NAMED);
    let id_of = |seq| EventId { seq, ..case.id }.to_string();
    let (ended, why) = record.ended.unzip();
    json!({
        "state": fate.word(),
        "reason": words::of_stream(case, record, fate),
        "written": (fate == Fate::Written).then(|| written(case, record, *at, now)),
        "worker": worker,
        "route": record.route,
        "protocol": record.protocol,
        "channels": record.channels[..named].iter().map(ChannelName::as_str).collect::<Vec<_>>(),
        "more_channels": record.channels.len() - named,
        "opened": record.opened.0,
        "ended": ended.map(|ended| ended.0),
        "end": why,
        "first_id": id_of(record.first),
        "last_id": id_of(record.cursor),
        "events": record.events,
        "waiting_bytes": record.waiting,
    })
}

/// Between which times a stream was written it.
fn written(case: &Case, record: &StreamRecord, at: Option<Timestamp>, now: Timestamp) -> Value {
    let end = record.ended.map_or(now, |(ended, _)| ended);
    let from = case.trace.at.map_or(record.opened, |published| published.max(record.opened));
    // To one that was opened later it was written from history.
    let to = at.filter(|at| case.id.seq > record.head && *at <= end).unwrap_or(end);
    json!({ "from": from.min(to).0, "to": to.0 })
}
