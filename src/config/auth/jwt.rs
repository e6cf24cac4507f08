//! `kind = "jwt"`: identities from signed tokens.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use toml::de::DeValue;

use super::jwks::JwksSource;
use super::key::{JwtKey, JwtKeyKind};
use super::{header, not_empty, one_or_more, plain, way};
use crate::config::problem::{Fault, Problem};
use crate::config::reader::{Section, Value};
use crate::config::{Secret, suggest};

const LEEWAY: Duration = Duration::from_secs(5);
/// Clocks that differ by more are broken, and a token is good for that much longer than it says.
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// Identities from signed tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct JwtProvider {
    /// Its name in the file.
    pub name: String,
    /// What signatures are checked with.
    pub keys: JwtKeys,
    /// The algorithms a token may use; every one fits the key, or a public key of a set, and there is at least one.
    pub algorithms: Vec<Algorithm>,
    /// The claim that holds the user's id.
    pub user_claim: String,
    /// The query parameter a token may come in.
    pub query: Option<String>,
    /// The header a token may come in, in lower case; under `authorization` after `Bearer`.
    pub header: Option<String>,
    /// The cookie a token may come in.
    pub cookie: Option<String>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must hold one of; empty is not checked.
    pub audience: Vec<String>,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// Claims that a token must have, and their values.
    pub require: Vec<(String, serde_json::Value)>,
}

/// What signatures are checked with.
#[derive(Debug, Clone, PartialEq)]
pub enum JwtKeys {
    /// One key.
    One(JwtKey),
    /// Public keys that are fetched, and may change.
    Set(JwksSource),
}

impl JwtKeys {
    /// The algorithms that fit: of a set all that a public key can have.
    fn algorithms(&self) -> Vec<Algorithm> {
        match self {
            Self::One(key) => key.kind.algorithms().to_vec(),
            Self::Set(_) => public_algorithms(),
        }
    }
}

/// All algorithms of public keys.
fn public_algorithms() -> Vec<Algorithm> {
    let kinds = [JwtKeyKind::Rsa, JwtKeyKind::EcP256, JwtKeyKind::EcP384, JwtKeyKind::Ed25519];
    kinds.iter().flat_map(|kind| kind.algorithms()).copied().collect()
}

impl JwtProvider {
    pub(super) fn read(name: &str, section: &Section<'_>, upstreams: Option<&Vec<&str>>) -> Option<Self> {
        let key = key(section, upstreams);
        let algorithms = section.value("algorithms");
        let claim = section.value("user_claim").and_then(|value| value.parse(not_empty));
        let query = way(section, "query", parameter);
        let header = way(section, "header", header);
        let cookie = way(section, "cookie", plain);
        let issuer = section.value("issuer").and_then(|value| value.parse(not_empty));
        let audience = section.value("audience").map(|value| one_or_more(&value));
        let leeway = section.duration("leeway", LEEWAY, Duration::ZERO..=MAX_LEEWAY);
        let require = section.value("require").map(|value| require(&value));

        // A secret that cannot be used is of the kind of secrets still.
        let fits = match &key {
            Some(JwtKeys::One(key)) => Some((key.kind.to_string(), key.kind.algorithms().to_vec())),
            Some(JwtKeys::Set(_)) => Some(("a public key".to_owned(), public_algorithms())),
            None if section.has("secret") => {
                let kind = JwtKeyKind::Secret;
                Some((kind.to_string(), kind.algorithms().to_vec()))
            }
            None => None,
        };
        let algorithms =
            algorithms.zip(fits).map(|(value, (kind, allowed))| fitting(&value, &kind, &allowed));
        let mut provider = Self::new(name, key?);
        provider.algorithms = algorithms.unwrap_or(provider.algorithms);
        provider.user_claim = claim.map_or(provider.user_claim, str::to_owned);
        provider.query = query.unwrap_or(provider.query);
        provider.header = header.unwrap_or(provider.header);
        provider.cookie = cookie.unwrap_or(provider.cookie);
        if provider.query.is_none() && provider.header.is_none() && provider.cookie.is_none() {
            let problem =
                Problem::new("there is no way for a token to come in").at(section.key_span("query"));
            section.report.add(problem.help("switch on one of `query`, `header`, `cookie`"));
        }
        provider.issuer = issuer.map(str::to_owned);
        provider.audience = audience.unwrap_or_default();
        provider.leeway = leeway;
        provider.require = require.unwrap_or_default();
        Some(provider)
    }

    /// A provider with the defaults of the file.
    pub(in crate::config) fn new(name: impl Into<String>, keys: JwtKeys) -> Self {
        Self {
            name: name.into(),
            algorithms: keys.algorithms(),
            keys,
            user_claim: "sub".to_owned(),
            query: Some("token".to_owned()),
            header: Some("authorization".to_owned()),
            cookie: None,
            issuer: None,
            audience: Vec::new(),
            leeway: LEEWAY,
            require: Vec::new(),
        }
    }

    /// A provider of the command line: a shared secret and the defaults.
    pub(in crate::config) fn from_secret(name: &str, secret: &Secret) -> Result<Self, Fault> {
        Ok(Self::new(name, JwtKeys::One(JwtKey::from_secret(secret)?)))
    }
}

/// The name of a query parameter. Tickets have one of their own, on all streams.
fn parameter(text: &str) -> Result<String, Fault> {
    if text == "ticket" {
        return Err(Fault::new("is the parameter of tickets").hint("choose another name"));
    }
    plain(text)
}

/// Reads the one key that a provider has, or where its keys are.
fn key(section: &Section<'_>, upstreams: Option<&Vec<&str>>) -> Option<JwtKeys> {
    let (secret, public) = (section.value("secret"), section.value("public_key"));
    if let Some(set) = section.value("jwks") {
        if let Some(other) =
            if secret.is_some() { Some("secret") } else { public.as_ref().map(|_| "public_key") }
        {
            set.fault(
                Fault::new(format!("cannot be there beside `{other}`")).hint("a provider has one of them"),
            );
            return None;
        }
        return set.parse(|text| JwksSource::parse(text, section.report.base, upstreams)).map(JwtKeys::Set);
    }
    let make = if secret.is_some() { JwtKey::from_secret } else { JwtKey::from_pem };
    let value =
        match (secret, public) {
            (Some(_), Some(public)) => {
                public.fault(Fault::new("cannot be there beside `secret`").hint("a provider has one key"));
                return None;
            }
            (Some(value), None) | (None, Some(value)) => value,
            (None, None) => {
                // One whose key is misspelt has been told what is wrong.
                if !section.misspells(&["secret", "public_key", "jwks"]) {
                    let problem = section.problem("this provider has no key to check tokens with");
                    section.report.add(problem.help(
                        "add secret = \"env:NAME\", public_key = \"file:PATH\" or jwks = \"https://…\"",
                    ));
                }
                return None;
            }
        };
    let secret = Secret::read(&value, section.report.base)?;
    make(&secret).map_err(|fault| value.fault(fault)).ok().map(JwtKeys::One)
}

/// Reads the algorithms, each of which has to fit the key.
fn fitting(value: &Value<'_>, kind: &str, allowed: &[Algorithm]) -> Vec<Algorithm> {
    let entries = value.list();
    if entries.is_empty() && value.node().is_array() {
        value.fault(Fault::new("is empty, so no token could be good").hint("leave it out to go by the key"));
    }
    let names: Vec<_> = allowed.iter().map(|algorithm| format!("{algorithm:?}")).collect();
    let read = |text: &str| match text.parse::<Algorithm>() {
        Ok(algorithm) if allowed.contains(&algorithm) => Ok(algorithm),
        Ok(algorithm) => Err(Fault::new(format!("is {algorithm:?}, which does not fit {kind}"))
            .hint(format!("allowed here: {}", names.join(", ")))),
        Err(_) => Err(Fault::new("is no algorithm that tokens are signed with").hint(
            match suggest::closest(text, names.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("allowed here: {}", names.join(", ")),
            },
        )),
    };
    entries.iter().filter_map(|entry| entry.parse(read)).collect()
}

/// Reads the claims that a token must have.
fn require(value: &Value<'_>) -> Vec<(String, serde_json::Value)> {
    let mut claims = Vec::new();
    for (name, value) in value.entries() {
        match json(value.node()) {
            Some(json) => claims.push((name.get_ref().to_string(), json)),
            None => value.fault(
                Fault::new("is nothing that a claim could be equal to")
                    .hint("a claim of a token is JSON, which has no dates"),
            ),
        }
    }
    claims
}

/// A value of TOML as JSON has it. JSON has no dates, no infinities, and no larger integers than these.
fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    Some(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()?.into(),
        DeValue::Float(number) => {
            serde_json::Value::Number(serde_json::Number::from_f64(number.as_str().parse().ok()?)?)
        }
        DeValue::Array(list) => {
            list.iter().map(|entry| json(entry.get_ref())).collect::<Option<Vec<_>>>()?.into()
        }
        DeValue::Table(table) => table
            .iter()
            .map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref())?)))
            .collect::<Option<serde_json::Map<_, _>>>()?
            .into(),
        DeValue::Datetime(_) => return None,
    })
}
