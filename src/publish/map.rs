//! Maps: a publication is made of a body of another form. Pure.
//!
//! Invariant: what comes out is made of the map and of what its pointers find, and is then read like any other
//! publication, by the same rules. A recipient is in the map or in the body, and is never less than what the map says.
//!
//! Values are copied as the text they were written in, so that a number stays the number it was, and nothing is built
//! in memory of what no pointer leads to.

use serde_json::value::RawValue;

use crate::config::{Map, Piece, Pointer, Template};
use crate::event::is_user_id;
use crate::hub::Publication;
use crate::publish::publication::{self, Limits, Object, Whom, fields};
use crate::publish::refusal::{Refusal, RefusalKind};

/// Makes a publication of JSON text.
///
/// # Errors
/// They name what is wrong as the body has it, by the pointer, where it came from there.
pub(super) fn publication(
    map: &Map,
    json: &str,
    limits: &Limits,
    whom: Whom<'_>,
) -> Result<Publication, Refusal> {
    publication_of_list(map, json, limits, whom, "")
}

/// The same of an entry of a user's list.
pub(super) fn publication_of_list(
    map: &Map,
    json: &str,
    limits: &Limits,
    whom: Whom<'_>,
    user: &str,
) -> Result<Publication, Refusal> {
    let text = apply(map, json, user)?;
    publication::parse_for(text.as_bytes(), limits, whom).map_err(|refusal| as_sent(map, refusal))
}

/// Writes the publication as JSON.
fn apply(map: &Map, json: &str, user: &str) -> Result<String, Refusal> {
    let json = json.trim_ascii();
    let body = Body { json, top: Object::of(json) };
    let mut text = String::from("{");
    for (field, template) in &map.fields {
        let writer = Writer { body: &body, user, is_recipient: Map::is_recipient(field) };
        writer.put_entry(&mut text, field, template)?;
    }
    text.push('}');
    Ok(text)
}

/// A body, taken apart at its top, where most pointers lead.
struct Body<'a> {
    json: &'a str,
    top: Option<Object<'a>>,
}

impl<'a> Body<'a> {
    /// The text of what a pointer finds. What is null counts as missing: many clients write it for what they do not
    /// have.
    fn find(&self, pointer: &Pointer) -> Option<&'a str> {
        let mut found = self.json;
        for (depth, name) in pointer.names.iter().enumerate() {
            found = match &self.top {
                Some(top) if depth == 0 => top.get(name)?,
                _ => inside(found, name)?,
            };
        }
        (found != "null").then_some(found)
    }
}

/// The value of a name in an object or of a place in a list.
pub(super) fn inside<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    match json.as_bytes().first()? {
        b'{' => Object::of(json)?.get(name),
        b'[' => {
            let place: usize = name.parse().ok()?;
            // As RFC 6901 has it, a place has one spelling.
            let is_canonical = place.to_string() == name;
            let entries: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            entries.get(place).filter(|_| is_canonical).map(|entry| entry.get())
        }
        _ => None,
    }
}

/// Writes the value of one field.
struct Writer<'b> {
    body: &'b Body<'b>,
    /// Whose list it is an entry of. Only the map of a list asks for it.
    user: &'b str,
    is_recipient: bool,
}

impl Writer<'_> {
    /// Writes a name and its value, with the comma that parts it from what is before. Leaves it out if its value may
    /// be missing and is.
    fn put_entry(&self, text: &mut String, name: &str, template: &Template) -> Result<(), Refusal> {
        let before = text.len();
        put_comma(text);
        put_string(text, name);
        text.push(':');
        if !self.put(text, template)? {
            text.truncate(before);
        }
        Ok(())
    }

    /// Writes a value. False if it is missing and may be.
    fn put(&self, text: &mut String, template: &Template) -> Result<bool, Refusal> {
        match template {
            Template::Literal(json) => text.push_str(json),
            Template::Value(pointer) => match self.body.find(pointer) {
                Some(json) => text.push_str(json),
                None if pointer.optional => return Ok(false),
                None => return Err(missing(pointer)),
            },
            Template::Text(pieces) => match self.fill(pieces)? {
                Some(filled) => put_string(text, &filled),
                None => return Ok(false),
            },
            Template::Table(entries) => {
                text.push('{');
                for (name, template) in entries {
                    self.put_entry(text, name, template)?;
                }
                text.push('}');
            }
            Template::List(entries) => {
                text.push('[');
                for template in entries {
                    let before = text.len();
                    put_comma(text);
                    if !self.put(text, template)? {
                        text.truncate(before);
                    }
                }
                text.push(']');
            }
        }
        Ok(true)
    }

    /// Fills a text. None if it is nothing but one value that may be missing and is.
    fn fill(&self, pieces: &[Piece]) -> Result<Option<String>, Refusal> {
        let mut filled = String::new();
        for piece in pieces {
            let pointer = match piece {
                Piece::Said(said) => {
                    filled.push_str(said);
                    continue;
                }
                Piece::User => {
                    filled.push_str(self.user);
                    continue;
                }
                Piece::Hole(pointer) => pointer,
            };
            match self.body.find(pointer) {
                Some(json) => {
                    let value = fields::scalar(&pointer.written, json)?;
                    if self.is_recipient && !is_user_id(&value) {
                        // Anything else could make another recipient of it, or a broader one.
                        return Err(invalid(
                            pointer,
                            "is a part of the recipient's name: letters, digits, `_`, `.`, `@` and `-`, at least one",
                        ));
                    }
                    filled.push_str(&value);
                }
                None if pointer.optional && pieces.len() == 1 => return Ok(None),
                None if pointer.optional => {}
                None => return Err(missing(pointer)),
            }
        }
        Ok(Some(filled))
    }
}

/// Writes a comma unless an object or a list has just begun.
fn put_comma(text: &mut String) {
    if !text.ends_with(['{', '[']) {
        text.push(',');
    }
}

fn put_string(text: &mut String, string: &str) {
    // A string's text as serde_json writes it.
    text.push_str(&serde_json::Value::from(string).to_string());
}

fn missing(pointer: &Pointer) -> Refusal {
    invalid(pointer, "is missing or null")
}

fn invalid(pointer: &Pointer, message: &'static str) -> Refusal {
    Refusal::of_field(RefusalKind::InvalidPublication, &pointer.written, message)
}

/// Says what is wrong with a field of the publication of the value in the body that it was copied from.
fn as_sent(map: &Map, refusal: Refusal) -> Refusal {
    let Some(field) = refusal.field() else { return refusal };
    let (name, place) = field.split_at(field.find('[').unwrap_or(field.len()));
    let from = map.fields.iter().find_map(|(field, template)| match template {
        Template::Value(pointer) if *field == name && !pointer.written.is_empty() => Some(&pointer.written),
        _ => None,
    });
    match from {
        Some(pointer) => {
            let place = place.replace('[', "/").replace(']', "");
            Refusal::of_field(refusal.kind(), &format!("{pointer}{place}"), refusal.message().to_owned())
        }
        None => refusal,
    }
}

#[cfg(test)]
mod tests;
