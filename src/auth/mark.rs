//! What tells a provider from another one in a ticket: that of its rules and keys by which it knows people.
//!
//! Invariant: a provider that would no longer know somebody by the same credential, since a key or a rule was taken away,
//! lacks a mark that it had. Marks are the same in every process that has the same file. Nothing of a key can be read
//! from one, and they go nowhere but into what is sealed.

use std::fmt::Debug;

use aws_lc_rs::digest::{Context, SHA256};

use crate::config::{Auth, JwksSource, JwtKeys, JwtProvider, Upstream};

/// The first bytes of a hash: enough, since only the operator chooses what is hashed.
pub(super) type Mark = u64;

/// All marks of a provider, at least one. Of one that has several secrets there is one for each, so that another secret
/// takes nothing away. `upstream` is the app that it asks.
///
/// Where a credential stands in a request and by how much clocks may differ is not in them: a ticket has left that behind.
pub(super) fn all_of(provider: &Auth, upstream: Option<&Upstream>) -> Vec<Mark> {
    let app = upstream.map_or("", |upstream| &upstream.name);
    match provider {
        Auth::Jwt(jwt) => vec![of_jwt(jwt, app)],
        Auth::AuthJs(authjs) => {
            let of = |secret: &crate::config::Secret| {
                hash("authjs", &(&authjs.name, &authjs.user_claim), secret.expose().as_bytes())
            };
            authjs.secrets.iter().map(of).collect()
        }
        // What it says of people is the app's word, for as long as the ticket is good.
        Auth::Ask(ask) => vec![hash("ask", &(&ask.name, app), b"")],
    }
}

fn of_jwt(provider: &JwtProvider, app: &str) -> Mark {
    let JwtProvider {
        name,
        keys,
        algorithms,
        user_claim,
        issuer,
        audience,
        require,
        query: _,
        header: _,
        cookie: _,
        leeway: _,
    } = provider;
    let rules = (name, algorithms, user_claim, issuer, audience, require);
    match keys {
        // A key whose bytes cannot be had is like any other of its kind; the configuration reads none such.
        JwtKeys::One(key) => {
            hash("jwt", &(rules, key.kind), key.decoding.try_get_as_bytes().unwrap_or_default())
        }
        JwtKeys::Set(JwksSource::Upstream { target, .. }) => hash("jwks", &(rules, app, target), b""),
        JwtKeys::Set(source) => hash("jwks", &(rules, source), b""),
    }
}

/// Lengths keep the parts apart.
fn hash(kind: &str, rules: &impl Debug, key: &[u8]) -> Mark {
    let rules = format!("{kind} {rules:?}");
    let mut context = Context::new(&SHA256);
    for part in [rules.as_bytes(), key] {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let whole = context.finish();
    whole.as_ref().iter().take(size_of::<Mark>()).fold(0, |mark, byte| mark << 8 | Mark::from(*byte))
}
