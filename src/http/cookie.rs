//! Cookies on their way in (RFC 6265, section 5.4).

use http::header::{COOKIE, HeaderMap};

/// The cookies of a request, over all its `Cookie` lines. Lines that are not text are passed over.
pub fn cookies(fields: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    fields
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_are_cookies_too() {
        let mut fields = HeaderMap::new();
        for crumb in ["a=1", "b=2; c=3", "d=\"x=y\""] {
            fields.append(COOKIE, crumb.parse().unwrap());
        }
        let all: Vec<_> = cookies(&fields).collect();
        assert_eq!(all, [("a", "1"), ("b", "2"), ("c", "3"), ("d", "\"x=y\"")]);
    }
}
