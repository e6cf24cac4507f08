//! Health: `/healthz` says whether the process does its work at all, `/readyz` whether it is to be sent clients.
//!
//! Both answer 200 or 503, with the reasons.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::{View, door};
use crate::shutdown::Stage;

/// Whether it is alive: 503 is for who starts it anew.
pub(super) fn alive(view: &View) -> Response<Bytes> {
    told("ok", "failing", workers(view))
}

/// Whether it is ready: 503 is for who sends clients elsewhere meanwhile.
pub(super) async fn ready(view: &View) -> Response<Bytes> {
    let mut reasons = workers(view);
    if view.signal.stage() > Stage::Running {
        reasons.push("it is draining".to_owned());
    }
    if !view.hub.is_well() {
        reasons.push("the store takes no events".to_owned());
    }
    told("ready", "not ready", reasons)
}

fn told(well: &str, ill: &str, reasons: Vec<String>) -> Response<Bytes> {
    let (status, word) =
        if reasons.is_empty() { (StatusCode::OK, well) } else { (StatusCode::SERVICE_UNAVAILABLE, ill) };
    door::said(status, &json!({ "status": word, "reasons": reasons }))
}

/// A worker ends when the process does, and otherwise by a mistake of ours.
fn workers(view: &View) -> Vec<String> {
    let (all, running) = (view.config.server.workers, view.workers.strong_count());
    if view.signal.stage() > Stage::Running || running >= all {
        return Vec::new();
    }
    vec![format!("{} of {all} workers have ended", all - running)]
}
