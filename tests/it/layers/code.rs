//! Rust as text: what of a file is code that is shipped, and which modules of the crate it names.

use std::collections::BTreeSet;

/// The code of a file: without comments, with the insides of strings taken out, and without items under
/// `#[cfg(test)]`.
pub(super) fn code_of(text: &str) -> String {
    without_tests(&without_prose(text))
}

/// The modules at the root of the crate that code names by `crate::`, by the crate's own name, or by enough
/// `super::`. `depth` is how many modules the file is within, its own among them.
pub(super) fn modules_used(code: &str, depth: usize) -> BTreeSet<String> {
    let root = format!("{}::", "super::".repeat(depth).trim_end_matches("::"));
    let mut used = BTreeSet::new();
    for way in ["crate::", "sidestream::", &root] {
        for (place, _) in code.match_indices(way) {
            let before = code[..place].chars().next_back();
            // `mycrate::` is another, and `super::super::` is found where it begins.
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            names(&code[place + way.len()..], &mut used);
        }
    }
    used
}

/// The first names of a path: one, or those of a group in braces.
fn names(path: &str, used: &mut BTreeSet<String>) {
    let Some(group) = path.strip_prefix('{') else {
        let name = name(path);
        // In a module within a file, `super::` is the file's own module; the types there are no modules.
        if name.starts_with(|c: char| c.is_ascii_lowercase()) && name != "super" {
            used.insert(name.to_owned());
        }
        return;
    };
    let (mut depth, mut begins) = (0, true);
    for (place, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                begins = false;
                used.insert(name(&group[place..]).to_owned());
            }
            _ => {}
        }
    }
}

fn name(path: &str) -> &str {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    &path[..end]
}

fn without_prose(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let open = 2 + hashes;
            let close = format!("\"{}", "#".repeat(hashes));
            rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && is_char(rest) {
            quoted(rest, '\'')
        } else {
            0
        };
        if skip == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            // The `r` within a name begins no raw string.
            if c.is_alphanumeric() || c == '_' {
                let word = name(rest);
                code.push_str(word);
                rest = &rest[word.len()..];
            }
        } else {
            rest = &rest[skip..];
        }
    }
    code
}

/// How many `#` a raw string has, if one begins here.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Whether a quote begins a character and not a lifetime.
fn is_char(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

/// The length of what stands in quotes, with them.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (place, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return place + 1,
            _ => {}
        }
    }
    text.len()
}

fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(place) = rest.find(MARK) {
        kept.push_str(&rest[..place]);
        rest = &rest[place + MARK.len()..];
        rest = &rest[item_end(rest)..];
    }
    kept.push_str(rest);
    kept
}

/// Where an item ends: at its `;`, or with its braces.
fn item_end(code: &str) -> usize {
    let mut depth = 0;
    for (place, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return place + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return place + 1,
            _ => {}
        }
    }
    code.len()
}
