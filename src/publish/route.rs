//! The public route: publications from outside, each request checked by its own proof.
//!
//! Invariant: nothing of a body is read as a publication before the proof has been found good, and there is no way
//! through without one.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use http_body::Body;

use crate::config::PublishCheck;
use crate::publish::door::Kind;
use crate::publish::publisher::Posted;
use crate::publish::refusal::{Refusal, RefusalKind};
use crate::publish::{Publisher, bearer, body, reply, webhook};

/// Answers one request to a `publish` route: a `POST` of an object or an array. A webhook's id is the idempotency key
/// of publications without one of their own, so that a repetition gets the first receipt.
pub async fn receive<B>(
    publisher: &Publisher,
    check: &PublishCheck,
    parts: &Parts,
    body: B,
    now: SystemTime,
) -> Response<Bytes>
where
    B: Body<Data = Bytes>,
{
    if parts.method != Method::POST {
        return reply::method_not_allowed("POST");
    }
    match publish(publisher, check, parts, body, now).await {
        Ok(receipts) => reply::ok(reply::JSON, receipts),
        Err(refusal) => reply::refusal(&refusal),
    }
}

async fn publish<B>(
    publisher: &Publisher,
    check: &PublishCheck,
    parts: &Parts,
    body: B,
    now: SystemTime,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes>,
{
    let bounds = publisher.bounds();
    let posted = match check {
        PublishCheck::Token(token) => {
            if !bearer(&parts.headers, token.expose()) {
                return Err(unauthorized("the token is missing or wrong"));
            }
            Kind::of(&parts.headers)?.only_json()?;
            let json = body::read_json(body, bounds, usize::MAX).await?;
            publisher.read(&json)?
        }
        PublishCheck::Webhook(key) => {
            // Anybody can make us keep this much for a while, so it is no more than one publication.
            let json = body::read_json(body, bounds, bounds.max_object()).await?;
            let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let id = webhook::verify(key, &parts.headers, &json, seconds)
                .map_err(|why| unauthorized(why.to_string()))?;
            Kind::of(&parts.headers)?.only_json()?;
            let mut posted = publisher.read(&json)?;
            name_after(&mut posted, parts.uri.path(), id);
            posted
        }
    };
    publisher.answer(posted, now.into()).await
}

fn unauthorized(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(RefusalKind::Unauthorized, message)
}

/// Gives each publication without a key one that is made of the message's id. It holds spaces, which a publisher's own
/// key cannot, and the route's path, since two senders may count alike.
fn name_after(posted: &mut Posted, path: &str, id: &str) {
    match posted {
        Posted::One(publication) => {
            publication.key.get_or_insert_with(|| format!("webhook {path} {id}").into());
        }
        Posted::Batch(batch) => {
            for (index, publication) in batch.iter_mut().enumerate() {
                publication.key.get_or_insert_with(|| format!("webhook {path} {id} {index}").into());
            }
        }
    }
}
