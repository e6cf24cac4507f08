//! Requests on the path of a stream: for the stream itself, for a ticket, and for what is unread.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, STRICT_TRANSPORT_SECURITY};
use http::request::Parts;
use http::{Method, Response};
use hyper::body::{Body as _, Incoming};

use super::Router;
use super::body::ReplyBody;
use super::cors::{self, Leave};
use super::origin::{Origin, shown};
use super::refusal::{Refusal, stream_word};
use crate::auth::AuthError;
use crate::stream::{
    Context, Grant, LimitedBody, StreamBody, StreamError, StreamSettings, asks_for_inbox, asks_for_ticket,
    give_ticket, mark_read, show_inbox, unauthorized_event, unavailable_event,
};
use crate::trace::Span;

/// A request as it is judged.
pub(super) struct Asked<'a> {
    /// Its head.
    pub(super) parts: &'a Parts,
    /// The host it is for.
    pub(super) host: Option<&'a HeaderValue>,
    /// Where it comes from.
    pub(super) origin: &'a Origin<'a>,
    /// What pages of its origin may do here, if the route lists any.
    pub(super) allowed: Option<&'a Leave>,
    /// Its span, if it is recorded.
    pub(super) span: Option<&'a Span>,
}

/// What a request on a stream's route gets that is not refused by status.
pub(super) enum Granted {
    Park(Box<Grant>),
    Body(Response<ReplyBody>),
    /// A ticket, an inbox, or word in the form of a stream that there is none, and why, in a word for the log.
    Answer(Response<ReplyBody>, Option<&'static str>),
}

impl Router {
    /// Takes a request on a stream's path to a stream, or to what else is said there.
    pub(super) async fn stream(
        &self,
        settings: &Rc<StreamSettings>,
        asked: Asked<'_>,
        body: Incoming,
    ) -> Result<Granted, Refusal> {
        let besides = said_besides(settings, &asked);
        let Asked { parts, host, origin, allowed, span } = asked;
        // The socket is handed over as it is: a body would be read as the client's next words.
        if parts.method == Method::GET && !body.is_end_stream() {
            return Err(Refusal::StreamWithBody);
        }
        let address = origin.address(parts);
        let is_inbox = parts.method == Method::GET && asks_for_inbox(settings, parts.uri.query());
        let context = Context {
            parts,
            host,
            peer: origin.peer,
            client: shown(address),
            address,
            fields: besides,
            is_listed: allowed.is_some_and(|allowed| allowed.with_credentials),
            limits: &self.limits,
            secure: origin.peer.is_secure(&parts.headers),
            auth: &self.auth,
            hub: self.streams.hub(),
            now: SystemTime::now(),
        };
        if parts.method == Method::POST {
            // Whoever asks for a ticket sends no body worth reading.
            let given = if asks_for_ticket(settings, parts.uri.query()) {
                give_ticket(settings, &context).await
            } else {
                mark_read(settings, &context, body).await
            };
            return Ok(answer(given.map_err(Refusal::Stream)?, allowed));
        }
        if is_inbox {
            return Ok(answer(show_inbox(settings, &context).await.map_err(Refusal::Stream)?, allowed));
        }
        let granted = Grant::of(settings, context).await;
        match granted.map(|grant| grant.within(span)) {
            Ok(grant) if origin.h2 => {
                let response = StreamBody::respond(&self.streams, grant);
                Ok(Granted::Body(response.map(ReplyBody::stream)))
            }
            Ok(grant) => Ok(Granted::Park(Box::new(grant))),
            Err(StreamError::Unauthorized(error)) if settings.refuses_by_event() => {
                self.counters.streams_refused.inc();
                tracing::debug!(%error, "stream refused");
                let told = match error {
                    AuthError::Unavailable => unavailable_event(settings.route.retry),
                    _ => unauthorized_event(),
                };
                let refused = stream_word(&StreamError::Unauthorized(error));
                let mut response = Response::new(ReplyBody::small(told.text()));
                settings.set_fields(response.headers_mut());
                cors::put(allowed, &mut response);
                Ok(Granted::Answer(response, Some(refused)))
            }
            Err(StreamError::Limited(limited)) => {
                self.limits.tell(limited, &self.counters, Instant::now());
                let mut response = LimitedBody::respond(settings, limited).map(ReplyBody::limited);
                cors::put(allowed, &mut response);
                Ok(Granted::Answer(response, Some(stream_word(&StreamError::Limited(limited)))))
            }
            Err(error @ StreamError::NotReady(_)) => {
                self.counters.streams_refused.inc();
                let mut response = LimitedBody::unready(settings).map(ReplyBody::limited);
                cors::put(allowed, &mut response);
                Ok(Granted::Answer(response, Some(stream_word(&error))))
            }
            Err(error) => Err(Refusal::Stream(error)),
        }
    }
}

/// The fields of a stream's head besides those of its route: a parked one is written past what adds them to answers.
fn said_besides(settings: &StreamSettings, asked: &Asked<'_>) -> Option<Box<HeaderMap>> {
    let mut fields = asked.allowed.map(|allowed| Box::new(allowed.fields.clone()));
    if let Some(hsts) = asked.origin.hsts
        && !settings.sets(&STRICT_TRANSPORT_SECURITY)
    {
        fields.get_or_insert_default().insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    fields
}

fn answer(said: Response<Bytes>, allowed: Option<&Leave>) -> Granted {
    let mut response = said.map(ReplyBody::small);
    cors::put(allowed, &mut response);
    Granted::Answer(response, None)
}
