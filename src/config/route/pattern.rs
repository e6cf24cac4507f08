//! Patterns of channels: names that may hold `{user}` and `{claim}`.
//!
//! Invariant: `user:ID` belongs to that user. No pattern gives it to somebody else: behind `user:` stands a
//! placeholder, never a fixed id and never a wildcard.

use crate::config::problem::Fault;
use crate::config::reader::Value;
use crate::event::ChannelName;

/// More patterns than that are a list of channels, which a claim holds better.
const MAX_PATTERNS: usize = 100;

/// Reads the patterns of `channels` or, with wildcards, of `allow`.
pub(super) fn patterns(value: &Value<'_>, wildcards: bool, anonymous: bool) -> Vec<String> {
    let mut patterns: Vec<String> = Vec::new();
    let entries = value.list();
    if entries.len() > MAX_PATTERNS {
        value.fault(Fault::new(format!("has more than {MAX_PATTERNS} entries")));
    }
    for entry in entries {
        match entry.parse(|text| check(text, wildcards, anonymous)) {
            Some(pattern) if patterns.iter().any(|other| other == pattern) => {
                entry.fault(Fault::new("is there twice"));
            }
            Some(pattern) => patterns.push(pattern.to_owned()),
            None => {}
        }
    }
    patterns
}

fn check(pattern: &str, wildcards: bool, anonymous: bool) -> Result<&str, Fault> {
    let exact = if wildcards { pattern.strip_suffix('*').unwrap_or(pattern) } else { pattern };
    let sample = filled(exact)?;
    if anonymous && sample != exact {
        return Err(Fault::new("holds a placeholder, but an anonymous subscriber has no claims"));
    }
    if exact.contains('*') {
        return Err(match wildcards {
            true => Fault::new("has a `*` that is not at its end"),
            false => Fault::new("holds `*`").hint("wildcards belong in `allow`"),
        });
    }
    if exact.is_empty() && wildcards && pattern == "*" {
        return Ok(pattern);
    }
    if let Some(owner) = exact.strip_prefix("user:") {
        if exact != pattern {
            return Err(Fault::new(
                "has a wildcard behind `user:`, and those channels belong to one user each",
            )
            .hint("write \"user:{user}\""));
        }
        if !owner.contains('{') {
            return Err(
                Fault::new("gives one user's own channel to every subscriber").hint("write \"user:{user}\"")
            );
        }
    }
    ChannelName::new(&sample).map_err(|error| Fault::new(error.to_string()))?;
    Ok(pattern)
}

/// The pattern with a letter in the place of every placeholder.
fn filled(pattern: &str) -> Result<String, Fault> {
    let mut sample = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        let end = from.find('}').filter(|_| from.starts_with('{'));
        let Some(end) = end else {
            let (one, other) = if from.starts_with('{') { ('{', '}') } else { ('}', '{') };
            return Err(Fault::new(format!("has a `{one}` without its `{other}`")));
        };
        let name = &from[1..end];
        if name.is_empty() {
            return Err(Fault::new("has a placeholder without a name, `{}`").hint("write {user} or {claim}"));
        }
        if name.contains('{') || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Fault::new("has a placeholder that is not the name of a claim"));
        }
        sample.push_str(before);
        sample.push('x');
        rest = &from[end + 1..];
    }
    sample.push_str(rest);
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_names_with_placeholders() {
        for good in ["all", "user:{user}", "org:{org_id}/{team}", "{tenant}", "org:{https://x.example/org}"] {
            assert_eq!(check(good, false, false), Ok(good));
            assert_eq!(check(good, true, false), Ok(good));
        }
        for bad in
            ["", "{", "}", "a}", "{a", "{}", "{a{b}}", "{a b}", "a b", "a,b", "a*", "*", "ü", "user:42"]
        {
            assert!(check(bad, false, false).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_wildcard_stands_at_the_end_and_never_behind_user() {
        for good in ["*", "orders.*", "org:{org}:*", "use*"] {
            assert_eq!(check(good, true, false), Ok(good));
        }
        for bad in ["a*b", "**", "*a", "user:*", "user:{user}*", "user:4*", "user:42"] {
            assert!(check(bad, true, false).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_anonymous_route_has_no_placeholders() {
        assert_eq!(check("all", false, true), Ok("all"));
        assert!(check("user:{user}", false, true).is_err());
        assert!(check("org:{org}*", true, true).is_err());
    }
}
