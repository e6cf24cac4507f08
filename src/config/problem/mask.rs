//! Finds the secrets in the text of a configuration.
//!
//! It works on the text, not on the parsed file: a syntax error is shown too, and just then there is nothing parsed.
//! Invariant: where it is in doubt it finds too much. What follows `secret =` on its line is never left out.

use std::ops::Range;

use crate::config::schema;

/// The parts of the text that must not be shown, in order. `env:NAME` and `file:PATH` are no secrets.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let told = told_to_apps(text);
    for (equals, _) in text.match_indices('=') {
        let known = found.last().is_some_and(|last| last.contains(&equals));
        let before = &text[..equals];
        let key = key_before(before);
        let is_table = || text[equals + 1..].trim_start_matches([' ', '\t']).starts_with('{');
        let is_told = || told.iter().any(|part| part.contains(&equals)) && key != "remove" && !is_table();
        if !known && (schema::is_secret(key) || is_in_passwords(before) || is_told()) {
            found.extend(value_after(text, equals + 1));
        }
    }
    for (start, _) in text.match_indices("://") {
        let start = start + 3;
        let rest = &text[start..];
        let end =
            rest.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'')).unwrap_or(rest.len());
        if let Some(at) = rest[..end].rfind('@') {
            found.push(start..start + at);
        }
    }
    found.sort_by_key(|range| range.start);
    found
}

/// The parts of the text that say what an app is told in `request_headers`, where any value may be a credential.
fn told_to_apps(text: &str) -> Vec<Range<usize>> {
    text.match_indices("request_headers")
        .map(|(start, key)| {
            let after = &text[start + key.len()..];
            let line = text[..start].rfind('\n').map_or(0, |end| end + 1);
            let length = if text[line..start].trim_start().starts_with('[') {
                // A table of its own goes to the next one.
                after.find("\n[").unwrap_or(after.len())
            } else {
                inline(after)
            };
            start..start + key.len() + length
        })
        .collect()
}

/// How long the value is that begins on this line: to the brace that closes its first one, or to the line's end.
fn inline(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => quote = Some(c),
            ('{', None) => depth += 1,
            ('}', None) if depth <= 1 => return at,
            ('}', None) => depth -= 1,
            ('\n', None) if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// The last part of the key that ends here: `secret` of `auth.jwt."secret" `.
fn key_before(text: &str) -> &str {
    let text = text.trim_end_matches([' ', '\t']).trim_end_matches(['"', '\'']);
    let start = text
        .rfind(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-'))
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    &text[start..]
}

/// Whether the key that ends here is the name of somebody with a password: `basic_auth.passwords.anna`, or below
/// `[route.basic_auth.passwords]`.
fn is_in_passwords(text: &str) -> bool {
    let line = text.rfind('\n').map_or(text, |at| &text[at + 1..]);
    let header = text.rfind("\n[").map_or(text, |at| &text[at + 1..]);
    let header = header.lines().next().filter(|line| line.starts_with('[')).unwrap_or_default();
    [line.rsplit([',', '{']).next().unwrap_or_default(), header].iter().any(|keys| {
        keys.split(['.', ']']).any(|key| key.trim_matches([' ', '\t', '"', '\'', '[']) == PASSWORDS)
    })
}

/// The table whose keys are names and whose values are secrets.
const PASSWORDS: &str = "passwords";

/// The secret part of the value that starts here.
fn value_after(text: &str, at: usize) -> Option<Range<usize>> {
    let start = at + (text[at..].len() - text[at..].trim_start_matches([' ', '\t']).len());
    let value = &text[start..];
    let line = value.find(['\n', '\r']).unwrap_or(value.len());
    for quotes in ["\"\"\"", "'''"] {
        if let Some(inner) = value.strip_prefix(quotes) {
            let end = inner.find(quotes).unwrap_or(inner.len());
            return Some(start + quotes.len()..start + quotes.len() + end);
        }
    }
    if value.starts_with('{') {
        return Some(start + 1..start + end_of_table(value));
    }
    if value.starts_with('[') {
        return Some(start + 1..start + value.find(']').unwrap_or(value.len()));
    }
    if let Some(inner) = value[..line].strip_prefix(['"', '\''])
        && let Some(end) = closing(inner, value.as_bytes()[0])
    {
        let plain = inner[..end].starts_with("env:") || inner[..end].starts_with("file:");
        return (!plain).then(|| start + 1..start + 1 + end);
    }
    // Without quotes, or without their end, nobody can say where the secret stops.
    (line > 0).then(|| start..start + line)
}

/// Where an inline table ends: at its brace, not at one within a string.
fn end_of_table(value: &str) -> usize {
    let (mut quote, mut escaped, mut depth) = (None, false, 0_usize);
    for (at, byte) in value.bytes().enumerate() {
        match (quote, byte) {
            (Some(b'"'), _) if escaped => escaped = false,
            (Some(b'"'), b'\\') => escaped = true,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth == 1 => return at,
            (None, b'}') => depth -= 1,
            (None, _) => {}
        }
    }
    value.len()
}

/// Where the string ends, if what follows it can follow a string.
fn closing(inner: &str, quote: u8) -> Option<usize> {
    let mut bytes = inner.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if quote == b'"' => {
                bytes.next();
            }
            byte if byte == quote => {
                let after = inner[at + 1..].trim_start_matches([' ', '\t']);
                return (after.is_empty() || after.starts_with([',', '}', '#'])).then_some(at);
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with what was found replaced.
    fn masked(text: &str) -> String {
        let mut shown = text.to_owned();
        for range in secrets(text).into_iter().rev() {
            shown.replace_range(range, "***");
        }
        shown
    }

    #[test]
    fn secrets_are_found_however_they_are_written() {
        for (text, want) in [
            ("secret = \"hunter2\"", "secret = \"***\""),
            ("secret='hunter2' # x", "secret='***' # x"),
            ("\"secret\" = \"a\\\"b\"", "\"secret\" = \"***\""),
            ("auth.jwt.secret = \"a=b\"", "auth.jwt.secret = \"***\""),
            (
                "jwt = { kind = \"jwt\", secret = \"a\", query = \"token\" }",
                "jwt = { kind = \"jwt\", secret = \"***\", query = \"token\" }",
            ),
            ("webhook = \"whsec_x", "webhook = ***"),
            ("webhook = \"whsec_x\"y\"", "webhook = ***"),
            ("token = hunter2\nx = 1", "token = ***\nx = 1"),
            ("# secert = \"hunter2\"", "# secert = \"***\""),
            ("secret = \"\"\"\na\nb\"\"\"\nx = 1", "secret = \"\"\"***\"\"\"\nx = 1"),
            ("secret = '''\na\nb", "secret = '''***"),
            ("secret = [\n 'a',\n 'b' ]", "secret = [***]"),
            ("secret = \"env:NAME\"", "secret = \"env:NAME\""),
            ("secret = \"file:/a/b\"", "secret = \"file:/a/b\""),
            ("secret = \"evn:NAME\"", "secret = \"***\""),
            ("secret =", "secret ="),
            ("a = { passwords = { anna = \"x\" } }", "a = { passwords = {***} }"),
            ("passwords = { a = \"{SHA}\\\"}\", b = '}x' } # y", "passwords = {***} # y"),
            ("passwords = { a = \"x }\nb = 1", "passwords = {***"),
            ("passwords.anna = \"x\"", "passwords.anna = \"***\""),
            ("[route.basic_auth.passwords]\nanna = \"x\"", "[route.basic_auth.passwords]\nanna = \"***\""),
            ("\n[a.passwords]\n[b]\nanna = \"x\"", "\n[a.passwords]\n[b]\nanna = \"x\""),
            ("socket = \"./s.sock\"", "socket = \"./s.sock\""),
            ("query = \"token\"", "query = \"token\""),
            ("servers = [\"http://u:p@h/\"]", "servers = [\"http://***@h/\"]"),
            ("schlüssel-ü = 1", "schlüssel-ü = 1"),
            (
                "request_headers = { set = { Authorization = \"Bearer x\", A = \"}\", B = 'y' }, remove = [\"C\"] }",
                "request_headers = { set = { Authorization = \"***\", A = \"***\", B = '***' }, remove = [\"C\"] }",
            ),
            (
                "request_headers.set.a = \"x\"\nquery = \"y\"",
                "request_headers.set.a = \"***\"\nquery = \"y\"",
            ),
            (
                "[route.proxy.request_headers.set]\na = \"x\"\nb = \"env:B\"\n\n[route.x]\nc = \"y\"",
                "[route.proxy.request_headers.set]\na = \"***\"\nb = \"env:B\"\n\n[route.x]\nc = \"y\"",
            ),
            (
                "request_headers = {\n add = { a = [\"x\", \"y\"] } }\nb = 1",
                "request_headers = {\n add = { a = [***] } }\nb = 1",
            ),
            ("request_headers = { set = { a = \"x", "request_headers = { set = { a = ***"),
            ("response_headers = { set = { a = \"x\" } }", "response_headers = { set = { a = \"x\" } }"),
        ] {
            assert_eq!(masked(text), want);
        }
    }
}
