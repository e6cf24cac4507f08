//! The public route: publications from outside, each request checked by its own proof.
//!
//! Invariant: nothing of a body is read as a publication before the proof has been found good, and there is no way
//! through without one. A publisher who is known by an identity, and may publish to itself only, reaches nobody else,
//! whatever the body or the route's map says.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use http_body::Body;

use crate::auth::{Admission, AuthError, Authenticator, CredentialSource, Forwarding, Presented};
use crate::config::{PublishCheck, PublishRoute, To};
use crate::event::Timestamp;
use crate::http::{Peer, from_same_origin};
use crate::limits::Throttle;
use crate::publish::door::Kind;
use crate::publish::produced::Produced;
use crate::publish::publication::Whom;
use crate::publish::publisher::{Posted, Reading};
use crate::publish::refusal::{Refusal, RefusalKind};
use crate::publish::{Publisher, bearer, body, reply, webhook};
use crate::trace::Span;

/// A publish route, ready for use.
#[derive(Debug)]
pub struct Route {
    settings: PublishRoute,
    rate: Option<Arc<Throttle>>,
    publisher: Publisher,
}

/// What a request is judged by.
#[derive(Debug)]
pub struct Context<'a> {
    /// Its head.
    pub parts: &'a Parts,
    /// The other end of its connection.
    pub peer: &'a Peer,
    /// The host it is for.
    pub host: Option<&'a HeaderValue>,
    /// Whether the client came by TLS, to us or to a trusted proxy in front of us.
    pub secure: bool,
    /// Whether pages of the request's origin may use cookies here.
    pub is_listed: bool,
    /// Who knows credentials.
    pub auth: &'a Authenticator,
    /// The time.
    pub now: SystemTime,
    /// Its span, if it is recorded.
    pub span: Option<&'a Span>,
}

impl Route {
    /// Makes a route. `place` is its place in the configuration, which finds the rate that all workers share.
    pub fn new(settings: &PublishRoute, publisher: Publisher, place: usize) -> Self {
        Self { settings: settings.clone(), rate: publisher.rate(place), publisher }
    }

    /// Answers one request: a `POST` of an object or an array. A webhook's id is the idempotency key of publications
    /// without one of their own, so that a repetition gets the first receipt.
    pub async fn receive<B>(&self, context: Context<'_>, body: B) -> Response<Bytes>
    where
        B: Body<Data = Bytes>,
    {
        if context.parts.method != Method::POST {
            return reply::method_not_allowed("POST");
        }
        let mut produced = Produced::within(context.span);
        let receipts = self.publish(&context, body, &mut produced).await;
        produced.end(receipts.as_ref().err());
        match receipts {
            Ok(receipts) => reply::ok(reply::JSON, receipts),
            Err(refusal) => reply::refusal(&refusal),
        }
    }

    async fn publish<B>(
        &self,
        context: &Context<'_>,
        body: B,
        produced: &mut Produced,
    ) -> Result<Bytes, Refusal>
    where
        B: Body<Data = Bytes>,
    {
        let Context { parts, mut now, .. } = *context;
        let begun = Instant::now();
        let (publisher, path) = (&self.publisher, parts.uri.path());
        let bounds = publisher.bounds();
        let mut until = Timestamp::default();
        let posted = match &self.settings.check {
            PublishCheck::Token(token) => {
                if !bearer(&parts.headers, token.expose()) {
                    return Err(unauthorized("the token is missing or wrong"));
                }
                self.admit()?;
                Kind::of(&parts.headers)?.only_json()?;
                let json = body::read_json(body, &bounds, usize::MAX).await?;
                self.read(&json, Whom::Anybody)?
            }
            PublishCheck::Webhook(key) => {
                // Anybody can make us keep this much for a while, so it is no more than one publication.
                let json = body::read_json(body, &bounds, bounds.max_object()).await?;
                // A body may take its time, and the signature be too old when it has come.
                now += begun.elapsed();
                let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let signed = webhook::verify(key, &parts.headers, &json, seconds)
                    .map_err(|why| unauthorized(why.to_string()))?;
                // As long as the same bytes can come again, they are known.
                until = Timestamp(signed.until.saturating_mul(1000));
                self.admit()?;
                Kind::of(&parts.headers)?.only_json()?;
                let mut posted = self.read(&json, Whom::Anybody)?;
                name_after(&mut posted, path, signed.id);
                posted
            }
            PublishCheck::Identity { providers, to } => {
                let user = self.identify(providers, context).await?;
                self.admit()?;
                Kind::of(&parts.headers)?.only_json()?;
                let json = body::read_json(body, &bounds, usize::MAX).await?;
                // Again: a body may take its time, and the block begin meanwhile.
                self.check_block(&user, SystemTime::now())?;
                let whom = match to {
                    To::Caller => Whom::Only(&user),
                    To::Anybody => Whom::Anybody,
                };
                let mut posted = self.read(&json, whom)?;
                part_keys(&mut posted, path, &user);
                posted
            }
        };
        publisher.answer_remembered(posted, now.into(), until, produced).await
    }

    /// The id of the user that a request comes from.
    async fn identify(&self, providers: &[usize], context: &Context<'_>) -> Result<String, Refusal> {
        let Context { parts, peer, host, secure, is_listed, auth, now, .. } = *context;
        let forwarding = Some(Forwarding { peer, host });
        let presented = Presented { headers: &parts.headers, query: parts.uri.query(), secure, forwarding };
        let Admission { identity, source, .. } =
            auth.authenticate(providers, presented, now).await.map_err(|error| match error {
                AuthError::Unavailable => Refusal::new(RefusalKind::Unavailable, error.to_string()),
                _ => unauthorized(error.to_string()),
            })?;
        if source == CredentialSource::Ambient {
            let is_own = if is_listed { Some(true) } else { from_same_origin(&parts.headers, host, secure) };
            only_own_pages(parts, is_own)?;
        }
        self.check_block(&identity.user, now)?;
        Ok(identity.user)
    }

    fn check_block(&self, user: &str, now: SystemTime) -> Result<(), Refusal> {
        if self.publisher.hub().is_blocked(user, now.into()) {
            return Err(unauthorized(AuthError::Blocked.to_string()));
        }
        Ok(())
    }

    /// Lets a request in if the route's rate does. Only behind the proof: a stranger must not use the rate up.
    fn admit(&self) -> Result<(), Refusal> {
        let Some(rate) = &self.rate else { return Ok(()) };
        rate.take(Instant::now()).map_err(|wait| {
            let message = format!("this route takes {} publications a second", rate.burst());
            Refusal::new(RefusalKind::TooMany, message).after(wait)
        })
    }

    fn read(&self, json: &[u8], whom: Whom<'_>) -> Result<Posted, Refusal> {
        let max_batch = self.rate.as_ref().map_or(usize::MAX, |rate| rate.burst());
        let reading = Reading { map: self.settings.map.as_ref(), whom, max_batch };
        let mut posted = self.publisher.read(json, &reading)?;
        if let Some(rate) = &self.rate {
            rate.charge(posted.all().len().saturating_sub(1));
        }
        Ok(posted)
    }
}

fn unauthorized(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(RefusalKind::Unauthorized, message)
}

/// Refuses a credential that a page of another site may have sent: browsers send cookies unasked, and name the page's
/// origin with every POST. The media type is one that a form cannot have.
fn only_own_pages(parts: &Parts, is_own: Option<bool>) -> Result<(), Refusal> {
    let message = match is_own {
        Some(true) if parts.headers.contains_key(CONTENT_TYPE) => return Ok(()),
        Some(true) => "with a cookie, send Content-Type: application/json",
        Some(false) => "a page of this origin may not publish with a cookie",
        None => "with a cookie there must be an Origin; or send a token instead",
    };
    Err(Refusal::new(RefusalKind::Forbidden, message))
}

/// Gives each publication without a key one that is made of the message's id. It holds spaces, which a publisher's own
/// key cannot, and the route's path, since two senders may count alike.
fn name_after(posted: &mut Posted, path: &str, id: &str) {
    let is_one = matches!(posted, Posted::One(_));
    for (index, publication) in posted.all().iter_mut().enumerate() {
        publication.key.get_or_insert_with(|| match is_one {
            true => format!("webhook {path} {id}").into(),
            false => format!("webhook {path} {id} {index}").into(),
        });
    }
}

/// Parts the keys of one user from those of all others and of the app, so that nobody can use up another's key and
/// have another's publication refused.
fn part_keys(posted: &mut Posted, path: &str, user: &str) {
    for key in posted.all().iter_mut().filter_map(|publication| publication.key.as_mut()) {
        *key = format!("user {path} {user} {key}").into();
    }
}
