//! Health: `/healthz` says whether the process does its work at all, `/readyz` whether it is to be sent clients.
//!
//! Both answer 200 or 503, with the reasons. An app that is down is no reason to start Sidestream anew, so only readiness
//! looks at apps. Those with health checks are as well as these say; of others it is tried whether a connection can be made,
//! since what requests found out is old when nobody asks.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Shown, View, door};
use crate::config::Upstream;
use crate::fetch::Place;
use crate::shutdown::Stage;

/// How long an app may take to be connected to. Probes of orchestrators wait no longer.
const REACH: Duration = Duration::from_secs(1);

/// For how long it is taken to be so: who asks more often does not make apps be asked more often.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Whether it is alive: 503 is for who starts it anew.
pub(super) fn alive(view: &View) -> Response<Bytes> {
    told("ok", "failing", workers(view))
}

/// Whether it is ready: 503 is for who sends clients elsewhere meanwhile.
pub(super) async fn ready(view: &View, apps: &Apps) -> Response<Bytes> {
    let mut reasons = workers(view);
    if view.signal.stage() > Stage::Running {
        reasons.push("it is draining".to_owned());
    }
    if !view.hub.is_well() {
        reasons.push("the store takes no events".to_owned());
    }
    reasons.extend(apps.away(view).await);
    told("ready", "not ready", reasons)
}

fn told(well: &str, ill: &str, reasons: Vec<String>) -> Response<Bytes> {
    let (status, word) =
        if reasons.is_empty() { (StatusCode::OK, well) } else { (StatusCode::SERVICE_UNAVAILABLE, ill) };
    door::said(status, &json!({ "status": word, "reasons": reasons }))
}

/// A worker ends when the process does, and otherwise by a mistake of ours.
fn workers(view: &View) -> Vec<String> {
    let (all, running) = (view.shown().config.server.workers, view.workers.strong_count());
    if view.signal.stage() > Stage::Running || running >= all {
        return Vec::new();
    }
    vec![format!("{} of {all} workers have ended", all - running)]
}

/// What was found out of apps last.
#[derive(Debug, Default)]
pub(super) struct Apps(Mutex<Option<Away>>);

/// Of which configuration, when, and why apps are away.
#[derive(Debug)]
struct Away {
    of: u64,
    at: Instant,
    why: Vec<String>,
}

impl Apps {
    /// The apps none of whose servers is there, and why. Whoever asks meanwhile waits for the same answer.
    async fn away(&self, view: &View) -> Vec<String> {
        let mut last = self.0.lock().await;
        let Shown { number, config, standings, .. } = &*view.shown();
        if let Some(Away { of, at, why }) = &*last
            && of == number
            && at.elapsed() < GOOD_FOR
        {
            return why.clone();
        }
        let mut asked = JoinSet::new();
        for (place, (upstream, well)) in config.upstreams.iter().zip(standings.well()).enumerate() {
            let (upstream, is_well) = (upstream.clone(), well.contains(&true));
            asked.spawn_local(async move {
                let away = match upstream.health {
                    Some(_) => (!is_well).then(|| "all its servers fail their health checks".to_owned()),
                    None => unreachable(&upstream).await,
                };
                away.map(|why| (place, format!("upstream {:?}: {why}", upstream.name)))
            });
        }
        let mut away: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
        away.sort_unstable();
        let why: Vec<_> = away.into_iter().map(|(_, why)| why).collect();
        *last = Some(Away { of: *number, at: Instant::now(), why: why.clone() });
        why
    }
}

/// Why no server of an app can be connected to; none if one can be.
async fn unreachable(upstream: &Upstream) -> Option<String> {
    let mut tries = JoinSet::new();
    for place in Place::of(upstream) {
        tries.spawn_local(async move {
            match timeout(REACH, place.reach()).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(format!("{place} cannot be connected to: {error}")),
                Err(_) => Err(format!("{place} cannot be connected to within {REACH:?}")),
            }
        });
    }
    let mut why = None;
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => why = Some(error),
            Err(error) => why = Some(error.to_string()),
        }
    }
    why
}
