//! Paths of routes.
//!
//! Invariant: a path is written in the one form that the proxy compares with: it begins with `/` and has no segment
//! and no character that a client could write in another way.

use crate::config::problem::Fault;

/// Longer ones do not fit the request line that common servers take.
const MAX_PATH: usize = 2048;

/// Checks the path of a route.
pub(super) fn check(path: &str) -> Result<&str, Fault> {
    if path.len() > MAX_PATH {
        return Err(Fault::new(format!("is longer than {MAX_PATH} bytes")));
    }
    if let Some(found) = path.chars().find(|c| !c.is_ascii_graphic() || "?#%\\\"<>^`{|}".contains(*c)) {
        let fault = Fault::new(format!("must not hold {found:?}"));
        return Err(match found {
            '?' => fault.hint("a route does not look at the query"),
            '%' => fault.hint("paths are compared as they are, undecoded"),
            _ if !found.is_ascii() => {
                fault.hint("browsers send it encoded, which no route can name: take a prefix above it")
            }
            _ => fault,
        });
    }
    let Some(rest) = path.strip_prefix('/') else {
        let fault = Fault::new("does not begin with `/`");
        return Err(match path.split_once("://").map(|(_, rest)| rest.find('/').map(|at| &rest[at..])) {
            Some(_) => fault.hint("the host goes under `hosts`"),
            None => fault.hint(format!("write \"/{}\"", path)),
        });
    };
    if path.ends_with('*') {
        return Err(
            Fault::new("must not end in `*`").hint("a proxy or files path that ends in `/` is a prefix")
        );
    }
    if path.contains("//") {
        return Err(Fault::new("has an empty segment, `//`"));
    }
    if rest.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(Fault::new("has a segment `.` or `..`"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form_only() {
        for good in ["/", "/events", "/api/v1/", "/a.b/~c/-_:@!$&'()+,;=", "/.well-known/x", "/a..b"] {
            assert_eq!(check(good), Ok(good));
        }
        for bad in [
            "",
            "events",
            "/a?b",
            "/a#b",
            "/a%20b",
            "/a//b",
            "//",
            "/../a",
            "/a/..",
            "/a/.",
            "/ü",
            "/a b",
            "/a\n",
            "/*",
            "/a\\b",
            "http://h/a",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
