//! `[route.publish]`: publications over a public route, each of them checked.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::Secret;
use crate::config::problem::{Fault, Problem};
use crate::config::reader::Section;

/// How a Standard Webhooks secret begins.
const WEBHOOK_PREFIX: &str = "whsec_";

/// Takes publications from outside.
#[derive(Debug, Clone)]
pub struct PublishRoute {
    /// How a publisher shows that it may.
    pub check: PublishCheck,
}

impl PublishRoute {
    /// Reads a `[route.publish]`.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let (webhook, token) = (section.value("webhook"), section.value("token"));
        let base = section.report.base;
        let check = match (webhook, token) {
            (Some(_), Some(_)) => {
                let problem =
                    Problem::new("a publish route has one check, and this one has `webhook` already");
                section.report.add(problem.at(section.key_span("token")));
                return None;
            }
            (Some(webhook), None) => {
                let key = webhook_key(&Secret::read(&webhook, base)?);
                PublishCheck::Webhook(key.map_err(|fault| webhook.fault(fault)).ok()?)
            }
            (None, Some(token)) => PublishCheck::Token(Secret::read(&token, base)?),
            (None, None) => {
                if !section.has_later("auth") && !section.misspells(&["webhook", "token"]) {
                    let problem = section.problem("this publish route has no check: anybody could publish");
                    section.report.add(problem.help("add webhook = \"env:NAME\" or token = \"env:NAME\""));
                }
                return None;
            }
        };
        Some(Self { check })
    }
}

/// How a publisher shows that it may publish. There is no variant for "anybody".
#[derive(Clone)]
pub enum PublishCheck {
    /// The Standard Webhooks scheme: the decoded bytes of the shared key, 24 to 64 of them.
    Webhook(Vec<u8>),
    /// A bearer token.
    Token(Secret),
}

impl fmt::Debug for PublishCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Webhook(_) => "Webhook(…)",
            Self::Token(_) => "Token(…)",
        })
    }
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
