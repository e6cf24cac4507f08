//! The data of an event, as it will be sent: a string decoded, any other JSON as its text.
//!
//! Invariant: what leaves here holds no NUL, and JSON text no line break, so that it arrives as one `data:` line.

use std::borrow::Cow;

use bytes::Bytes;

/// Why a value cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InvalidData {
    /// The string decodes to something that holds U+0000.
    Nul,
    /// The string holds half of a surrogate pair, which is no character.
    LoneSurrogate,
    /// It would be longer than the bound, in bytes.
    TooLong,
}

/// Makes data of the JSON text of one value, without white space around it.
pub(super) fn data(json: &str, max: usize) -> Result<Bytes, InvalidData> {
    let text = if json.starts_with('"') {
        let text = decoded(json).ok_or(InvalidData::LoneSurrogate)?;
        if memchr::memchr(0, text.as_bytes()).is_some() {
            return Err(InvalidData::Nul);
        }
        text
    } else {
        on_one_line(json)
    };
    if text.len() > max {
        return Err(InvalidData::TooLong);
    }
    Ok(match text {
        Cow::Borrowed(text) => Bytes::copy_from_slice(text.as_bytes()),
        Cow::Owned(text) => text.into(),
    })
}

/// Decodes a JSON string, quotes included. None when an escape in it stands for no character.
pub(super) fn decoded(json: &str) -> Option<Cow<'_, str>> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}

/// JSON text as it was written, or without its white space when a line break is in it. Line breaks in JSON are only
/// ever between tokens: inside a string they are escaped.
fn on_one_line(json: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'\r', b'\n', json.as_bytes()).is_none() {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    loop {
        let (tokens, from_string) =
            rest.split_at(memchr::memchr(b'"', rest.as_bytes()).unwrap_or(rest.len()));
        text.extend(tokens.split([' ', '\t', '\r', '\n']));
        if from_string.is_empty() {
            return Cow::Owned(text);
        }
        let (string, after) = from_string.split_at(string_end(from_string));
        text.push_str(string);
        rest = after;
    }
}

/// The length of the string that the text begins with, quotes included.
fn string_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at.min(bytes.len())..]) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn strings_are_sent_as_they_are_and_json_as_its_text() {
        for (json, sent) in [
            (r#""hi""#, "hi"),
            (r#""""#, ""),
            (r#""a\nb\u00fc\ud83d\ude00\"""#, "a\nbü😀\""),
            ("42", "42"),
            ("null", "null"),
            (r#"{"a" : 1}"#, r#"{"a" : 1}"#),
            ("{\"a\" :\r\n [1,\t2]\n}", r#"{"a":[1,2]}"#),
            ("[\"a \\\" b\\\\\",\n\"c\\u0000 \\n d\"]", r#"["a \" b\\","c\u0000 \n d"]"#),
        ] {
            assert_eq!(data(json, 100).unwrap(), sent, "{json}");
        }
    }

    #[test]
    fn refuses_what_a_stream_cannot_carry() {
        assert_eq!(data(r#""a\u0000""#, 100), Err(InvalidData::Nul));
        assert_eq!(data(r#""\ud800""#, 100), Err(InvalidData::LoneSurrogate));
        // As JSON text, the same escapes are only text.
        assert!(data(r#"["a\u0000\ud800"]"#, 100).is_ok());
    }

    #[test]
    fn the_bound_counts_bytes_as_sent() {
        assert!(data(r#""\u00fc\u00fc""#, 4).is_ok());
        assert_eq!(data(r#""\u00fc\u00fca""#, 4), Err(InvalidData::TooLong));
        assert!(data("[1,\n\n\n2]", 5).is_ok());
        assert_eq!(data("[1,   2]", 5), Err(InvalidData::TooLong));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[ \\\\\"\n\r\t]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn without_white_space_it_is_what_serde_json_writes(value in json(), crlf: bool) {
            let mut pretty = serde_json::to_string_pretty(&value).unwrap();
            if crlf {
                pretty = pretty.replace('\n', "\r\n");
            }
            prop_assert_eq!(on_one_line(&pretty), serde_json::to_string(&value).unwrap());
        }

        #[test]
        fn any_text_ends(text: String) {
            on_one_line(&text);
        }
    }
}
