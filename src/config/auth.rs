//! `[auth.NAME]`: who a subscriber is.

use toml::de::DeTable;

use super::problem::Fault;
use super::reader::{Section, Value};
use super::schema::{self, Shape};

mod ask;
mod authjs;
mod jwks;
mod jwt;
mod key;

pub use ask::AskProvider;
pub use authjs::AuthJsProvider;
pub use jwks::JwksSource;
pub use jwt::{JwtKeys, JwtProvider};
pub use key::{JwtKey, JwtKeyKind};

/// A provider of identities.
#[derive(Debug, Clone, PartialEq)]
pub enum Auth {
    /// `kind = "jwt"`: a signed token.
    Jwt(JwtProvider),
    /// `kind = "authjs"`: the session cookie of NextAuth or Auth.js.
    AuthJs(AuthJsProvider),
    /// `kind = "ask"`: what the app says of a request's cookies.
    Ask(AskProvider),
}

impl Auth {
    /// The shape of an `[auth.NAME]`, which depends on its kind.
    pub(super) fn shape(table: &DeTable<'_>) -> &'static Shape {
        match table
            .iter()
            .find(|(key, _)| key.get_ref() == "kind")
            .and_then(|(_, kind)| kind.get_ref().as_str())
        {
            Some("authjs") => &schema::AUTH_AUTHJS,
            Some("ask") => &schema::AUTH_ASK,
            _ => &schema::AUTH,
        }
    }

    /// Reads an `[auth.NAME]`. `upstreams` are the names that a provider may name.
    pub(super) fn read(name: &str, section: &Section<'_>, upstreams: Option<&Vec<&str>>) -> Option<Self> {
        let kind = section.required("kind", "write kind = \"jwt\"");
        let kinds = [("jwt", 0), ("authjs", 1), ("ask", 2)];
        match kind.map(|value| value.choice(&kinds, &[])) {
            Some(Some(1)) => AuthJsProvider::read(name, section).map(Self::AuthJs),
            Some(Some(2)) => AskProvider::read(name, section, upstreams).map(Self::Ask),
            // Without a kind, whatever is there is read as what most providers are.
            kind => JwtProvider::read(name, section, upstreams)
                .map(Self::Jwt)
                .filter(|_| kind.flatten().is_some()),
        }
    }

    /// The provider's name in the file.
    pub fn name(&self) -> &str {
        match self {
            Self::Jwt(provider) => &provider.name,
            Self::AuthJs(provider) => &provider.name,
            Self::Ask(provider) => &provider.name,
        }
    }

    /// The query parameter in which a credential may come, if there is one.
    pub fn query(&self) -> Option<&str> {
        match self {
            Self::Jwt(provider) => provider.query.as_deref(),
            Self::AuthJs(_) | Self::Ask(_) => None,
        }
    }
}

/// Reads a way for a token to come in. The outer none is a key that is not there, the inner one `""`, which is off.
fn way(
    section: &Section<'_>,
    key: &'static str,
    parse: fn(&str) -> Result<String, Fault>,
) -> Option<Option<String>> {
    section.value(key)?.parse(|text| match text {
        "" => Ok(None),
        text => parse(text).map(Some),
    })
}

/// A name that needs no escaping in a query or a cookie.
fn plain(text: &str) -> Result<String, Fault> {
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
        return Err(Fault::new("can hold letters, digits, `_`, `-` and `.` only"));
    }
    Ok(text.to_owned())
}

fn header(text: &str) -> Result<String, Fault> {
    let name = http::HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| Fault::new("is not the name of a header"))?;
    Ok(name.as_str().to_owned())
}

fn not_empty(text: &str) -> Result<&str, Fault> {
    if text.is_empty() { Err(Fault::new("is empty")) } else { Ok(text) }
}

/// Reads a string or a list of them.
fn one_or_more(value: &Value<'_>) -> Vec<String> {
    let entries = if value.is_text() { vec![value.clone()] } else { value.list() };
    let texts = entries.iter().filter_map(|entry| entry.parse(not_empty));
    texts.map(str::to_owned).collect()
}
