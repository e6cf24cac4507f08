//! A route to an app, ready for use: what it changes in answers.

use http::Response;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body::Body as _;

use super::body::ReplyBody;
use crate::compress::{Asked, Compressor, Room};
use crate::config::{HeaderRules, ProxyRoute};
use crate::proxy::UpstreamBody;

/// A route to an app.
#[derive(Debug)]
pub(super) struct Proxied {
    pub(super) route: ProxyRoute,
    compressor: Option<Compressor>,
}

impl Proxied {
    pub(super) fn new(route: &ProxyRoute, room: &Room) -> Self {
        let compressor = route.compress.as_ref().map(|rules| Compressor::new(rules, room.clone()));
        Self { route: route.clone(), compressor }
    }

    /// What is changed in every answer of the route.
    pub(super) fn rules(&self) -> &HeaderRules {
        &self.route.response_headers
    }

    /// Reads what a request says of the compression of its answer; nothing, if nothing is compressed.
    pub(super) fn asked(&self, parts: &Parts) -> Option<Asked> {
        self.compressor.as_ref().map(|compressor| compressor.asked(parts))
    }

    /// Makes of the app's answer the one that the client gets. Rules go first: what they say of the type of the body
    /// and of caches decides whether it is compressed.
    pub(super) fn answer(
        &self,
        mut response: Response<UpstreamBody>,
        asked: Option<Asked>,
    ) -> Response<ReplyBody> {
        self.rules().apply(response.headers_mut());
        let start = match (&self.compressor, asked) {
            (Some(compressor), Some(asked)) => {
                let (status, hint) = (response.status(), response.body().size_hint());
                let fields = response.headers_mut();
                let said = fields.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
                // The body of an answer to a HEAD is none.
                let length = said.or_else(|| hint.exact().filter(|_| !asked.is_head));
                compressor.start(asked, status, fields, length)
            }
            _ => None,
        };
        response.map(|body| match start {
            Some(start) => ReplyBody::compressed(start.of(body)),
            None => ReplyBody::proxied(body),
        })
    }
}
