//! Grants: which channels one stream gets.
//!
//! Invariant: a channel is in a grant because the configuration names it, or because it was asked for and something
//! that the operator or the token's issuer wrote allows it by name. A user's own channel is never had by asking.

use std::fmt;

use http::StatusCode;
use serde_json::Value;

use super::Identity;
use super::identity::fill;
use crate::event::{ChannelName, InvalidName};

/// The most channels of one stream.
pub const MAX_CHANNELS: usize = 100;

/// The claim by which a token's issuer widens what may be asked for.
pub const CLAIM: &str = "channels";

/// What begins a user's own channel.
const USER_PREFIX: &str = "user:";

/// The channels of a stream: the route's `channels`, and of those that were `asked` for, comma-separated, each that
/// the route's `allow` or the token's `channels` claim covers. No channel is in it twice.
///
/// # Errors
/// One channel that cannot be given refuses the stream: a subscriber that gets less than it asked for would not know.
pub fn grant(
    identity: Option<&Identity>,
    channels: &[String],
    allow: &[String],
    asked: Option<&str>,
) -> Result<Vec<ChannelName>, GrantError> {
    let mut granted = Vec::with_capacity(channels.len());
    for pattern in channels {
        add(&mut granted, fixed(identity, pattern)?)?;
    }
    let Some(asked) = asked else {
        return Ok(granted);
    };
    // Before any name is looked at, so that ten thousand of them cost nothing.
    if asked.split(',').take(MAX_CHANNELS + 1).count() > MAX_CHANNELS {
        return Err(GrantError::TooMany);
    }
    let allowed = Allowed::new(identity, allow);
    for name in asked.split(',') {
        let channel = ChannelName::new(name).map_err(GrantError::Name)?;
        let may =
            !channel.belongs_to_user() && (granted.contains(&channel) || allowed.covers(channel.as_str()));
        if !may {
            return Err(GrantError::Forbidden { channel });
        }
        add(&mut granted, channel)?;
    }
    Ok(granted)
}

/// A channel that the route gives to everyone on it.
fn fixed(identity: Option<&Identity>, pattern: &str) -> Result<ChannelName, GrantError> {
    let unfilled = || GrantError::Unfilled { pattern: pattern.to_owned() };
    let name = fill(identity, pattern).ok_or_else(unfilled)?;
    let channel = ChannelName::new(&name).map_err(|_| unfilled())?;
    // The operator may write `user:` out; a claim that happens to hold `user` must not complete it.
    if channel.belongs_to_user() && !pattern.starts_with(USER_PREFIX) {
        return Err(GrantError::Forbidden { channel });
    }
    Ok(channel)
}

fn add(granted: &mut Vec<ChannelName>, channel: ChannelName) -> Result<(), GrantError> {
    if granted.contains(&channel) {
        return Ok(());
    }
    if granted.len() == MAX_CHANNELS {
        return Err(GrantError::TooMany);
    }
    granted.push(channel);
    Ok(())
}

/// What may be asked for: names, and prefixes that end in `*`.
struct Allowed<'a> {
    route: Vec<String>,
    token: Vec<&'a str>,
}

impl<'a> Allowed<'a> {
    /// An entry that cannot be filled for this subscriber allows nothing.
    fn new(identity: Option<&'a Identity>, allow: &[String]) -> Self {
        let token = match identity.and_then(|identity| identity.claims.get(CLAIM)) {
            Some(Value::String(names)) => names.split(',').map(str::trim).collect(),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        Self { route: allow.iter().filter_map(|entry| fill(identity, entry)).collect(), token }
    }

    fn covers(&self, name: &str) -> bool {
        let mut entries = self.route.iter().map(String::as_str).chain(self.token.iter().copied());
        entries.any(|entry| match entry.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == entry,
        })
    }
}

/// Why a stream gets no channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantError {
    /// A name that was asked for is none.
    Name(InvalidName),
    /// More channels than one stream may have.
    TooMany,
    /// A channel that this subscriber may not have.
    Forbidden {
        /// The channel.
        channel: ChannelName,
    },
    /// The credential lacks what one of the route's channels is made of.
    Unfilled {
        /// The channel as the configuration has it.
        pattern: String,
    },
}

impl GrantError {
    /// The status of the refusal.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Name(_) | Self::TooMany => StatusCode::BAD_REQUEST,
            Self::Forbidden { .. } | Self::Unfilled { .. } => StatusCode::FORBIDDEN,
        }
    }
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(why) => write!(f, "a channel's name {why}"),
            Self::TooMany => write!(f, "a stream has at most {MAX_CHANNELS} channels"),
            Self::Forbidden { channel } => write!(f, "the channel {channel} is not allowed"),
            Self::Unfilled { pattern } => {
                write!(f, "the credential has no usable value for the channel {pattern}")
            }
        }
    }
}

impl std::error::Error for GrantError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Name(why) => Some(why),
            Self::TooMany | Self::Forbidden { .. } | Self::Unfilled { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn identity(claims: Value) -> Identity {
        Identity { user: "42".into(), expires: None, claims: claims.as_object().unwrap().clone() }
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn granted(
        claims: Value,
        channels: &[&str],
        allow: &[&str],
        asked: Option<&str>,
    ) -> Result<Vec<String>, GrantError> {
        let known = identity(claims);
        let names = grant(Some(&known), &strings(channels), &strings(allow), asked)?;
        Ok(names.iter().map(ToString::to_string).collect())
    }

    fn forbidden(name: &str) -> Result<Vec<String>, GrantError> {
        Err(GrantError::Forbidden { channel: ChannelName::new(name).unwrap() })
    }

    #[test]
    fn the_routes_channels_are_always_given() {
        let fixed = ["user:{user}", "all", "all"];
        assert_eq!(granted(json!({}), &fixed, &[], None).unwrap(), ["user:42", "all"]);
        assert_eq!(
            granted(json!({}), &fixed, &["news"], Some("news,all,news")).unwrap(),
            ["user:42", "all", "news"]
        );
        let anonymous = grant(None, &strings(&["all"]), &[], None).unwrap();
        assert_eq!(anonymous[0].as_str(), "all");
    }

    #[test]
    fn a_channel_that_cannot_be_filled_is_not_left_out() {
        let error = granted(json!({}), &["tenant.{tenant}"], &[], None).unwrap_err();
        assert_eq!(error.status(), StatusCode::FORBIDDEN);
        assert!(error.to_string().contains("tenant.{tenant}"));
        let error = grant(None, &strings(&["user:{user}"]), &[], None).unwrap_err();
        assert_eq!(error.status(), StatusCode::FORBIDDEN);
    }

    #[test]
    fn asking_goes_by_name_or_prefix() {
        let allow = ["news", "orders.*", "tenant.{tenant}.*", "{missing}*"];
        let ask = |asked| granted(json!({"tenant": "acme"}), &[], &allow, Some(asked));
        assert_eq!(
            ask("news,orders.,orders.7,tenant.acme.x").unwrap(),
            ["news", "orders.", "orders.7", "tenant.acme.x"]
        );
        for asked in ["newsx", "new", "order", "tenant.acme", "tenant.other.x", "secret"] {
            assert_eq!(ask(asked), forbidden(asked));
        }
        assert_eq!(granted(json!({}), &[], &[], Some("news")), forbidden("news"));
    }

    #[test]
    fn a_users_channel_is_never_had_by_asking() {
        for allow in ["*", "user:*", "user:43", "u*", "user:{user}"] {
            for asked in ["user:43", "user:42", "user:"] {
                assert_eq!(
                    granted(json!({"channels": [allow]}), &[], &[allow], Some(asked)),
                    forbidden(asked)
                );
            }
        }
        // Not even by a claim that completes a pattern to one.
        assert_eq!(
            granted(json!({"kind": "user", "who": "43"}), &["{kind}:{who}"], &[], None),
            forbidden("user:43")
        );
    }

    #[test]
    fn the_tokens_channels_widen_what_may_be_asked() {
        for claim in [json!(["a", 7, "b.*"]), json!("a, b.*")] {
            let ask = |asked| granted(json!({"channels": claim}), &["all"], &[], asked);
            assert_eq!(ask(None).unwrap(), ["all"]);
            assert_eq!(ask(Some("a,b.1")).unwrap(), ["all", "a", "b.1"]);
            assert_eq!(ask(Some("b")), forbidden("b"));
        }
        for claim in [json!({"a": 1}), json!(7), json!([]), json!(""), json!([""])] {
            assert_eq!(granted(json!({"channels": claim}), &[], &[], Some("a")), forbidden("a"));
        }
    }

    #[test]
    fn names_and_numbers_are_bounded() {
        for asked in ["", "a,", ",a", "a,,a", "a b", "a*", "{user}", "a\nb"] {
            let error = granted(json!({}), &[], &["*"], Some(asked)).unwrap_err();
            assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{asked:?}");
        }
        let names = |n: usize| (0..n).map(|i| format!("c{i}")).collect::<Vec<_>>().join(",");
        let ask = |n, fixed: &[&str]| granted(json!({}), fixed, &["*"], Some(&names(n)));
        assert_eq!(ask(MAX_CHANNELS, &[]).unwrap().len(), MAX_CHANNELS);
        assert_eq!(ask(MAX_CHANNELS, &["all"]), Err(GrantError::TooMany));
        assert_eq!(ask(10_000, &[]), Err(GrantError::TooMany));
    }

    proptest! {
        #[test]
        fn no_question_gets_a_users_channel(asked in "(user:|[a-z:,*]){0,12}[0-9]{0,3}", allow in "[a-z:{}*]{0,8}") {
            let known = identity(json!({"channels": [allow]}));
            if let Ok(names) = grant(Some(&known), &[], &[allow, "*".into()], Some(&asked)) {
                prop_assert!(names.iter().all(|name| !name.belongs_to_user()));
            }
        }
    }
}
