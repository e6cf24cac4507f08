//! What is answered to a request that is refused: the status and the sentence of the table, on the operator's page if there
//! is one; counted, and with its word in the access log.

use std::time::Instant;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Response, StatusCode};

use super::account::Account;
use super::body;
use super::cors::{self, Leave};
use super::front::Stopped;
use super::refusal::Refusal;
use super::{ReplyBody, Routed, Router};
use crate::config::HeaderRules;
use crate::http::{RequestId, accepts_json};
use crate::stream::StreamError;

/// Who gets an answer of ours.
#[derive(Debug)]
pub(super) struct Asker<'r> {
    pub(super) accept: Option<HeaderValue>,
    /// What the request is called, if a page may say it.
    pub(super) id: Option<Box<RequestId>>,
    /// Whether only programs come here.
    pub(super) is_script: bool,
    /// What the route changes in answers, ours too.
    pub(super) rules: Option<&'r HeaderRules>,
}

impl Router {
    pub(super) fn refuse(
        &self,
        refusal: &Refusal,
        asker: &Asker<'_>,
        allowed: Option<&Leave>,
        account: Account,
    ) -> Routed {
        self.count(refusal);
        let json = asker.is_script || accepts_json(asker.accept.as_ref());
        let mut response = refusal.respond(json);
        if let Some(page) = self.page(refusal, response.status(), json, asker) {
            *response.body_mut() = page;
        }
        cors::put(allowed, &mut response);
        if let Some(rules) = asker.rules {
            rules.apply(response.headers_mut());
        }
        let account = account.because(Some(refusal.word()));
        Routed::Reply(body::finish(response.map(ReplyBody::small), account))
    }

    /// The page of the operator's that stands for ours, if there is one.
    fn page(&self, refusal: &Refusal, status: StatusCode, json: bool, asker: &Asker<'_>) -> Option<Bytes> {
        if let Refusal::Stopped(stopped) = refusal
            && let Stopped::Maintenance(Some(page)) = &**stopped
            && !json
        {
            return Some(page.clone());
        }
        let pages = self.pages.as_ref().filter(|_| refusal.takes_page() && !asker.is_script)?;
        let page = pages.of_status(status.as_u16(), json)?;
        let id = asker.id.as_ref().map(|id| id.as_str()).unwrap_or_default();
        Some(page.fill(status.as_u16(), id).into())
    }

    /// The answer to a request that a mistake of ours ended. Its line is in the log already.
    pub fn failed(&self) -> Response<ReplyBody> {
        Refusal::Ours.respond(false).map(ReplyBody::small)
    }

    fn count(&self, refusal: &Refusal) {
        match refusal {
            Refusal::Stream(StreamError::Limited(limited)) => {
                self.limits.tell(*limited, &self.counters, Instant::now());
            }
            Refusal::Stream(_) => self.counters.streams_refused.inc(),
            Refusal::Stopped(stopped) => match &**stopped {
                Stopped::Denied => self.counters.requests_denied.inc(),
                Stopped::Maintenance(_) => self.counters.requests_in_maintenance.inc(),
                Stopped::Rate(_) => self.counters.requests_limited.inc(),
                // Counted where it is known whether there was one.
                Stopped::Password(_) | Stopped::Busy => {}
            },
            _ if refusal.is_of_spool() => {
                self.counters.spool_refused.inc();
                tracing::warn!(error = %refusal, "a request was refused");
            }
            _ if refusal.is_upstreams() => {
                self.counters.upstream_errors.inc();
                tracing::warn!(error = %refusal, "the app did not answer");
            }
            _ => {}
        }
    }
}
