//! `kind = "authjs"`: the encrypted session cookie of NextAuth v4 and Auth.js v5.

use super::{not_empty, plain};
use crate::config::Secret;
use crate::config::problem::Fault;
use crate::config::reader::Section;

/// The most secrets at once; the libraries themselves look at three old ones.
const MAX_SECRETS: usize = 8;

/// Identities from the session cookie of NextAuth or Auth.js.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthJsProvider {
    /// Its name in the file.
    pub name: String,
    /// The secrets a cookie may be sealed with, at least one; the newest first.
    pub secrets: Vec<Secret>,
    /// The claim that holds the user's id.
    pub user_claim: String,
    /// The cookie's name, if the app gave it one of its own; none is the libraries' names.
    pub cookie: Option<String>,
}

impl AuthJsProvider {
    pub(super) fn read(name: &str, section: &Section<'_>) -> Option<Self> {
        let secret = section.required("secret", "write secret = \"env:AUTH_SECRET\"");
        let claim = section.value("user_claim").and_then(|value| value.parse(not_empty)).unwrap_or("sub");
        let cookie = section.value("cookie").and_then(|value| value.parse(plain));
        let value = secret?;
        let entries = if value.is_text() { vec![value.clone()] } else { value.list() };
        if !value.is_text() && !(1..=MAX_SECRETS).contains(&entries.len()) && value.node().is_array() {
            value.fault(Fault::new(format!("must hold 1 to {MAX_SECRETS} secrets")).hint("the newest first"));
        }
        let secrets = entries.iter().filter_map(|entry| Secret::read(entry, section.report.base)).collect();
        Some(Self { name: name.to_owned(), secrets, user_claim: claim.to_owned(), cookie })
    }
}
