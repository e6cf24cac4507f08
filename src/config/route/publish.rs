//! `[route.publish]`: publications over a public route, each of them checked.

use crate::config::Secret;

/// Takes publications from outside.
#[derive(Debug, Clone)]
pub struct PublishRoute {
    /// How a publisher shows that it may.
    pub check: PublishCheck,
}

/// How a publisher shows that it may publish. There is no variant for "anybody".
#[derive(Clone)]
pub enum PublishCheck {
    /// The Standard Webhooks scheme: the decoded bytes of the shared key, 24 to 64 of them.
    Webhook(Vec<u8>),
    /// A bearer token.
    Token(Secret),
}

impl std::fmt::Debug for PublishCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Webhook(_) => "Webhook(…)",
            Self::Token(_) => "Token(…)",
        })
    }
}
