//! Cookies on their way in (RFC 6265, section 5.4; RFC 9113, section 8.2.3).

use http::header::{COOKIE, HeaderMap, HeaderValue};

/// Makes one `Cookie` line of several. HTTP/2 clients split it for compression, and apps join lines with a comma,
/// which breaks every cookie after the first.
pub fn join_cookies(fields: &mut HeaderMap) {
    let mut lines = fields.get_all(COOKIE).iter();
    let (Some(first), Some(_)) = (lines.next(), lines.next()) else {
        return;
    };
    let mut joined = Vec::with_capacity(first.len() * 4);
    for line in fields.get_all(COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(line.as_bytes());
    }
    // Joined from valid values by valid bytes, so this does not fail.
    if let Ok(mut joined) = HeaderValue::from_bytes(&joined) {
        joined.set_sensitive(true);
        fields.insert(COOKIE, joined);
    }
}

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
    fn crumbs_become_one_line() {
        let mut fields = HeaderMap::new();
        for crumb in ["a=1", "b=2; c=3", "d=\"x=y\""] {
            fields.append(COOKIE, crumb.parse().unwrap());
        }
        let all: Vec<_> = cookies(&fields).collect();
        assert_eq!(all, [("a", "1"), ("b", "2"), ("c", "3"), ("d", "\"x=y\"")]);
        join_cookies(&mut fields);
        assert_eq!(fields.get_all(COOKIE).iter().count(), 1);
        assert_eq!(fields[COOKIE], "a=1; b=2; c=3; d=\"x=y\"");
    }
}
