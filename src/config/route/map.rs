//! `map`: how a publication is made of a body that is not one.
//!
//! Invariant: a map that exists names one recipient and the data, its pointers are pointers (RFC 6901), and nothing in
//! its recipient may be missing: what a publisher leaves out never makes it a broader one.

use toml::de::DeValue;

use crate::config::problem::{Fault, Problem, quote};
use crate::config::reader::Value;
use crate::config::schema;
use crate::event::{ChannelName, EventName, is_user_id};

/// The fields that say who gets a publication.
const RECIPIENTS: [&str; 4] = ["user", "users", "channel", "channels"];

/// What stands for the user whose list a source reads.
const USER: &str = "{user}";

/// The fields of a publication, each with what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// In the order they were written; no name twice.
    pub fields: Vec<(&'static str, Template)>,
}

/// What a value is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// Stands for itself: JSON text on one line.
    Literal(String),
    /// The value that a pointer finds, as it is.
    Value(Pointer),
    /// Text with values in it.
    Text(Vec<Piece>),
    /// A table; its names in the order they were written.
    Table(Vec<(String, Template)>),
    /// A list.
    List(Vec<Template>),
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Stands for itself.
    Said(String),
    /// The value that a pointer finds, as text.
    Hole(Pointer),
    /// The user whose list a source reads.
    User,
}

/// Where a value is in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// As it was written, without a `?`.
    pub written: String,
    /// Its names, decoded; none is the whole body.
    pub names: Vec<String>,
    /// Whether the value may be missing.
    pub optional: bool,
}

impl Map {
    /// Whether a field says who gets a publication.
    pub fn is_recipient(field: &str) -> bool {
        RECIPIENTS.contains(&field)
    }

    /// Reads a `map`.
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        Self::read_of(value, false)
    }

    /// Reads the `map` of a source. Of a list, `{user}` is the user whose list it is, and the only recipient there is.
    pub(in crate::config) fn read_of_source(value: &Value<'_>, of_list: bool) -> Option<Self> {
        let map = Self::read_of(value, of_list)?;
        let own = ("user", Template::Text(vec![Piece::User]));
        if of_list && !map.fields.contains(&own) {
            let fault = Fault::new("has a recipient other than the user whose list it is");
            value.fault(fault.hint("write user = \"{user}\""));
        }
        Some(map)
    }

    /// The map of a list that is given none: each entry is for its user, as it is.
    pub(in crate::config) fn of_list() -> Self {
        let body = Pointer { written: String::new(), names: Vec::new(), optional: false };
        Self { fields: vec![("user", Template::Text(vec![Piece::User])), ("data", Template::Value(body))] }
    }

    fn read_of(value: &Value<'_>, of_list: bool) -> Option<Self> {
        let section = value.section(&schema::MAP)?;
        let mut fields: Vec<_> = schema::MAP
            .keys
            .iter()
            .filter_map(|field| Some((*field, section.value(field)?)))
            .map(|(field, value)| (section.key_span(field).start, field, template(&value, (field, of_list))))
            .collect();
        fields.sort_by_key(|(at, ..)| *at);
        let recipients: Vec<_> = RECIPIENTS.into_iter().filter(|field| section.has(field)).collect();
        match recipients[..] {
            [_] => {}
            [] if section.misspells(&RECIPIENTS) => {}
            [] => {
                let problem = section.problem("`map` has no recipient");
                section.report.add(problem.help("add one of user, users, channel, channels"));
            }
            [first, second, ..] => {
                let problem = Problem::new(format!("`map` has a recipient already: `{first}`"));
                section.report.add(problem.at(section.key_span(second)));
            }
        }
        if !section.has("data") && !section.misspells(&["data"]) {
            let problem = section.problem("`map` has no `data`");
            section.report.add(problem.help("write data = \"\" for the whole body"));
        }
        let fields = fields.into_iter().map(|(_, field, template)| Some((field, template?)));
        Some(Self { fields: fields.collect::<Option<_>>()? })
    }
}

/// Reads the value of a field.
fn template(value: &Value<'_>, of: (&str, bool)) -> Option<Template> {
    let (field, of_list) = of;
    match value.node() {
        DeValue::String(_) => value.parse(|text| string(text, field, of_list)),
        DeValue::Array(_) => {
            let entries: Vec<_> = value.list().iter().map(|entry| template(entry, of)).collect();
            entries.into_iter().collect::<Option<_>>().map(Template::List)
        }
        DeValue::Table(_) if Map::is_recipient(field) => {
            value.wrong_type("a string or a list of them");
            None
        }
        DeValue::Table(_) => {
            let mut entries = value.entries();
            // TOML's tables come sorted by name.
            entries.sort_by_key(|(name, _)| name.span().start);
            let entry = |(name, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, Value<'_>)| {
                Some((name.get_ref().clone().into_owned(), template(&value, of)?))
            };
            // All of them are looked at before it is given up for one.
            let entries: Vec<_> = entries.into_iter().map(entry).collect();
            entries.into_iter().collect::<Option<_>>().map(Template::Table)
        }
        DeValue::Boolean(flag) => Some(Template::Literal(flag.to_string())),
        DeValue::Datetime(at) => Some(literal(&at.to_string())),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            if number.is_err() {
                value.fault(Fault::new("is beyond 64 bits"));
            }
            Some(Template::Literal(number.ok()?.to_string()))
        }
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            if number.is_none() {
                value.fault(Fault::new("is a number that JSON does not have"));
            }
            Some(Template::Literal(number?.to_string()))
        }
    }
}

/// Reads a string: a text with pointers in it, a pointer, or what stands for itself.
fn string(text: &str, field: &str, of_list: bool) -> Result<Template, Fault> {
    let is_recipient = Map::is_recipient(field);
    let required = |pointer: Pointer| {
        if is_recipient && pointer.optional {
            return Err(Fault::new("makes a recipient of what may be missing").hint("leave out the `?`"));
        }
        Ok(pointer)
    };
    if text.contains("{/") || of_list && text.contains(USER) {
        let pieces = pieces(text, of_list)?.into_iter().map(|piece| match piece {
            Piece::Hole(hole) => required(hole).map(Piece::Hole),
            other => Ok(other),
        });
        return pieces.collect::<Result<_, _>>().map(Template::Text);
    }
    if text.is_empty() || text.starts_with('/') {
        return required(pointer(text)?).map(Template::Value);
    }
    let named = match field {
        "event" if text != "message" => EventName::published(text).map(drop).map_err(|why| why.to_string()),
        "channel" | "channels" => ChannelName::new(text).map(drop).map_err(|why| why.to_string()),
        "user" | "users" if !is_user_id(text) => {
            Err("is no user's id; a JSON pointer begins with `/`".to_owned())
        }
        _ => Ok(()),
    };
    named.map_err(Fault::new)?;
    Ok(literal(text))
}

fn literal(text: &str) -> Template {
    Template::Literal(serde_json::Value::from(text).to_string())
}

/// Takes a text with pointers in braces apart. A brace that no `/` follows is text.
fn pieces(text: &str, of_list: bool) -> Result<Vec<Piece>, Fault> {
    if of_list && let Some((before, after)) = text.split_once(USER) {
        let mut all = pieces(before, false)?;
        all.push(Piece::User);
        all.extend(pieces(after, true)?);
        return Ok(all);
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("{/") {
        let Some((inside, after)) = from.split_once('}') else {
            return Err(Fault::new(format!("has a `{{/` without its `}}`: {}", quote(text))));
        };
        if !before.is_empty() {
            pieces.push(Piece::Said(before.to_owned()));
        }
        pieces.push(Piece::Hole(pointer(&format!("/{inside}"))?));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Said(rest.to_owned()));
    }
    Ok(pieces)
}

/// Reads a JSON pointer, and the `?` behind it.
pub(in crate::config) fn pointer(text: &str) -> Result<Pointer, Fault> {
    let (written, optional) = match text.strip_suffix('?') {
        Some(written) => (written, true),
        None => (text, false),
    };
    let names = written.split('/').skip(1).map(|name| decoded(name, written));
    Ok(Pointer { written: written.to_owned(), names: names.collect::<Result<_, _>>()?, optional })
}

/// Decodes a name of a pointer, in which `~1` is `/` and `~0` is `~`.
fn decoded(name: &str, pointer: &str) -> Result<String, Fault> {
    let mut decoded = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(char) = chars.next() {
        decoded.push(match (char, char == '~') {
            (char, false) => char,
            (_, true) => match chars.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => {
                    return Err(Fault::new(format!("is not a JSON pointer: {}", quote(pointer)))
                        .hint("write `~0` for `~` and `~1` for `/`"));
                }
            },
        });
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(written: &str, names: &[&str], optional: bool) -> Pointer {
        let names = names.iter().map(ToString::to_string).collect();
        Pointer { written: written.to_owned(), names, optional }
    }

    #[test]
    fn pointers_are_read_as_their_standard_has_it() {
        for (text, written, names, optional) in [
            ("", "", &[][..], false),
            ("/", "/", &[""], false),
            ("/a", "/a", &["a"], false),
            ("/a?", "/a", &["a"], true),
            ("/a/0/b c", "/a/0/b c", &["a", "0", "b c"], false),
            ("/a~1b/m~0n", "/a~1b/m~0n", &["a/b", "m~n"], false),
            ("/~01", "/~01", &["~1"], false),
        ] {
            assert_eq!(pointer(text).unwrap(), found(written, names, optional), "{text}");
        }
        for bad in ["/~", "/a~2", "/a~/b"] {
            assert!(pointer(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_string_is_a_text_a_pointer_or_itself() {
        let hole = |written: &str, optional| {
            Piece::Hole(found(written, &written[1..].split('/').collect::<Vec<_>>(), optional))
        };
        let said = |text: &str| Piece::Said(text.to_owned());
        for (text, template) in [
            ("hi", Template::Literal("\"hi\"".to_owned())),
            ("a \"b\" {c} {}", Template::Literal(r#""a \"b\" {c} {}""#.to_owned())),
            ("/a/b", Template::Value(found("/a/b", &["a", "b"], false))),
            ("", Template::Value(found("", &[], false))),
            ("{/a}", Template::Text(vec![hole("/a", false)])),
            (
                "#{/a} by {/b/c?}!",
                Template::Text(vec![
                    said("#"),
                    hole("/a", false),
                    said(" by "),
                    hole("/b/c", true),
                    said("!"),
                ]),
            ),
            // An address, which a pointer would be by its first character.
            ("/orders/{/id}", Template::Text(vec![said("/orders/"), hole("/id", false)])),
        ] {
            assert_eq!(string(text, "data", false).unwrap(), template, "{text}");
        }
        assert!(string("{/a", "data", false).is_err());
        let list = Template::Text(vec![said("for "), Piece::User, said(" of "), hole("/b", false)]);
        assert_eq!(string("for {user} of {/b}", "data", true).unwrap(), list);
        assert_eq!(string("{user}", "user", true).unwrap(), Template::Text(vec![Piece::User]));
        // Elsewhere it is text, and no user's id.
        assert!(matches!(string("{user}", "data", false).unwrap(), Template::Literal(_)));
        assert!(string("{user}", "user", false).is_err());
    }

    #[test]
    fn what_could_never_be_published_is_found_at_once() {
        for (text, field) in [
            ("/user?", "user"),
            ("{/a?}", "channel"),
            ("news{/sub?}", "channels"),
            ("a b", "users"),
            ("a,b", "channel"),
            ("error", "event"),
        ] {
            assert!(string(text, field, false).is_err(), "{field} = {text}");
        }
        for (text, field) in
            [("/user", "user"), ("42", "user"), ("news.{/sub}", "channel"), ("message", "event")]
        {
            assert!(string(text, field, false).is_ok(), "{field} = {text}");
        }
    }
}
