//! From the target of a request to the path of a file below its root. Pure.
//!
//! Invariant: a [`FilePath`] has no segment that is empty, `.`, `..` or hidden, and no `/`, `\` or NUL that was hidden
//! by an encoding. Each segment is decoded once, by itself: nothing that comes out of it is looked at again.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use percent_encoding::percent_decode_str;

/// The longest path, in bytes; longer ones have no file on Linux.
const MAX_PATH: usize = 4000;

/// The one hidden name that is served: what stands below it is public by its purpose (RFC 8615).
const WELL_KNOWN: &[u8] = b".well-known";

/// A path below a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePath {
    bytes: Vec<u8>,
    /// Whether the target ends in `/`, or is the route itself: a folder, of which the index is asked for.
    pub(super) is_folder: bool,
}

impl FilePath {
    /// Reads the part of a target behind its route's path. None if it can be no file that is served.
    pub(super) fn parse(rest: &str) -> Option<Self> {
        if rest.len() > MAX_PATH {
            return None;
        }
        if rest.is_empty() {
            return Some(Self { bytes: Vec::new(), is_folder: true });
        }
        let (rest, is_folder) = match rest.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let mut bytes = Vec::with_capacity(rest.len() + SUFFIX_ROOM);
        for segment in rest.split('/') {
            if !bytes.is_empty() {
                bytes.push(b'/');
            }
            let from = bytes.len();
            if segment.contains('%') {
                if !is_encoding(segment) {
                    return None;
                }
                bytes.extend(percent_decode_str(segment));
            } else {
                bytes.extend_from_slice(segment.as_bytes());
            }
            if !is_served(&bytes[from..]) {
                return None;
            }
        }
        Some(Self { bytes, is_folder })
    }

    /// Reads a path of this machine, where `%` is a character like others.
    pub(super) fn plain(path: &[u8]) -> Option<Self> {
        let is_path = path.len() <= MAX_PATH && path.split(|byte| *byte == b'/').all(is_served);
        is_path.then(|| Self { bytes: path.to_vec(), is_folder: false })
    }

    /// The path as it is opened; `.` is the root itself.
    pub(super) fn as_path(&self) -> &Path {
        if self.bytes.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(&self.bytes)) }
    }

    /// The bytes of the path, without a `/` at either end.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The path of a file in this folder.
    pub(super) fn join(&self, name: &str) -> Self {
        let mut bytes = self.bytes.clone();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name.as_bytes());
        Self { bytes, is_folder: false }
    }

    /// The path of a file beside this one, whose name goes on.
    pub(super) fn with_suffix(&self, suffix: &str) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len() + SUFFIX_ROOM);
        bytes.extend_from_slice(&self.bytes);
        bytes.push(b'.');
        bytes.extend_from_slice(suffix.as_bytes());
        Self { bytes, is_folder: false }
    }
}

/// Room for the suffix of an encoded file.
const SUFFIX_ROOM: usize = 5;

/// Whether every `%` begins two hexadecimal digits.
fn is_encoding(segment: &str) -> bool {
    segment.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn is_served(segment: &[u8]) -> bool {
    let is_hidden = segment.first() == Some(&b'.') && segment != WELL_KNOWN;
    !segment.is_empty()
        && !is_hidden
        && !segment.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0x7f) || *byte < b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> Option<(String, bool)> {
        let path = FilePath::parse(rest)?;
        Some((String::from_utf8_lossy(path.as_bytes()).into_owned(), path.is_folder))
    }

    #[test]
    fn good_paths() {
        for (rest, path, is_folder) in [
            ("", "", true),
            ("a", "a", false),
            ("a/", "a", true),
            ("a/b.c", "a/b.c", false),
            ("a%20b/%C3%A4", "a b/ä", false),
            ("a..b/c...", "a..b/c...", false),
            ("%2525", "%25", false),
            ("a;b=1", "a;b=1", false),
            ("a:b", "a:b", false),
            (".well-known/acme", ".well-known/acme", false),
            ("x/.well-known/y", "x/.well-known/y", false),
            ("%61", "a", false),
        ] {
            assert_eq!(parse(rest), Some((path.to_owned(), is_folder)), "{rest}");
        }
        assert_eq!(FilePath::parse("").unwrap().as_path(), Path::new("."));
        assert_eq!(FilePath::parse("a/").unwrap().join("index.html").as_path(), Path::new("a/index.html"));
        assert_eq!(FilePath::parse("").unwrap().join("index.html").as_path(), Path::new("index.html"));
        assert_eq!(FilePath::parse("a.js").unwrap().with_suffix("br").as_path(), Path::new("a.js.br"));
    }

    #[test]
    fn bad_paths() {
        for rest in [
            "..",
            "../a",
            "a/..",
            "a/../b",
            "./a",
            "a/.",
            ".",
            "%2e",
            "%2e%2e",
            "%2E%2e/a",
            ".%2e/a",
            "a%2fb",
            "a%2Fb",
            "..%2fa",
            "a%5cb",
            "a\\b",
            "..\\a",
            "a%00",
            "%00",
            "a%00.html",
            "a//b",
            "/",
            "//",
            "/a",
            "//a",
            "a//",
            ".env",
            ".git/config",
            "a/.htpasswd",
            "%2eenv",
            "a%",
            "a%2",
            "a%zz",
            "a%2gb",
            "%0a",
            "a%0d%0ab",
            "%7f",
            "...",
            ".well-known2/a",
        ] {
            assert_eq!(parse(rest), None, "{rest}");
        }
        assert_eq!(parse(&"a".repeat(MAX_PATH + 1)), None);
        for path in ["", "..", "a/../b", "/a", ".env", "a\0"] {
            assert_eq!(FilePath::plain(path.as_bytes()), None, "{path}");
        }
        assert_eq!(FilePath::plain(b"a/100%.pdf").unwrap().as_bytes(), b"a/100%.pdf");
    }
}
