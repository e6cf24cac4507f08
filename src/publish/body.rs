//! Bodies: the whole of a request's body, within a size and a time.

use std::pin::{Pin, pin};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::publish::Bounds;
use crate::publish::publisher::is_array;
use crate::publish::refusal::{Refusal, RefusalKind};

/// Reads a body of JSON to its end. An array may be as large as a batch, everything else as one publication.
/// `max` is a bound for both.
pub(super) async fn read_json<B>(body: B, bounds: &Bounds, max: usize) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes>,
{
    let most = bounds.max_array().min(max);
    // Before a byte is asked for: a client that waits for `100 Continue` keeps its body.
    if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(too_large(most));
    }
    match timeout(bounds.body_time, collect(pin!(body), bounds, max)).await {
        Ok(read) => read,
        Err(_) => Err(too_slow(bounds)),
    }
}

async fn collect<B>(mut body: Pin<&mut B>, bounds: &Bounds, max: usize) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes>,
{
    // Most bodies are one frame, which is then given on as it is.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut most = bounds.max_object().min(max);
    let mut begun = false;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| broken_off())?.into_data() else {
            continue;
        };
        // Only what is new is looked at: a body may come byte by byte.
        if !begun && !data.trim_ascii_start().is_empty() {
            begun = true;
            if is_array(&data) {
                most = bounds.max_array().min(max);
            }
        }
        if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        if first.len().max(rest.len()) > most {
            return Err(too_large(most));
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

pub(super) fn too_large(max: usize) -> Refusal {
    Refusal::new(RefusalKind::TooLarge, format!("the body is longer than {max} bytes; send it in parts"))
}

pub(super) fn too_slow(bounds: &Bounds) -> Refusal {
    Refusal::new(RefusalKind::InvalidJson, format!("the body did not end within {:?}", bounds.body_time))
}

/// Told to nobody, as a rule: the publisher is gone.
pub(super) fn broken_off() -> Refusal {
    Refusal::new(RefusalKind::InvalidJson, "the body broke off before its end")
}
