//! What a path may mean to an app. Routes are found by the path as it is written; what guards one must not be passed by
//! writing its path in another way that the app behind takes for the same.

use percent_encoding::percent_decode_str;

/// The other forms in which apps read a path: decoded; with `\` for `/` and slashes in a row as one besides; with `.`
/// and `..` resolved as well; and as a URL parser reads it (WHATWG URL, section 4.4), which resolves before it is decoded and keeps
/// empty segments. Empty if it is written plainly, as nearly all are.
pub fn meanings(path: &str) -> Vec<String> {
    let bytes = path.as_bytes();
    let is_odd = |pair: &[u8]| matches!(pair, [b'/', b'/' | b'.']);
    if memchr::memchr2(b'%', b'\\', bytes).is_none() && !bytes.windows(2).any(is_odd) {
        return Vec::new();
    }
    let decoded = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let merged = joined(decoded.split(['/', '\\']).filter(|segment| !segment.is_empty()), &decoded);
    let mut kept: Vec<&str> = Vec::new();
    for segment in merged.split('/').filter(|segment| !segment.is_empty()) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let resolved = joined(kept.into_iter(), &merged);
    let parsed = percent_decode_str(&as_parsed(path)).decode_utf8_lossy().into_owned();
    vec![decoded, merged, resolved, parsed]
}

/// A path as URL parsers resolve it. What is encoded in it stays so, but dots.
fn as_parsed(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split(['/', '\\']).skip(1).peekable();
    while let Some(segment) = segments.next() {
        let dots = percent_decode_str(segment).decode_utf8_lossy();
        if dots != "." && dots != ".." {
            kept.push(segment);
            continue;
        }
        if dots == ".." {
            kept.pop();
        }
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// A path of segments, which ends in `/` if the one that it comes from names a folder.
fn joined<'s>(segments: impl Iterator<Item = &'s str>, from: &str) -> String {
    let mut path = String::with_capacity(from.len() + 1);
    for segment in segments {
        path.push('/');
        path.push_str(segment);
    }
    let is_folder = ["/", "\\", "/.", "/.."].iter().any(|end| from.ends_with(end));
    if path.is_empty() || is_folder {
        path.push('/');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_means_itself() {
        for plain in ["/", "/admin/", "/a/b.c", "/a..b/c."] {
            assert!(meanings(plain).is_empty(), "{plain}");
        }
    }

    #[test]
    fn every_way_to_write_it_is_found() {
        for (path, forms) in [
            ("/%61dmin/", ["/admin/", "/admin/", "/admin/", "/admin/"]),
            ("/admin%2fx", ["/admin/x", "/admin/x", "/admin/x", "/admin/x"]),
            ("//admin//", ["//admin//", "/admin/", "/admin/", "//admin//"]),
            ("/x/../admin/", ["/x/../admin/", "/x/../admin/", "/admin/", "/admin/"]),
            ("/x/%2e%2e/admin", ["/x/../admin", "/x/../admin", "/admin", "/admin"]),
            ("/./admin/.", ["/./admin/.", "/./admin/./", "/admin/", "/admin/"]),
            ("/\\admin\\", ["/\\admin\\", "/admin/", "/admin/", "//admin/"]),
            ("/../..", ["/../..", "/../../", "/", "/"]),
            ("/%ff", ["/\u{fffd}", "/\u{fffd}", "/\u{fffd}", "/\u{fffd}"]),
            ("/%2561", ["/%61", "/%61", "/%61", "/%61"]),
            ("/x%2fy/../admin/", ["/x/y/../admin/", "/x/y/../admin/", "/x/admin/", "/admin/"]),
            ("/api//../admin/", ["/api//../admin/", "/api/../admin/", "/admin/", "/api/admin/"]),
        ] {
            assert_eq!(meanings(path), forms, "{path}");
        }
    }
}
