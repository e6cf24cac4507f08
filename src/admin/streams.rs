//! `/status/streams`: the streams that an operator looks for, a page of them, from all workers; and `/status/channels`.
//!
//! Invariants: one search at a time, of so many streams at most; and a worker that does not answer in time is named as
//! missing, and holds up nobody.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{View, door};
use crate::http::query_values;
use crate::stream::{Found, Order, Question, Search, Seen};

/// How many streams are on a page.
const A_PAGE: usize = 20;

/// The last page there is: whoever has not found a stream by then has a search to narrow.
const LAST_PAGE: usize = 50;

/// The longest text to look for, in bytes: that of a channel's name.
const MAX_TEXT: usize = 200;

/// How long a worker may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many channels are told.
const TOP: usize = 20;

/// Finds streams, by `search`, `order` and `page` of the query.
pub(super) async fn find(view: &View, turn: &Mutex<()>, query: Option<&str>) -> Response<Bytes> {
    let (search, page) = match read(query) {
        Ok(read) => read,
        Err(message) => return door::refusal(StatusCode::BAD_REQUEST, "invalid_search", message),
    };
    let _turn = turn.lock().await;
    let (count, mut found, missing) = ask_all(&view.desks, &search).await;
    found.sort_by(|(worker, one), (other_worker, other)| {
        other.rank.cmp(&one.rank).then(worker.cmp(other_worker)).then(one.key.cmp(&other.key))
    });
    let pages = count.div_ceil(A_PAGE).clamp(1, LAST_PAGE);
    let streams = found.into_iter().skip(A_PAGE * (page - 1)).take(A_PAGE);
    let streams: Vec<_> = streams.map(|(worker, seen)| row(worker, seen)).collect();
    let said = json!({ "count": count, "page": page, "pages": pages, "missing_workers": missing, "streams": streams });
    door::said(StatusCode::OK, &said)
}

fn read(query: Option<&str>) -> Result<(Search, usize), &'static str> {
    let last = |name| query_values(query, name).last().unwrap_or_default();
    let text = last("search").trim().to_ascii_lowercase();
    if text.len() > MAX_TEXT {
        return Err("search is longer than any name");
    }
    let order = match &*last("order") {
        "" | "newest" => Order::Newest,
        "oldest" => Order::Oldest,
        "backlog" => Order::Backlog,
        "events" => Order::Events,
        _ => return Err("order is newest, oldest, backlog or events"),
    };
    let page = match &*last("page") {
        "" => Some(1),
        page => page.parse().ok().filter(|page| (1..=LAST_PAGE).contains(page)),
    };
    let page = page.ok_or("page is a number from 1 to 50")?;
    Ok((Search { text, order, most: A_PAGE * page, at: Instant::now() }, page))
}

/// How many all workers have found, the first of them, and the workers that did not answer.
async fn ask_all(
    desks: &[mpsc::Sender<Question>],
    search: &Search,
) -> (usize, Vec<(usize, Seen)>, Vec<usize>) {
    let mut asked = JoinSet::new();
    for (worker, desk) in desks.iter().cloned().enumerate() {
        let search = search.clone();
        asked.spawn_local(async move {
            let (done, told) = oneshot::channel();
            let asking = async {
                desk.send(Question::Find(search, done)).await.ok()?;
                told.await.ok()
            };
            (worker, timeout(PATIENCE, asking).await.ok().flatten())
        });
    }
    let (mut count, mut all, mut missing) = (0, Vec::new(), Vec::new());
    for (worker, found) in asked.join_all().await {
        match found {
            Some(Found { count: more, streams }) => {
                count += more;
                all.extend(streams.into_iter().map(|seen| (worker, seen)));
            }
            None => missing.push(worker),
        }
    }
    missing.sort_unstable();
    (count, all, missing)
}

fn row(worker: usize, seen: Seen) -> Value {
    let Seen { key, serial, user, channels, more_channels, route, client, .. } = seen;
    json!({
        "stream": format!("{worker}-{key}-{serial}"),
        "user": user,
        "channels": channels,
        "more_channels": more_channels,
        "route": route,
        "address": client,
        "age": (seen.age.as_secs_f64() * 10.0).round() / 10.0,
        "backlog": seen.backlog,
        "events": seen.events,
        "last_id": seen.last_id,
        "protocol": seen.protocol,
    })
}

/// The channels with the most streams of this process.
pub(super) fn channels(view: &View) -> Response<Bytes> {
    let row = |(name, streams): (crate::event::ChannelName, usize)| {
        let info = view.hub.channel(&name);
        let last_id = info.as_ref().and_then(|info| info.last_id).map(|id| id.to_string());
        let events = info.map_or(0, |info| info.events);
        json!({ "channel": name.as_str(), "streams": streams, "events": events, "last_id": last_id })
    };
    let channels: Vec<_> = view.hub.busiest(TOP).into_iter().map(row).collect();
    door::said(StatusCode::OK, &json!({ "channels": channels }))
}
