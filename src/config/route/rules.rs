//! `request_headers` and `response_headers`: what a route changes in the fields that pass it.
//!
//! Invariant: no rule names a field that frames the message or concerns one connection. Those are ours to say, and
//! rules may be applied last.

use std::borrow::Cow;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use toml::Spanned;

use crate::config::problem::{Fault, Problem, quote};
use crate::config::reader::{Section, Value};
use crate::config::{Secret, schema};

/// Fields of one connection, and of how a message is framed.
const FRAMING: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "content-length",
];

/// Request fields besides those: `Expect` is answered by us, `Proxy` becomes `HTTP_PROXY` in an app's environment, and
/// the last is our word on a certificate that was checked.
const REQUEST: [&str; 3] = ["expect", "proxy", "client-cert"];

/// Response fields besides those: they say what the body is, which a field does not change; `Date` is always said.
const RESPONSE: [&str; 3] = ["content-encoding", "content-range", "date"];

/// Request fields that an app expects in one line: a second one is misread or refused.
const SINGLE: [&str; 6] =
    ["host", "cookie", "authorization", "content-type", "x-real-ip", "x-forwarded-prefix"];

/// The most names in one of the lists.
const MAX_RULES: usize = 64;

/// What is changed in the fields of a message. What is to be removed goes first; then comes what is set, and last what
/// is added.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeaderRules {
    /// Fields that are taken out, every line of them.
    pub remove: Vec<HeaderName>,
    /// Fields that have this one line, whatever the message says.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Lines besides those that the message has.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderRules {
    /// Reads `request_headers`.
    pub(super) fn of_requests(value: &Value<'_>) -> Self {
        Self::read(value, Side::Request)
    }

    /// Reads `response_headers`.
    pub(super) fn of_responses(value: &Value<'_>) -> Self {
        Self::read(value, Side::Response)
    }

    fn read(value: &Value<'_>, side: Side) -> Self {
        let Some(section) = value.section(&schema::HEADER_RULES) else { return Self::default() };
        let rules = |key: &'static str| {
            section.value(key).map_or_else(Vec::new, |value| side.rules(&section, &value, key == "add"))
        };
        let (set, add) = (rules("set"), rules("add"));
        let mut remove = Vec::new();
        for entry in section.value("remove").map_or_else(Vec::new, |value| value.list()) {
            let Some(name) = entry.parse(|text| side.name(text)) else { continue };
            if side == Side::Request && name == http::header::HOST {
                entry.fault(Fault::new("is a field that every request has").hint("it can be under `set`"));
            }
            remove.push(name);
        }
        for (key, count) in [("remove", remove.len()), ("set", set.len()), ("add", add.len())] {
            if count > MAX_RULES {
                let problem = Problem::new(format!("`{key}` has more than {MAX_RULES} entries"));
                section.report.add(problem.at(section.value_span(key)));
            }
        }
        Self { remove, set, add }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Whether what the message says of this goes no further.
    pub fn hides(&self, name: &HeaderName) -> bool {
        self.remove.contains(name) || self.set.iter().any(|(set, _)| set == name)
    }

    /// The lines that are put there, in their order.
    pub fn lines(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.set.iter().chain(&self.add)
    }

    /// Changes the fields of a message.
    pub fn apply(&self, fields: &mut HeaderMap) {
        for name in self.remove.iter().chain(self.set.iter().map(|(name, _)| name)) {
            // Removes every line of the field; what is returned is the first of them.
            fields.remove(name);
        }
        for (name, value) in self.lines() {
            fields.append(name, value.clone());
        }
    }
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

impl Side {
    /// Reads `set` or `add`; with `add`, a name may have several lines.
    fn rules(self, section: &Section<'_>, table: &Value<'_>, adds: bool) -> Vec<(HeaderName, HeaderValue)> {
        let mut rules: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (key, value) in table.entries() {
            let name = match self.name(key.get_ref()) {
                Ok(name) => name,
                Err(fault) => {
                    section.report.add(of_key(key, fault));
                    continue;
                }
            };
            let is_twice = rules.iter().any(|(earlier, _)| *earlier == name);
            if is_twice {
                let problem = Problem::new(format!("{} is there twice", quote(key.get_ref())));
                section.report.add(problem.at(key.span()));
            }
            if adds && self == Self::Request && is_single(&name) {
                let fault = Fault::new("is a field of one line").hint("put it under `set`");
                section.report.add(of_key(key, fault));
            }
            let several = adds && value.node().is_array();
            let lines = if several { value.list() } else { vec![value] };
            rules.extend(
                lines.iter().filter_map(|line| Some((name.clone(), self.value(section, &name, line)?))),
            );
        }
        rules
    }

    fn name(self, text: &str) -> Result<HeaderName, Fault> {
        let name =
            HeaderName::from_bytes(text.as_bytes()).map_err(|_| Fault::new("is not the name of a header"))?;
        let own: &[&str] = if self == Self::Request { &REQUEST } else { &RESPONSE };
        if FRAMING.contains(&name.as_str()) || own.contains(&name.as_str()) {
            return Err(Fault::new("is a header that Sidestream sets itself"));
        }
        if self == Self::Request && name.as_str().contains('_') {
            let written = name.as_str().replace('_', "-");
            return Err(Fault::new(format!("is a name that apps leave out or take for `{written}`"))
                .hint(format!("write \"{written}\"")));
        }
        Ok(name)
    }

    fn value(self, section: &Section<'_>, name: &HeaderName, line: &Value<'_>) -> Option<HeaderValue> {
        let is_elsewhere = line.is_text()
            && line.text().is_some_and(|text| text.starts_with("env:") || text.starts_with("file:"));
        let no_value = || Fault::new("holds what a header cannot: visible ASCII only");
        if is_elsewhere && self == Self::Request {
            let secret = Secret::read(line, section.report.base)?;
            let value = line.parse(|_| HeaderValue::from_str(secret.expose()).map_err(|_| no_value()))?;
            return sensitive(value);
        }
        let value = line.parse(|text| {
            if is_elsewhere {
                let fault = Fault::new("names a secret, which a response would show to everybody");
                return Err(fault.hint("secrets are for `request_headers`"));
            }
            if *name == http::header::HOST && self == Self::Request && !is_host(text) {
                return Err(
                    Fault::new("is not a host").hint("write \"shop.example\" or \"shop.example:8080\"")
                );
            }
            HeaderValue::from_str(text).map_err(|_| no_value())
        })?;
        if self == Self::Request { sensitive(value) } else { Some(value) }
    }
}

/// A fault of a key.
fn of_key(key: &Spanned<Cow<'_, str>>, fault: Fault) -> Problem {
    let problem = Problem::new(format!("{} {}", quote(key.get_ref()), fault.message)).at(key.span());
    match fault.hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// What apps are told may be a credential, and is not printed.
fn sensitive(mut value: HeaderValue) -> Option<HeaderValue> {
    value.set_sensitive(true);
    Some(value)
}

fn is_single(name: &HeaderName) -> bool {
    SINGLE.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-")
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[(&'static str, &'static str)]) -> Vec<(HeaderName, HeaderValue)> {
        let line = |line: &(&'static str, &'static str)| {
            (HeaderName::from_static(line.0), HeaderValue::from_static(line.1))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn removed_then_set_then_added() {
        let rules = HeaderRules {
            remove: vec![HeaderName::from_static("server"), HeaderName::from_static("x-both")],
            set: lines(&[("x-set", "ours")]),
            add: lines(&[("x-both", "added"), ("link", "<b>"), ("link", "<c>")]),
        };
        let mut fields: HeaderMap =
            lines(&[("server", "gunicorn"), ("x-set", "theirs"), ("x-other", "1")]).into_iter().collect();
        fields.append("x-set", HeaderValue::from_static("twice"));
        fields.append("x-both", HeaderValue::from_static("theirs"));
        fields.append("link", HeaderValue::from_static("<a>"));
        rules.apply(&mut fields);
        let shown = |name: &str| {
            fields.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        for (name, expected) in [
            ("server", ""),
            ("x-set", "ours"),
            ("x-both", "added"),
            ("link", "<a> <b> <c>"),
            ("x-other", "1"),
        ] {
            assert_eq!(shown(name), expected, "{name}");
        }
    }
}
