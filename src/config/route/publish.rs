//! `[route.publish]`: publications over a public route, each of them checked.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::stream::providers;
use super::{Map, Names};
use crate::config::Secret;
use crate::config::problem::{Fault, Problem};
use crate::config::reader::Section;

/// The ways in which a publisher shows that it may.
const CHECKS: [&str; 3] = ["webhook", "token", "auth"];

/// How a Standard Webhooks secret begins.
const WEBHOOK_PREFIX: &str = "whsec_";

/// The most publications a second that a `rate` can allow; more is as good as none.
const RATE_BOUNDS: RangeInclusive<u64> = 1..=1_000_000;

/// Takes publications from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishRoute {
    /// How a publisher shows that it may.
    pub check: PublishCheck,
    /// How a publication is made of a body; without it, the body is one.
    pub map: Option<Map>,
    /// The most publications a second, of all callers on all workers together.
    pub rate: Option<NonZeroU32>,
}

impl PublishRoute {
    /// A route with a check and no more.
    pub fn new(check: PublishCheck) -> Self {
        Self { check, map: None, rate: None }
    }

    /// Reads a `[route.publish]`.
    pub(super) fn read(section: &Section<'_>, names: &Names<'_>) -> Option<Self> {
        let map = section.value("map").map(|value| Map::read(&value));
        let rate = section.value("rate").map(|value| value.count(RATE_BOUNDS));
        let rate = rate.flatten().and_then(|rate| u32::try_from(rate).ok()).and_then(NonZeroU32::new);
        Some(Self { check: check(section, names)?, map: map.flatten(), rate })
    }
}

/// How a publisher shows that it may publish. There is no variant for "anybody".
#[derive(Clone, PartialEq)]
pub enum PublishCheck {
    /// The Standard Webhooks scheme: the decoded bytes of the shared key, 24 to 64 of them.
    Webhook(Vec<u8>),
    /// A bearer token.
    Token(Secret),
    /// An identity.
    Identity {
        /// Indexes into [`Config::auth`](crate::config::Config::auth), in the order they are tried; at least one.
        providers: Vec<usize>,
        /// Whom it may publish to.
        to: To,
    },
}

impl fmt::Debug for PublishCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook(_) => f.write_str("Webhook(…)"),
            Self::Token(_) => f.write_str("Token(…)"),
            Self::Identity { providers, to } => write!(f, "Identity({providers:?}, {to:?})"),
        }
    }
}

/// Whom a publisher may publish to that is known by its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// To itself only.
    Caller,
    /// To any user and any channel.
    Anybody,
}

/// Reads the one check of a route, and what belongs to it.
fn check(section: &Section<'_>, names: &Names<'_>) -> Option<PublishCheck> {
    let base = section.report.base;
    let (webhook, token, auth) = (section.value("webhook"), section.value("token"), section.value("auth"));
    let to = section.value("to");
    let mut there = CHECKS.into_iter().filter(|key| section.has(key));
    let (first, second) = (there.next(), there.next());
    if let (Some(first), Some(second)) = (first, second) {
        let problem =
            Problem::new(format!("a publish route has one check, and this one has `{first}` already"));
        section.report.add(problem.at(section.key_span(second)));
        return None;
    }
    let whom = to.as_ref().map(|to| to.choice(&[("self", To::Caller), ("any", To::Anybody)], &[]));
    if let (Some(to), Some(first @ ("webhook" | "token"))) = (&to, first) {
        to.fault(Fault::new(format!("is only for `auth`: who has the `{first}` may publish to anybody")));
        return None;
    }
    if let Some(webhook) = webhook {
        let key = webhook_key(&Secret::read(&webhook, base)?);
        return Some(PublishCheck::Webhook(key.map_err(|fault| webhook.fault(fault)).ok()?));
    }
    if let Some(token) = token {
        return Some(PublishCheck::Token(Secret::read(&token, base)?));
    }
    if let Some(auth) = auth {
        if section.is_empty_list("auth") {
            let fault = Fault::new("is empty: anybody could publish");
            auth.fault(fault.hint("name the providers that know who may"));
            return None;
        }
        let providers = providers(&auth, names);
        return Some(PublishCheck::Identity { providers, to: whom.unwrap_or(Some(To::Caller))? });
    }
    if !section.misspells(&CHECKS) {
        let problem = section.problem("this publish route has no check: anybody could publish");
        let help = "add webhook = \"env:NAME\", token = \"env:NAME\" or auth = [\"NAME\"]";
        section.report.add(problem.help(help));
    }
    None
}

/// The bytes of a webhook secret, as the Standard Webhooks scheme writes it.
fn webhook_key(secret: &Secret) -> Result<Vec<u8>, Fault> {
    let make = "`echo whsec_$(openssl rand -base64 32)` makes one";
    let Some(text) = secret.expose().strip_prefix(WEBHOOK_PREFIX) else {
        return Err(Fault::new("does not begin with `whsec_`").hint(make));
    };
    let Ok(key) = STANDARD.decode(text) else {
        return Err(Fault::new("is not base64 behind `whsec_`").hint(make));
    };
    if !(24..=64).contains(&key.len()) {
        return Err(Fault::new("is not a key of 24 to 64 bytes").hint(make));
    }
    Ok(key)
}
