//! The public publish route: nothing gets in without its proof.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use serde_json::Value;
use sidestream::auth::{Authenticator, Tickets};
use sidestream::config::{PublishCheck, PublishRoute, Secret};
use sidestream::http::{Peer, PeerAddress};
use sidestream::hub::Hub;
use sidestream::publish::{Bounds, Publisher, route};

use crate::publish_socket::{TOKEN, bounds, channel, counters, hub};

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;
const ONE: &str = r#"{"channel":"a","data":1}"#;

struct Route {
    hub: Hub,
    route: route::Route,
}

impl Route {
    fn new(check: PublishCheck) -> Self {
        let hub = hub();
        let publisher = Publisher::new(hub.clone(), bounds(), counters());
        Self { route: route::Route::new(&PublishRoute::new(check), publisher, 0), hub }
    }

    fn webhook() -> Self {
        Self::new(PublishCheck::Webhook(KEY.to_vec()))
    }

    fn token() -> Self {
        Self::new(PublishCheck::Token(Secret::resolve(TOKEN).unwrap()))
    }

    async fn ask(&self, request: Request<String>) -> Response<Bytes> {
        let (parts, body) = request.into_parts();
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        self.ask_at(&parts, body, now).await
    }

    async fn ask_at(&self, parts: &Parts, body: String, now: SystemTime) -> Response<Bytes> {
        receive(&self.route, parts, Full::new(Bytes::from(body)), now).await
    }

    fn events(&self) -> usize {
        self.hub.channel(&channel("a")).map_or(0, |info| info.events)
    }
}

async fn receive<B>(route: &route::Route, parts: &Parts, body: B, now: SystemTime) -> Response<Bytes>
where
    B: Body<Data = Bytes>,
{
    let peer = Peer::new(PeerAddress::Unix, false, false);
    let auth = Authenticator::new(&[], &[], Tickets::new(b"no tickets here").into(), None).0;
    route
        .receive(
            route::Context {
                parts,
                peer: &peer,
                host: None,
                secure: false,
                is_listed: false,
                auth: &auth,
                now,
                span: None,
            },
            body,
        )
        .await
}

fn signed(id: &str, at: u64, body: &str) -> Request<String> {
    signed_by(KEY, "/hook", id, at, body)
}

fn signed_by(key: &[u8], path: &str, id: &str, at: u64, body: &str) -> Request<String> {
    let content = format!("{id}.{at}.{body}");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), content.as_bytes());
    Request::post(path)
        .header("webhook-id", id)
        .header("webhook-timestamp", at)
        .header("webhook-signature", format!("v1,{}", STANDARD.encode(signature)))
        .body(body.to_owned())
        .unwrap()
}

fn with_token(line: &str, body: &str) -> Request<String> {
    Request::post("/push").header("authorization", line).body(body.to_owned()).unwrap()
}

fn json(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[track_caller]
fn refused(response: &Response<Bytes>, status: u16, error: &str) {
    assert_eq!(response.status(), status, "{:?}", response.body());
    assert_eq!(json(response)["error"], error);
}

#[tokio::test]
async fn a_webhook_is_published_once_however_often_it_comes() {
    let route = Route::webhook();
    let first = route.ask(signed("msg_1", NOW, ONE)).await;
    assert_eq!((first.status().as_u16(), &json(&first)["delivered"]), (200, &0.into()));
    assert_eq!(first.headers()["content-type"], "application/json");
    // Sent again later, and so signed anew.
    assert_eq!(json(&route.ask(signed("msg_1", NOW - 60, ONE)).await), json(&first));
    assert_eq!(route.events(), 1);
    refused(&route.ask(signed("msg_1", NOW, r#"{"channel":"a","data":2}"#)).await, 409, "key_reused");
    assert_eq!(route.ask(signed("msg_2", NOW, ONE)).await.status(), 200);
    // Another sender, who counts alike.
    assert_eq!(route.ask(signed_by(KEY, "/other", "msg_2", NOW, ONE)).await.status(), 200);
    assert_eq!(route.events(), 3);
}

#[tokio::test]
async fn a_webhook_is_known_for_as_long_as_its_signature_is_good() {
    let route = Route::new(PublishCheck::Webhook(KEY.to_vec()));
    let hub = route.hub.clone().with_keys(Duration::from_secs(1), 100);
    let ask = |request: Request<String>, at: u64| {
        let (parts, body) = request.into_parts();
        let route = &route;
        hub.sweep((UNIX_EPOCH + Duration::from_secs(at)).into());
        async move { route.ask_at(&parts, body, UNIX_EPOCH + Duration::from_secs(at)).await }
    };
    let keyed = r#"{"channel":"a","data":1,"key":"mine"}"#;
    for (id, body, events) in [("msg_1", ONE, 1), ("msg_2", keyed, 2)] {
        // From a sender whose clock is ahead.
        let early = signed(id, NOW + 300, body);
        let first = ask(early.clone(), NOW).await;
        assert_eq!(first.status(), 200);
        // The sender tries again in its time, and that request is overheard, too.
        let again = signed(id, NOW + 590, body);
        for (request, at) in [(early.clone(), NOW + 599), (again.clone(), NOW + 599), (early, NOW + 600)] {
            assert_eq!(json(&ask(request, at).await), json(&first), "{id} {at}");
        }
        assert_eq!(json(&ask(again.clone(), NOW + 890).await), json(&first));
        refused(&ask(again, NOW + 891).await, 401, "unauthorized");
        assert_eq!(route.events(), events);
    }
}

#[tokio::test]
async fn a_webhooks_id_is_not_a_publishers_key() {
    let route = Route::webhook();
    let keyed = r#"{"channel":"a","data":1,"key":"msg_1"}"#;
    assert_eq!(route.ask(signed("msg_9", NOW, keyed)).await.status(), 200);
    assert_eq!(route.ask(signed("msg_1", NOW, ONE)).await.status(), 200);
    assert_eq!(route.events(), 2);
    // Its own key goes before the id.
    assert_eq!(route.ask(signed("msg_10", NOW, keyed)).await.status(), 200);
    assert_eq!(route.events(), 2);
}

#[tokio::test]
async fn a_webhook_may_hold_a_batch() {
    let route = Route::webhook();
    let batch = format!("[{ONE},{ONE}]");
    let first = json(&route.ask(signed("msg_1", NOW, &batch)).await);
    assert_eq!(first.as_array().unwrap().len(), 2);
    assert_eq!(json(&route.ask(signed("msg_1", NOW, &batch)).await), first);
    assert_eq!(route.events(), 2);
}

#[tokio::test]
async fn a_webhook_without_its_proof_is_refused() {
    let route = Route::webhook();
    let mut bad = vec![
        Request::post("/hook").body(ONE.to_owned()).unwrap(),
        with_token(&format!("Bearer {TOKEN}"), ONE),
        signed_by(b"another key", "/hook", "msg_1", NOW, ONE),
        signed("msg_1", NOW - 301, ONE),
        signed("msg_1", NOW + 301, ONE),
        signed("msg_1", NOW, ONE).map(|body| body.replace('1', "2")),
        // Not even a word about what is wrong with the body.
        signed("msg_1", NOW, "{").map(|_| "{{".to_owned()),
    ];
    for header in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut without = signed("msg_1", NOW, ONE);
        without.headers_mut().remove(header);
        bad.push(without);
    }
    for request in bad {
        let response = route.ask(request).await;
        refused(&response, 401, "unauthorized");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
    // A clock before 1970 makes nothing good.
    let (parts, body) = signed("msg_1", NOW, ONE).into_parts();
    refused(&route.ask_at(&parts, body, UNIX_EPOCH - Duration::from_secs(9)).await, 401, "unauthorized");
    assert_eq!(route.events(), 0);
}

#[tokio::test]
async fn a_token_is_asked_for() {
    let route = Route::token();
    for line in ["", "Bearer", "Bearer wrong", "Basic s3cret", "s3cret"] {
        refused(&route.ask(with_token(line, ONE)).await, 401, "unauthorized");
    }
    refused(&route.ask(signed("msg_1", NOW, ONE)).await, 401, "unauthorized");
    assert_eq!(route.events(), 0);
    assert_eq!(route.ask(with_token("Bearer s3cret", ONE)).await.status(), 200);
    assert_eq!(route.ask(with_token("Bearer s3cret", &format!("[{ONE}]"))).await.status(), 200);
    assert_eq!(route.events(), 2);
}

#[tokio::test]
async fn only_a_post_of_json_is_read() {
    let route = Route::token();
    for method in ["GET", "HEAD", "PUT", "OPTIONS"] {
        let mut request = with_token("Bearer s3cret", ONE);
        *request.method_mut() = method.parse().unwrap();
        let response = route.ask(request).await;
        refused(&response, 405, "method_not_allowed");
        assert_eq!(response.headers()["allow"], "POST");
    }
    for kind in ["application/x-ndjson", "text/plain"] {
        let mut request = with_token("Bearer s3cret", ONE);
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        refused(&route.ask(request).await, 415, "unsupported_media_type");
    }
    refused(&route.ask(with_token("Bearer s3cret", "{")).await, 400, "invalid_json");
    refused(&route.ask(with_token("Bearer s3cret", r#"{"data":1}"#)).await, 400, "invalid_publication");
    assert_eq!(route.events(), 0);
}

#[tokio::test]
async fn a_body_has_a_bound() {
    let long = format!(r#"[{{"channel":"a","data":"{}"}}]"#, "x".repeat(100_000));
    // The bound of a webhook holds before its proof can be checked.
    refused(&Route::webhook().ask(signed("msg_1", NOW, &long)).await, 413, "too_large");
    let response = Route::token().ask(with_token("Bearer s3cret", &long)).await;
    refused(&response, 413, "too_large");
    assert_eq!(json(&response)["field"], "[0].data");
}

/// A body of which nothing comes.
struct Silence;

impl Body for Silence {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_not_waited_for() {
    let bounds = Bounds { body_time: Duration::from_millis(20), ..bounds() };
    let publisher = Publisher::new(hub(), bounds, counters());
    let check = PublishCheck::Webhook(KEY.to_vec());
    let (parts, _) = signed("msg_1", NOW, ONE).into_parts();
    let route = route::Route::new(&PublishRoute::new(check), publisher, 0);
    let response = receive(&route, &parts, Silence, SystemTime::now()).await;
    refused(&response, 400, "invalid_json");
}
