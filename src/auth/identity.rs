//! Identities: what a verified credential says of a subscriber.
//!
//! Invariant: `user` can stand in a channel name, and so can everything that [`Identity::fill`] puts into one.

use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::event::is_user_id;

/// A subscriber that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The user's id; satisfies [`is_user_id`].
    pub user: String,
    /// When the credential is no longer good, leeway included. None when it never ends.
    pub expires: Option<SystemTime>,
    /// What else the credential says.
    pub claims: Map<String, Value>,
}

impl Identity {
    /// Replaces `{user}` and `{claim}` in a pattern of the configuration, each by the user or by the claim of that
    /// name. None when one is missing, or holds anything that [`is_user_id`] does not allow: such a value could
    /// leave its place in the name.
    pub fn fill(&self, pattern: &str) -> Option<String> {
        fill(Some(self), pattern)
    }

    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        match name {
            "user" => Some(Cow::Borrowed(&self.user)),
            claim => id(self.claims.get(claim)?),
        }
    }
}

/// Fills a pattern for a subscriber that may be unknown, for whom only a pattern without `{…}` can be filled.
pub(super) fn fill(identity: Option<&Identity>, pattern: &str) -> Option<String> {
    let mut filled = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    while let Some((before, from)) = rest.split_once('{') {
        let (name, after) = from.split_once('}')?;
        filled.push_str(before);
        filled.push_str(&identity?.value(name)?);
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

/// A claim that can be part of a channel name: a string, or an integer as its decimal.
pub(super) fn id(claim: &Value) -> Option<Cow<'_, str>> {
    let id = match claim {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        Value::Number(number) if !number.is_f64() => Cow::Owned(number.to_string()),
        _ => return None,
    };
    is_user_id(&id).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn identity(claims: Value) -> Identity {
        Identity { user: "42".into(), expires: None, claims: claims.as_object().unwrap().clone() }
    }

    #[test]
    fn fills_user_and_claims() {
        let known = identity(json!({"tenant": "acme", "team": 7, "user": "99", "https://x/y": "z"}));
        for (pattern, filled) in [
            ("all", "all"),
            ("user:{user}", "user:42"),
            ("{tenant}.{team}.orders", "acme.7.orders"),
            ("a{https://x/y}b*", "azb*"),
        ] {
            assert_eq!(known.fill(pattern).as_deref(), Some(filled));
        }
    }

    #[test]
    fn what_could_leave_its_place_fills_nothing() {
        for value in [
            json!("a:b"),
            json!("a/b"),
            json!("*"),
            json!("{user}"),
            json!("a b"),
            json!("ü"),
            json!(""),
            json!("a,b"),
            json!("x".repeat(300)),
            json!(1.5),
            json!(true),
            json!(null),
            json!(["a"]),
        ] {
            assert_eq!(identity(json!({"c": value})).fill("x.{c}"), None, "{value}");
        }
        for pattern in ["{missing}", "{", "a{user", "{}"] {
            assert_eq!(identity(json!({})).fill(pattern), None, "{pattern}");
        }
        assert_eq!(fill(None, "user:{user}"), None);
        assert_eq!(fill(None, "all").as_deref(), Some("all"));
    }
}
