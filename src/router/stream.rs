//! Requests on a stream's route, up to where the stream begins or is refused.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use http::request::Parts;
use http::{HeaderValue, Method, Response};
use hyper::body::{Body as _, Incoming};

use super::body::ReplyBody;
use super::cors::{self, Leave};
use super::refusal::Refusal;
use super::{Origin, Router, shown};
use crate::auth::AuthError;
use crate::stream::{
    Context, Grant, LimitedBody, StreamBody, StreamError, StreamSettings, give_ticket, unauthorized_event,
    unavailable_event,
};

/// What a request on a stream's route gets that is not refused by status.
pub(super) enum Granted {
    Park(Grant),
    Body(Response<ReplyBody>),
    /// A ticket, or word in the form of a stream that there is none.
    Answer(Response<ReplyBody>),
}

impl Router {
    /// Judges a request on a stream's route, and opens the stream where it is a body.
    pub(super) async fn stream(
        &self,
        settings: &Rc<StreamSettings>,
        parts: &Parts,
        body: &Incoming,
        host: Option<&HeaderValue>,
        origin: &Origin<'_>,
        allowed: Option<&Leave>,
    ) -> Result<Granted, Refusal> {
        // The socket is handed over as it is: a body would be read as the client's next words.
        if parts.method == Method::GET && !body.is_end_stream() {
            return Err(Refusal::StreamWithBody);
        }
        let address = origin.address(parts);
        let context = Context {
            parts,
            host,
            peer: origin.peer,
            client: shown(address),
            address,
            fields: allowed.map(|allowed| Box::new(allowed.fields.clone())),
            is_listed: allowed.is_some_and(|allowed| allowed.with_credentials),
            limits: &self.limits,
            secure: origin.peer.is_secure(&parts.headers),
            auth: &self.auth,
            hub: self.streams.hub(),
            now: SystemTime::now(),
        };
        if parts.method == Method::POST {
            let given = give_ticket(settings, &context).await.map_err(Refusal::Stream)?;
            let mut response = given.map(ReplyBody::small);
            cors::put(allowed, &mut response);
            return Ok(Granted::Answer(response));
        }
        match Grant::of(settings, context).await {
            Ok(grant) if origin.h2 => {
                let response = StreamBody::respond(&self.streams, grant);
                Ok(Granted::Body(response.map(ReplyBody::stream)))
            }
            Ok(grant) => Ok(Granted::Park(grant)),
            Err(StreamError::Unauthorized(error)) if settings.refuses_by_event() => {
                self.counters.streams_refused.inc();
                tracing::debug!(%error, "stream refused");
                let told = match error {
                    AuthError::Unavailable => unavailable_event(settings.route.retry),
                    _ => unauthorized_event(),
                };
                let mut response = Response::new(ReplyBody::small(told.text()));
                settings.set_fields(response.headers_mut());
                cors::put(allowed, &mut response);
                Ok(Granted::Answer(response))
            }
            Err(StreamError::Limited(limited)) => {
                self.limits.tell(limited, &self.counters, Instant::now());
                let mut response = LimitedBody::respond(settings, limited).map(ReplyBody::limited);
                cors::put(allowed, &mut response);
                Ok(Granted::Answer(response))
            }
            Err(error) => Err(Refusal::Stream(error)),
        }
    }
}
