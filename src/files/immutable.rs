//! Which files never change under their names: those that have a hash of what is in them as a part of it. Pure.
//!
//! A browser keeps such a file for a year without asking again, so a name is taken for one only if nobody would give it
//! by hand: a hash has both digits and letters, which neither a date nor a word has. One of a few hundred Django names is
//! missed by that, and is asked for again now and then.

use crate::config::Immutable;

/// How many hexadecimal digits common tools take: webpack 8 and 20, Django and WhiteNoise 12, others all of MD5 or SHA-1.
const HEX: [usize; 5] = [8, 12, 20, 32, 40];

/// How many characters of base64 Vite and Rollup take, behind a `-`.
const VITE: usize = 8;

/// Whether a file is immutable. `target` is the path of the request, `below` the part of it below the route's path.
pub(super) fn is_immutable(which: &Immutable, target: &str, below: &str) -> bool {
    match which {
        Immutable::Never => false,
        Immutable::Hashed => is_hashed(target),
        Immutable::Named(patterns) => patterns.iter().any(|pattern| {
            let text = if pattern.contains('/') { below } else { name(below) };
            covers(pattern.as_bytes(), text.as_bytes())
        }),
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_hashed(target: &str) -> bool {
    // Next.js puts all that it serves from there under a hash of some kind.
    if target.contains("/_next/static/") {
        return true;
    }
    let mut parts = name(target).split('.');
    let Some(stem) = parts.next() else { return false };
    let mut rest = parts.peekable();
    let mut has_hex = false;
    while let Some(part) = rest.next() {
        // Between the stem and the extension.
        has_hex |= rest.peek().is_some() && HEX.contains(&part.len()) && is_hex(part) && is_mixed(part);
    }
    has_hex || target.contains("/assets/") && is_vites(name(target), stem)
}

/// `index-DiwrgT4a.js`, where Vite puts it. The hash may have a `-` itself.
fn is_vites(name: &str, stem: &str) -> bool {
    let Some(place) = stem.len().checked_sub(VITE + 1) else { return false };
    let Some((before, hash)) = stem.get(..place).zip(stem.get(place + 1..)) else { return false };
    let of_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !before.is_empty()
        && name.len() > stem.len() + 1
        && stem.as_bytes()[place] == b'-'
        && hash.bytes().all(of_base64)
        && is_mixed(hash)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_mixed(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit()) && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Whether a pattern covers a text. Each `*` is tried at every length once for each one before it that can grow, and
/// both are short.
fn covers(pattern: &[u8], text: &[u8]) -> bool {
    // The places to come back to: behind the last `*`, which stops at `/`, and behind the last `**`, which does not.
    let (mut single, mut double) = (None, None);
    let (mut p, mut t) = (0, 0);
    loop {
        if pattern[p..].starts_with(b"**") {
            (p, single) = (p + 2, None);
            double = Some((p, t));
            continue;
        }
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            single = Some((p, t));
            continue;
        }
        match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(b'?'), Some(byte)) if *byte != b'/' => (p, t) = (p + 1, t + 1),
            (Some(wanted), Some(byte)) if wanted == byte => (p, t) = (p + 1, t + 1),
            _ => match (single, double) {
                (Some((after, from)), _) if text.get(from).is_some_and(|byte| *byte != b'/') => {
                    single = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                (_, Some((after, from))) if from < text.len() => {
                    (single, double) = (None, Some((after, from + 1)));
                    (p, t) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_common_tools() {
        for target in [
            "/static/admin/css/base.27e1a4c2b3d0.css",
            "/static/app.27e1a4c2b3d0.js.map",
            "/static/js/main.8e1f4c2b.chunk.js",
            "/_next/static/chunks/main.js",
            "/docs/_next/static/x/_buildManifest.js",
            "/assets/index-DiwrgT4a.js",
            "/static/assets/a-b-_3wr-T_a.css",
            "/static/img.d41d8cd98f00b204e9800998ecf8427e.png",
        ] {
            assert!(is_immutable(&Immutable::Hashed, target, ""), "{target}");
            assert!(!is_immutable(&Immutable::Never, target, target), "{target}");
        }
        for target in [
            "/static/app.js",
            "/static/backup.20240101.sql",
            "/static/backup.202401011200.sql",
            "/media/report.deadbeef",
            "/media/27e1a4c2b3d0.css",
            "/static/jquery.3.7.1.min.js",
            "/static/jquery.defaced.js",
            "/static/app.27E1A4C2B3D0.js",
            "/static/app.27e1a4c2b3d.js",
            "/assets/my-document.pdf",
            "/assets/about-20240101.html",
            "/assets/x-ReactDOM.js",
            "/static/index-DiwrgT4a.js",
            "/assets/-DiwrgT4a.js",
            "/assets/index-DiwrgT4a",
            "/",
            "",
        ] {
            assert!(!is_immutable(&Immutable::Hashed, target, ""), "{target}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("*.js", "a/b.js", true),
            ("*.js", "a/b.css", false),
            ("a/*.js", "a/b.js", true),
            ("a/*.js", "a/b/c.js", false),
            ("a/**.js", "a/b/c.js", true),
            ("a/**", "a/", true),
            ("a/**", "a/b/c", true),
            ("**/x/*.js", "a/b/x/c.js", true),
            ("**/x/*.js", "a/x/b/x/c.js", true),
            ("**/x/*.js", "a/x/b/c.js", false),
            ("*-????.css", "x-y-1234.css", true),
            ("*-????.css", "x-12345.css", false),
            ("?", "/", false),
            ("*", "", true),
            ("*a*a*b", "aaaaab", true),
            ("*a*a*b", "aaaaac", false),
            ("b/*", "x/b/c", false),
        ] {
            let which = Immutable::Named(vec![pattern.to_owned()]);
            assert_eq!(is_immutable(&which, "", path), expected, "{pattern} {path}");
        }
        let (pattern, text) = ("*a".repeat(127), "a".repeat(4000) + "b");
        assert!(!covers(pattern.as_bytes(), text.as_bytes()));
    }
}
