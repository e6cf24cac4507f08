//! Cookies on their way in (RFC 6265, section 5.4).
//!
//! Invariant: they are read as bytes. A cookie that is not text must not hide the others of its line, or whoever has one
//! is signed in for the app and nobody here.

use http::header::{COOKIE, HeaderMap};

/// The names and values of a request's cookies, over all its `Cookie` lines, without the blanks around them.
pub fn cookies(fields: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields
        .get_all(COOKIE)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| {
            let end = memchr::memchr(b'=', pair)?;
            Some((pair[..end].trim_ascii(), pair[end + 1..].trim_ascii()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_are_cookies_too() {
        let mut fields = HeaderMap::new();
        for crumb in ["a=1", "b=2;c = 3 ", "d=\"x=y\"; e"] {
            fields.append(COOKIE, crumb.parse().unwrap());
        }
        let all: Vec<_> = cookies(&fields).collect();
        assert_eq!(all, [(&b"a"[..], &b"1"[..]), (b"b", b"2"), (b"c", b"3"), (b"d", b"\"x=y\"")]);
    }

    #[test]
    fn one_that_is_no_text_hides_no_other() {
        let mut fields = HeaderMap::new();
        fields.append(COOKIE, http::HeaderValue::from_bytes(b"name=J\xf6rg; a=1").unwrap());
        assert!(cookies(&fields).any(|cookie| cookie == (b"a", b"1")));
    }
}
